"""What is known of the client and the deal, as a prompt tells it: within a share of its own, so that the question and
the conversation keep theirs however much the user has chosen to tell."""

from collections.abc import Callable, Iterable

from otvet.responders.fence import fenced_line

KNOWN_SHARE = 0.25
"""Of all that a responder takes."""


def known_lines(known: Iterable[tuple[str, str]], limit: float, tokens: Callable[[str], float]) -> str:
    """The facts that fit, one a line, the first ones first: what does not fit is left out whole.

    limit: what the responder takes in all, as ``tokens`` estimates it.
    """
    room = limit * KNOWN_SHARE
    told = []
    for name, value in known:
        line = f"{fenced_line(name)}: {fenced_line(value)}"
        size = tokens(f"{line}\n")
        if size <= room:
            told.append(line)
            room -= size
    return "\n".join(told)
