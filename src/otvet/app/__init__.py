"""The program put together: the one room that knows all others."""
