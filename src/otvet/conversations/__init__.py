"""Conversations: clients, chats, messages, pauses, and the history that a responder is told."""
