"""Fits the weights of ``meaning/*.weights`` to the sentences of ``evals/*.json``, or tells how they do on unseen ones.

Run: python -m evals.fit. It takes some seconds, and the same sentences give the same weights on every machine.
With --left-out it writes nothing: of each set it tells how well the weights judge it that the other sets alone give.
"""

import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

from evals.meaning import KINDS, Count, Row, count_of, rows
from evals.section import percent
from otvet.meaning import person, promises, temper
from otvet.meaning.scorer import BUCKETS, UNIT, Scorer, buckets_of

_SLACK = 1.0  # how little a sentence on the wrong side may weigh: large fits closer
_ROUNDS = 12
_MOST = 127  # steps of a weight


@dataclass(frozen=True, slots=True)
class Task:
    """One file of weights. kind, meaning: what of which set speaks for it. borrowed: (kind, meaning) that does not."""

    scorer: Scorer
    kind: str
    meaning: str
    borrowed: tuple[tuple[str, str], ...] = ()

    def examples(self) -> Iterable[tuple[Row, bool]]:
        """Every sentence, and whether it has the meaning."""
        yield from ((row, row.meaning == self.meaning) for row in rows(self.kind))
        yield from ((row, False) for kind, meaning in self.borrowed for row in rows(kind) if row.meaning == meaning)


TASKS = (
    Task(person.SCORER, "person", "asks", (("angry", "calm"), ("small_talk", "questions"))),
    Task(temper.SCORER, "angry", "angry", (("person", "others"), ("small_talk", "questions"))),
    Task(promises.HANDED, "promises", "handoff"),
    Task(promises.REFUSED, "promises", "refuse"),
)


def fit(told: Sequence[tuple[Sequence[int], bool]]) -> bytes:
    """The weights, as they are stored, that part the sentences with the meaning from the others.

    told: the buckets of each, and whether it has the meaning. This is a support vector machine with squared hinge loss,
    solved in the dual by coordinate descent (Hsieh and others, 2008); it needs no function that differs by machine.
    """
    weights = [0.0] * BUCKETS
    pulls = [0.0] * len(told)
    order = list(range(len(told)))
    chance = random.Random(0)  # noqa: S311 - the order of the sentences, no secret
    for _ in range(_ROUNDS):
        chance.shuffle(order)
        for at in order:
            buckets, has = told[at]
            side = (1 if has else -1) / sqrt(len(buckets))
            lacking = 1 - side * sum([weights[one] for one in buckets]) - pulls[at] / (2 * _SLACK)
            pull = max(0.0, pulls[at] + lacking / (1 + 1 / (2 * _SLACK)))
            step, pulls[at] = side * (pull - pulls[at]), pull
            if step:
                for one in buckets:
                    weights[one] += step
    return bytes(max(-_MOST, min(_MOST, round(weight / UNIT))) & 0xFF for weight in weights)


def weights(task: Task) -> bytes:
    """The weights of a task, fitted to all its sentences."""
    return fit([(buckets_of(row.text, task.scorer.lexicon), has) for row, has in task.examples()])


def left_out() -> Iterator[tuple[str, str, Count]]:
    """For each kind and each author's set of it: how well it is judged by weights that the other sets gave.

    Sets of ordinary messages alone are always fitted to.
    """
    for kind in KINDS:
        tasks = [task for task in TASKS if task.kind == kind.name]
        told = {
            task: [(row, buckets_of(row.text, task.scorer.lexicon), has) for row, has in task.examples()]
            for task in tasks
        }
        for author in dict.fromkeys(row.author for row in rows(kind.name)) if tasks else ():
            for task in tasks:
                own = set(rows(kind.name, author))
                task.scorer.load(fit([(buckets, has) for row, buckets, has in told[task] if row not in own]))
            if (count := count_of(kind, rows(kind.name, author))).with_meaning:
                yield kind.name, author, count


def main() -> int:
    """Write the weights of every task, or print what is told of sets that are left out."""
    if "--left-out" in sys.argv:
        for name, author, count in left_out():
            shares = f"caught {percent(count.catch_rate)}, false alarms {percent(count.alarm_rate)}"
            print(f"{name}, {author}: {shares} of {count.with_meaning} and {count.without}")
        return 0
    for task in TASKS:
        task.scorer.file.write_bytes(weights(task))
    return 0


if __name__ == "__main__":
    sys.exit(main())
