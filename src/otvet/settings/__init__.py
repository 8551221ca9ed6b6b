"""What can be set: the settings themselves, how they are read, and the notations that some of them have."""
