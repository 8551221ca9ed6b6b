"""What a step of connecting found, for whoever shows it: a terminal or a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["good", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Step:
    """What a step found. ``next``: what to do about it, empty where there is nothing to do. Holds no token."""

    name: str
    state: State
    sentence: str
    next: str = ""


def worst(steps: Sequence[Step]) -> State:
    """The state of the whole."""
    states = {step.state for step in steps}
    return "bad" if "bad" in states else "warning" if "warning" in states else "good"
