"""Puts the program together: the one package that knows all others."""
