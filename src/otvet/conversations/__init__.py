"""Conversations: clients, chats, messages, pauses, and the history for a responder."""
