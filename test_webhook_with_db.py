"""Plays amoCRM against the running server (the same as otvet simulate)."""

import sys

from tools.environment import otvet

if __name__ == "__main__":
    otvet("simulate", *sys.argv[1:])
