"""Shows what the database holds (the same as otvet view [LEAD])."""

import sys

from tools.environment import otvet

if __name__ == "__main__":
    otvet("view", *sys.argv[1:])
