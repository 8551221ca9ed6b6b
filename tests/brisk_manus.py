"""``otvet`` that asks Manus as often as a test wants: the stand-in has no limits, and a test has little time.

MANUS_POLL_SECONDS, MANUS_CALLS_A_MINUTE: in place of the product's own numbers, for which it has no setting.
"""

import os

from otvet.app import manus


def hurry() -> None:
    """Put the numbers of the environment, if it has any, in place of the product's."""
    manus.POLL_SECONDS = float(os.environ.get("MANUS_POLL_SECONDS", manus.POLL_SECONDS))
    manus.CALLS_A_MINUTE = int(os.environ.get("MANUS_CALLS_A_MINUTE", manus.CALLS_A_MINUTE))
