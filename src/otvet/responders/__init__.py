"""The writers of replies."""
