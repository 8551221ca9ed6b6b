"""Echoes: replies of ours that come back from amoCRM as outgoing messages."""
