"""Starts the server (the same as otvet serve)."""

import sys

from tools.environment import otvet

if __name__ == "__main__":
    otvet("serve", *sys.argv[1:])
