"""The local answer: word for word from the one passage of the knowledge folder that clearly fits, or none."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from otvet.clock import Clock
from otvet.i18n import _
from otvet.responders.base import Context, Journal, Reply, ResponderError
from otvet.responders.markdown import plain_text
from otvet.responders.passages import Problem, Snapshot, read_folder, snapshot

if TYPE_CHECKING:
    from otvet.responders.search import Hit, Index

CHECK_SECONDS = 1.0
"""The folder is looked at no more often than that."""


class KnowledgeResponder:
    """Answers from the folder alone: nothing is invented and nothing is put together."""

    name = "knowledge"

    def __init__(self, folder: Path, clock: Clock, *, with_examples: bool = True) -> None:
        self._knowledge = Knowledge(folder, clock, with_examples=with_examples)

    async def reply(self, context: Context, journal: Journal) -> Reply:
        if not all(line.words for line in context.question):
            # "How much is it?" under a picture may be about anything.
            raise ResponderError(
                _("The client sent more than words; the knowledge folder answers only words."), permanent=True
            )
        hit = await asyncio.to_thread(self._knowledge.answer, [line.text for line in context.question])
        if hit is None:
            raise ResponderError(_("No passage of the knowledge folder clearly fits."), permanent=True)
        passage = {"file": hit.passage.file, "heading": hit.passage.heading, "score": round(hit.score, 2)}
        return Reply(plain_text(hit.passage.text), self.name, details={"passages": [passage]})


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
        self._problems: tuple[Problem, ...] = ()

    def answer(self, lines: Sequence[str]) -> "Hit | None":
        """The passage for what was asked, if there is clearly one."""
        from otvet.responders.choice import choose  # heavy, see below

        with self._lock:
            return choose(self._fresh_index(), lines)

    def search(self, text: str, k: int = 3) -> "list[Hit]":
        """The passages nearest to a text, whether or not one clearly fits."""
        with self._lock:
            return self._fresh_index().search(text, k)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The files that no answer can come from, and why."""
        with self._lock:
            self._fresh_index()
            return self._problems

    def _fresh_index(self) -> "Index":
        now = self._clock.monotonic()
        if self._index is None or now - self._looked_at >= CHECK_SECONDS:
            self._looked_at = now
            # Taken before the files are read: an edit in between is then seen at the next look.
            seen = snapshot(self._folder)
            if self._index is None or seen != self._snapshot:
                self._index = self._build()
                self._snapshot = seen
        return self._index

    def _build(self) -> "Index":
        # numpy and bm25s take long to load, and a command that asks nothing should not wait for them.
        from otvet.responders.search import Index

        passages, problems = read_folder(self._folder, with_examples=self._with_examples)
        self._problems = tuple(problems)
        return Index(passages)
