"""The connection to the amoCRM account: made, kept alive, and watched."""
