"""A responder that asks Manus."""
