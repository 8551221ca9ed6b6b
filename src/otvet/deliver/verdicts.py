"""How a step of a delivery may end, besides with a state of the turn."""

from datetime import timedelta

LATER = "later"
AGAIN = "again"  # the turn is gone through anew: the client wrote on, or the reply has to be approved first
NOT_OURS = "not ours"

UNSURE_FOR = timedelta(seconds=20)  # amoCRM may carry out what it was given after whoever gave it has died
SURE_FOR_SECONDS = 10.0  # a process that hung longer than that may have lost the turn to another
