"""The knowledge folder: its passages, the search over them, and the local answer."""
