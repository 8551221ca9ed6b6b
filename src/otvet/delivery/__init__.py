"""Delivery: brings a written reply to the deal or to the client's chat, or a draft to the manager who may approve it.

It begins and ends in ``delivery``; ``into_chat`` sends the parts of a reply to the client by one of the ``methods``.
Sending cannot be undone, so each call is announced in the database first.
"""
