"""Checks a reply before it is sent, and masks personal data before a model sees it. No I/O."""
