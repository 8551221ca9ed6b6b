"""Fits ``knowledge/decision.toml``, the weights that decide whether a passage is sent, to the folders of FITTED.

Run: python -m evals.decide. The made-up shop's questions that may be tuned to are fitted to as well: half of them are
not answered in its folder, though they sound so. It also tells how each trade does by the weights that the others gave;
by that the limit is chosen: the one at which right answers, less WRONG_COSTS for each wrong one, are the most.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from evals import folders, local
from evals.questions import load
from otvet.responders.base import Line
from otvet.responders.knowledge import choice, decision
from otvet.responders.knowledge.decision import NAMES
from otvet.responders.knowledge.passages import Passage, read_folder
from otvet.responders.knowledge.responder import asked_of
from otvet.responders.knowledge.search import Index

WRONG_COSTS = 20
"""As many questions left to a person do as much harm as one answered wrongly."""

_SHOP = "shop"
_RIDGE = 1.0
_ROUNDS = 15
_TRADE = 1000.0
"""What all passages of a trade weigh together, so that each trade counts as much."""

_LIMITS = tuple(step / 100 for step in range(30, 99))


@dataclass(frozen=True, slots=True)
class Example:
    """A question that rules do not answer: the features of each passage near to it, and whether that is right."""

    trade: str
    rows: tuple[tuple[tuple[float, ...], bool], ...]

    def best(self, weights: Sequence[float]) -> tuple[float, bool]:
        """The highest trust in a passage, and whether that one is right."""
        return max((decision.trust(weights, row), right) for row, right in self.rows)


def examples() -> Iterator[Example]:
    """What is fitted to."""
    for trade, names in folders.FITTED.items():
        for name in names:
            index = Index(read_folder(folders.FOLDERS / name / "knowledge", with_examples=True)[0])
            for one in folders.read(name):
                if one.kind != "two":
                    yield from _example(trade, index, one.ask, one.history, _holds(one))
    index = Index(read_folder(local.FOLDER, with_examples=True)[0])
    for question in load():
        if question.part == "tuned":
            yield from _example(_SHOP, index, question.ask, question.history, _is_among(question.expect))


def _holds(asked: folders.Asked) -> Callable[[Passage], bool]:
    return lambda passage: asked.is_right(passage.shown)


def _is_among(expected: frozenset[str]) -> Callable[[Passage], bool]:
    return lambda passage: local.name_of(passage) in expected


def _example(
    trade: str, index: Index, ask: Sequence[Line], history: Sequence[Line], right: Callable[[Passage], bool]
) -> Iterator[Example]:
    question = choice.asked(index, *asked_of(ask, history))
    rows = tuple((row, right(hit.passage)) for hit, row in decision.candidates(index, question))
    if rows and choice.by_rules(index, question) is None:
        yield Example(trade, rows)


def fit(told: Sequence[Example]) -> list[float]:
    """Weights by logistic regression with a ridge, found by Newton's steps."""
    size = len(NAMES)
    counts = {trade: sum(len(one.rows) for one in told if one.trade == trade) for trade in {one.trade for one in told}}
    rows = [(row, right, _TRADE / counts[one.trade]) for one in told for row, right in one.rows]
    weights = [0.0] * size
    for _ in range(_ROUNDS):
        slope = [_RIDGE * weight for weight in weights]
        bend = [[_RIDGE * (at == other) for other in range(size)] for at in range(size)]
        for row, right, counted in rows:
            chance = decision.trust(weights, row)
            steep = counted * chance * (1 - chance)
            there = [at for at, value in enumerate(row) if value]
            for at in there:
                slope[at] += counted * (chance - right) * row[at]
                for other in there:
                    bend[at][other] += steep * row[at] * row[other]
        weights = [weight - step for weight, step in zip(weights, _solved(bend, slope), strict=True)]
    return weights


def _solved(bend: list[list[float]], slope: list[float]) -> list[float]:
    """The step that the slopes and their change ask for: Gaussian elimination with the largest pivot."""
    size = len(slope)
    rows = [[*row, value] for row, value in zip(bend, slope, strict=True)]
    for at in range(size):
        pivot = max(range(at, size), key=lambda row: abs(rows[row][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for other in range(at + 1, size):
            share = rows[other][at] / rows[at][at]
            rows[other] = [value - share * above for value, above in zip(rows[other], rows[at], strict=True)]
    step = [0.0] * size
    for at in reversed(range(size)):
        rest = sum(rows[at][other] * step[other] for other in range(at + 1, size))
        step[at] = (rows[at][size] - rest) / rows[at][at]
    return step


def left_out(told: Sequence[Example]) -> dict[str, list[tuple[float, bool]]]:
    """For each trade: the best passage of each question by weights that the other trades gave."""
    trades = sorted({one.trade for one in told})
    given = {trade: fit([one for one in told if one.trade != trade]) for trade in trades}
    return {trade: [one.best(given[trade]) for one in told if one.trade == trade] for trade in trades}


def limit_for(found: Sequence[tuple[float, bool]]) -> float:
    """The limit at which right answers, less what wrong ones cost, are the most."""
    return max(_LIMITS, key=lambda limit: sum(1 if right else -WRONG_COSTS for trust, right in found if trust >= limit))


def main() -> int:
    """Fit, tell how each trade does by the weights of the others, and write."""
    told = list(examples())
    found = left_out(told)
    limit = limit_for([one for of_it in found.values() for one in of_it])
    for trade, of_it in found.items():
        sent = [right for trust, right in of_it if trust >= limit]
        print(f"{trade}: of {len(of_it)} questions {sum(sent)} right, {len(sent) - sum(sent)} wrong")
    weights = "\n".join(f'"{name}" = {weight:.3f}' for name, weight in zip(NAMES, fit(told), strict=True))
    decision.FILE.write_text(
        "# Written by `python -m evals.decide`: what speaks for sending a passage, and from which trust it is sent.\n"
        f"limit = {limit:.2f}\n\n[weights]\n{weights}\n",
        "utf-8",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
