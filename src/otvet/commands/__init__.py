"""What is done from the terminal, a module each; `cli.py` only names the options."""
