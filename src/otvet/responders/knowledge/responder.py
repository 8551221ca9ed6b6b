"""The local answer: the text of the one passage of the knowledge folder that clearly fits, unchanged."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from threading import Lock

from otvet.clock import Clock
from otvet.i18n import _
from otvet.responders.base import Attempt, Context, Line, Reply, ResponderError
from otvet.responders.knowledge import subjects
from otvet.responders.knowledge.choice import Answer, choose
from otvet.responders.knowledge.explained import Explained, explained
from otvet.responders.knowledge.passages import Known, Passage, Problem, Snapshot, read_folder, snapshot
from otvet.responders.knowledge.search import Hit, Index
from otvet.responders.knowledge.words import words

CHECK_SECONDS = 1.0
"""How often the folder is checked for edits at most."""

REMEMBERED = 64
"""The number of questions whose chosen passages are kept."""

_SAME_TALK = timedelta(hours=1)
"""How old the previous reply may be for a question to refer to the one before it."""

_CLIENT_MESSAGES = 2
_CLIENT_WEIGHT = 0.5
_REPLY_WEIGHT = 0.2

_Asked = tuple[tuple[str, ...], tuple[str, ...]]
"""The question's messages, and those of the question before it."""


class KnowledgeResponder:
    """Answers with passages of the folder alone; nothing is invented or combined."""

    name = "knowledge"
    outside = False

    def __init__(self, knowledge: "Knowledge") -> None:
        self.knowledge = knowledge

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        if not all(line.words for line in context.question):
            # "How much is it?" under a picture may be about anything.
            raise ResponderError(
                _("The client sent more than words; the knowledge folder answers only words."), permanent=True
            )
        asked = context.question, context.history
        chosen = self.knowledge.chosen_for(*asked)  # usually found when the passages were listed, a moment ago
        answer = chosen[0] if chosen else await asyncio.to_thread(self.knowledge.answer, *asked)
        if answer is None:
            raise ResponderError(_("No passage of the knowledge folder clearly fits."), permanent=True)
        passages = [
            {"file": hit.passage.file, "heading": hit.passage.heading, "score": round(hit.score, 2)}
            for hit in answer.hits
        ]
        return Reply(answer.told, self.name, details={"passages": passages})


class Knowledge:
    """The folder and its index: read at the first question and again after each edit. Threads may share it."""

    def __init__(self, folder: Path, clock: Clock, *, with_examples: bool = True) -> None:
        self._folder = folder
        self._with_examples = with_examples
        self._clock = clock
        self._lock = Lock()
        self._checked_at = 0.0
        self._snapshot: Snapshot = ()
        self._known: Known = {}
        self._index: Index | None = None
        self._chosen: dict[_Asked, Answer | None] = {}
        self._problems: tuple[Problem, ...] = ()
        self._passages: tuple[Passage, ...] = ()

    def answer(self, question: Sequence[Line], history: Sequence[Line] = ()) -> Answer | None:
        """What answers the whole question, if something clearly does.

        history: the earlier messages, oldest first; a short question may refer to the client's last one.
        """
        with self._lock:
            return self._choose(self._fresh_index(), asked_of(question, history))

    def chosen_for(self, question: Sequence[Line], history: Sequence[Line] = ()) -> tuple[Answer | None] | None:
        """The remembered result of ``answer`` for this question, in a tuple; None when it has to be searched."""
        chosen, asked = self._chosen, asked_of(question, history)
        return (chosen[asked],) if asked in chosen else None

    def passages(self, question: Sequence[Line], history: Sequence[Line] = (), k: int = 3) -> list[Hit]:
        """The ``k`` passages nearest to a question, best first; those that clearly answer it come first.

        history: the earlier messages, oldest first; the newest of them are searched too, with less weight.
        """
        with self._lock:
            index = self._fresh_index()
            answer = self._choose(index, asked_of(question, history))
            text = _text(question)
            usual = subjects.headings(index.corrected(text)) if words(text) else []
            hits = index.search(text, k, [*_earlier(history), *usual])
        fits = answer.hits if answer else ()
        others = [hit for hit in hits if all(hit.passage is not one.passage for one in fits)]
        return [*fits, *others][:k]

    def explained(self, question: Sequence[Line], k: int) -> list[Explained]:
        """The passages nearest to a question, with why each would be sent, or not."""
        hits = self.passages(question, k=k)
        with self._lock:
            index, asked = self._fresh_index(), asked_of(question, ())
            return explained(index, hits, self._choose(index, asked), *asked)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The files that cannot be used, or only in part, and why."""
        with self._lock:
            self._fresh_index()
            return self._problems

    @property
    def entries(self) -> tuple[Passage, ...]:
        """All passages, in the order of the files."""
        with self._lock:
            self._fresh_index()
            return self._passages

    def look_again(self) -> None:
        """The folder was changed from here: the next question is answered from what stands there now."""
        with self._lock:
            self._checked_at = -CHECK_SECONDS
            self._snapshot = ()

    def _choose(self, index: Index, asked: _Asked) -> Answer | None:
        """The chosen passage, remembered: it is asked for with the passages, and again for the local answer."""
        chosen = self._chosen
        if asked not in chosen:
            if len(chosen) >= REMEMBERED:
                self._chosen = chosen = {}  # a new dict, because chosen_for reads the old one without the lock
            chosen[asked] = choose(index, *asked)
        return chosen[asked]

    def _fresh_index(self) -> Index:
        now = self._clock.monotonic()
        if self._index is None or now - self._checked_at >= CHECK_SECONDS:
            self._checked_at = now
            # Taken before the files are read, so that the next check notices an edit in between.
            seen = snapshot(self._folder)
            if self._index is None or seen != self._snapshot:
                self._index = self._build()
                self._chosen = {}
                self._snapshot = seen
        return self._index

    def _build(self) -> Index:
        passages, problems = read_folder(self._folder, with_examples=self._with_examples, known=self._known)
        self._problems = tuple(problems)
        self._passages = tuple(passages)
        return Index(passages)


def asked_of(question: Sequence[Line], history: Sequence[Line]) -> _Asked:
    """Everything besides the folder that the choice of a passage depends on."""
    return tuple(line.text for line in question), tuple(_before(question, history))


def _text(lines: Sequence[Line]) -> str:
    return "\n".join(line.text for line in lines)


def _earlier(history: Sequence[Line]) -> list[tuple[str, float]]:
    """The messages to search beside the question, with weights: the client's last ones, and the last reply."""
    asked = [line for line in history if line.sender == "client"][-_CLIENT_MESSAGES:]
    replied = [line for line in history if line.sender != "client"][-1:]
    said = ((_text(asked), _CLIENT_WEIGHT), (_text(replied), _REPLY_WEIGHT))
    return [(text, weight) for text, weight in said if text]


def _before(question: Sequence[Line], history: Sequence[Line]) -> list[str]:
    """The client's previous question, if the assistant's reply was the last message.

    After a manager's message a short question may refer to anything.
    """
    replies = [i for i, line in enumerate(history) if line.sender != "client"]
    if not replies or history[-1].sender != "assistant" or question[0].at - history[-1].at > _SAME_TALK:
        return []
    last = replies[-2] + 1 if len(replies) > 1 else 0
    return [line.text for line in history[last : replies[-1]] if line.words]
