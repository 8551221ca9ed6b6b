"""What is checked, and hidden, before a text goes out. No I/O."""
