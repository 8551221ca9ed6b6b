"""The knowledge folder: what it says, how it is searched, and the local answer from it."""
