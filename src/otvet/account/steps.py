"""What a step of connecting found, for whoever shows it: a terminal or a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["good", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Step:
    """What a step found. Holds no token.

    next: what to do about it, empty where there is nothing to do. copied: an address that a person has to enter
    somewhere, to be shown whole.
    """

    name: str
    state: State
    sentence: str
    next: str = ""
    copied: str = ""


def worst(steps: Sequence[Step]) -> State:
    """The state of the whole."""
    states = {step.state for step in steps}
    return "bad" if "bad" in states else "warning" if "warning" in states else "good"
