"""What every writer of replies is given, and what it gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from otvet.errors import ServiceError
from otvet.responders.knowledge.passages import Passage

Sender = Literal["client", "assistant", "manager"]


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a conversation, as a responder sees it.

    words: the text is more than a name for media.
    doubted: pieces of a reply of ours that stood nowhere when it was sent all the same.
    """

    sender: Sender
    text: str
    at: datetime
    words: bool = True
    doubted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """All that a responder may know of a turn.

    history: what was said before the question, oldest first, already bounded.
    question: what the client said since our last reply, oldest first, never empty.
    language: "ru" or "en", the client's.
    known: of the client and the deal, as (name, value).
    names: those in ``known`` whose values clients may choose themselves.
    knowledge: the passages that fit the question, best first.
    summary: of what was said before ``history``; empty when nothing was.
    draft, findings: a reply that was refused and why, when it is to be written once more.
    shared: somebody else writes in the deal too. None of that is told here, and what a responder itself remembers of
        the conversation must not come into the reply.
    """

    turn_id: int
    conversation_id: int
    lead_id: int
    history: tuple[Line, ...]
    question: tuple[Line, ...]
    language: str
    instructions: str
    known: tuple[tuple[str, str], ...] = ()
    names: frozenset[str] = frozenset()
    knowledge: tuple[Passage, ...] = ()
    summary: str = ""
    draft: str = ""
    findings: tuple[str, ...] = ()
    shared: bool = False

    @property
    def question_text(self) -> str:
        """What the client asked, one line a message."""
        return "\n".join(line.text for line in self.question)

    @property
    def nothing_to_read(self) -> bool:
        """Whether the client sent only voice, pictures and the like."""
        return not any(line.words for line in self.question)


@dataclass(frozen=True, slots=True)
class Reply:
    """A text for the client and where it came from. ``details`` holds no words of the client."""

    text: str
    responder: str
    model: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class ResponderError(ServiceError):
    """This responder has no reply for this turn; the next one is asked.

    spent: what asking it has cost all the same, in its own unit.
    """

    spent: int = 0


class Declined(ResponderError):
    """The responder works, but writes no reply to these very words; nothing speaks against asking it the next time."""


class NoVerdict(ResponderError):
    """There is no reply, which does not tell whether the responder works: it was not asked, or had nothing to say."""


class Unavailable(ResponderError):
    """The responder will reply to nobody for a while. seconds: nobody needs to ask it before they are over."""

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Attempt(Protocol):
    """A responder's attempt at a reply, with what it remembers of the turn and of the conversation across a crash.

    Both are ids and states, never a client's words; both are committed when the call returns.
    """

    started_at: datetime
    """When this responder was first asked for this draft: a budget counts from here, also after a restart and when it
    writes the draft anew."""

    facts: Mapping[str, Any]
    """What the responder remembered of this draft; empty when it is asked for the first time.

    ``task`` or ``asking`` among them say that a question was put, or may have been, and has to be paid for.
    """

    thread: str | None
    """The responder's own id for the whole conversation (a Manus task), or None."""

    async def remember(self, **facts: Any) -> None:
        """Add to ``facts``."""
        ...

    async def keep_thread(self, thread: str | None) -> None:
        """Replace ``thread`` for this and later turns of the conversation."""
        ...


class Responder(Protocol):
    """A writer of replies.

    outside: it is asked over the internet: personal data is masked, and what it writes is checked.
    """

    name: str
    outside: bool

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        """Write the reply, or raise ResponderError with the reason."""
        ...


class Summariser(Protocol):
    """A responder that can also sum up the older part of a conversation; ``name`` is the responder's."""

    name: str

    async def summarise(self, lines: Sequence[Line], before: str, language: str) -> Reply:
        """A summary of ``before`` (the summary so far, may be empty) and of the ``lines`` after it, oldest first.

        language: "ru" or "en". ResponderError when there is none.
        """
        ...
