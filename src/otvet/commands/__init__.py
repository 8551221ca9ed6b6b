"""The terminal's commands, a module for each; `cli.py` defines their options."""
