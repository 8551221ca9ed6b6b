"""The settings, how they are read, and the notations of some of them."""
