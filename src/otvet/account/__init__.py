"""The connection to the amoCRM account: set-up, consent, tokens, and the watch over it."""
