"""The local answer: word for word from the one passage of the knowledge folder that clearly fits, or none."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from otvet.clock import Clock
from otvet.i18n import _
from otvet.responders.base import Context, Journal, Line, Reply, ResponderError
from otvet.responders.knowledge.passages import Problem, Snapshot, read_folder, snapshot

if TYPE_CHECKING:
    from otvet.responders.knowledge.search import Hit, Index

CHECK_SECONDS = 1.0
"""The folder is looked at no more often than that."""

REMEMBERED = 64
"""So many questions keep the passage that was found for them."""

_SAME_TALK = timedelta(hours=1)
"""A question rests on what was said no longer ago than that."""

_EARLIER = 2
_ASKED_WEIGHT = 0.5
_REPLIED_WEIGHT = 0.2


class KnowledgeResponder:
    """Answers from the folder alone: nothing is invented and nothing is put together."""

    name = "knowledge"
    outside = False

    def __init__(self, knowledge: "Knowledge") -> None:
        self.knowledge = knowledge

    async def reply(self, context: Context, journal: Journal) -> Reply:
        if not all(line.words for line in context.question):
            # "How much is it?" under a picture may be about anything.
            raise ResponderError(
                _("The client sent more than words; the knowledge folder answers only words."), permanent=True
            )
        asked = context.question, context.history
        chosen = self.knowledge.chosen_for(*asked)  # when the passages were told, a moment ago
        hit = chosen[0] if chosen else await asyncio.to_thread(self.knowledge.answer, *asked)
        if hit is None:
            raise ResponderError(_("No passage of the knowledge folder clearly fits."), permanent=True)
        passage = {"file": hit.passage.file, "heading": hit.passage.heading, "score": round(hit.score, 2)}
        return Reply(hit.passage.shown, self.name, details={"passages": [passage]})


class Knowledge:
    """The folder as it is now: read at the first question, and again after an edit. Threads may share it."""

    def __init__(self, folder: Path, clock: Clock, *, with_examples: bool = True) -> None:
        self._folder = folder
        self._with_examples = with_examples
        self._clock = clock
        self._lock = Lock()
        self._looked_at = 0.0
        self._snapshot: Snapshot = ()
        self._index: Index | None = None
        self._chosen: dict[_Asked, Hit | None] = {}
        self._problems: tuple[Problem, ...] = ()

    def answer(self, question: Sequence[Line], history: Sequence[Line] = ()) -> "Hit | None":
        """The passage that answers all of the question, if there is clearly one.

        history: what was said before, oldest first; a short question may rest on the client's last one.
        """
        with self._lock:
            return self._choose(self._fresh_index(), _asked(question, history))

    def chosen_for(self, question: Sequence[Line], history: Sequence[Line] = ()) -> "tuple[Hit | None] | None":
        """What ``answer`` gave to the same since the folder was last read, without a search; None when it did not."""
        chosen, asked = self._chosen, _asked(question, history)
        return (chosen[asked],) if asked in chosen else None

    def passages(self, question: Sequence[Line], history: Sequence[Line] = (), k: int = 3) -> "list[Hit]":
        """The passages nearest to a question, best first, whether or not one clearly fits; one that does is the first.

        history: what was said before, oldest first; its newest messages are searched too, with less weight.
        """
        with self._lock:
            index = self._fresh_index()
            fits = self._choose(index, _asked(question, history))
            hits = index.search(_text(question), k, _earlier(history))
        others = [hit for hit in hits if fits is None or hit.passage is not fits.passage]
        return [fits, *others][:k] if fits else others

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The files that no answer can come from, and why."""
        with self._lock:
            self._fresh_index()
            return self._problems

    def _choose(self, index: "Index", asked: "_Asked") -> "Hit | None":
        """Every responder is told the passages before the local one is asked for its answer: it is found once."""
        from otvet.responders.knowledge.choice import choose  # heavy, see below

        chosen = self._chosen
        if asked not in chosen:
            if len(chosen) >= REMEMBERED:
                self._chosen = chosen = {}  # another one: who looks into it without the lock must not lose it midway
            chosen[asked] = choose(index, *asked)
        return chosen[asked]

    def _fresh_index(self) -> "Index":
        now = self._clock.monotonic()
        if self._index is None or now - self._looked_at >= CHECK_SECONDS:
            self._looked_at = now
            # Taken before the files are read: an edit in between is then seen at the next look.
            seen = snapshot(self._folder)
            if self._index is None or seen != self._snapshot:
                self._index = self._build()
                self._chosen = {}
                self._snapshot = seen
        return self._index

    def _build(self) -> "Index":
        # numpy and bm25s take long to load, and a command that asks nothing should not wait for them.
        from otvet.responders.knowledge.search import Index

        passages, problems = read_folder(self._folder, with_examples=self._with_examples)
        self._problems = tuple(problems)
        return Index(passages)


_Asked = tuple[tuple[str, ...], tuple[str, ...]]


def _asked(question: Sequence[Line], history: Sequence[Line]) -> _Asked:
    """All that the choice of a passage depends on, besides the folder."""
    return tuple(line.text for line in question), tuple(_before(question, history))


def _text(lines: Sequence[Line]) -> str:
    return "\n".join(line.text for line in lines)


def _earlier(history: Sequence[Line]) -> list[tuple[str, float]]:
    """What a question may rest on, and how heavily: the client's last messages more than the last reply to them."""
    asked = [line for line in history if line.sender == "client"][-_EARLIER:]
    replied = [line for line in history if line.sender != "client"][-1:]
    said = ((_text(asked), _ASKED_WEIGHT), (_text(replied), _REPLIED_WEIGHT))
    return [(text, weight) for text, weight in said if text]


def _before(question: Sequence[Line], history: Sequence[Line]) -> list[str]:
    """What the client had last asked, if our reply to it was the last word: after a person's it may mean anything."""
    replies = [i for i, line in enumerate(history) if line.sender != "client"]
    if not replies or history[-1].sender != "assistant" or question[0].at - history[-1].at > _SAME_TALK:
        return []
    last = replies[-2] + 1 if len(replies) > 1 else 0
    return [line.text for line in history[last : replies[-1]] if line.words]
