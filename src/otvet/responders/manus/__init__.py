"""Manus as a writer of replies."""
