"""Delivery: a written reply brought to the deal, to the client's chat, or to a manager who is to approve it.

``delivery`` is where it begins and ends; ``chat`` brings the parts of a reply to the client, by one of the ways of
``ways``. Sending cannot be undone, so each call is announced in the database first.
"""
