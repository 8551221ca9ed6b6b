"""Tries the database layer without HTTP (the same as otvet selftest)."""

import sys

from tools.environment import otvet

if __name__ == "__main__":
    otvet("selftest", *sys.argv[1:])
