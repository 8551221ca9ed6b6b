"""The interface of all responders: the context they get, the reply they return, and their errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from otvet.errors import ServiceError
from otvet.i18n import language_of_client
from otvet.responders.knowledge.passages import Passage

Sender = Literal["client", "assistant", "manager"]


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a conversation, as a responder sees it.

    words: False if the text is only a name for media, such as a picture.
    doubted: the unknown facts in a reply of the assistant that was sent all the same.
    kind: the type of the message: "text", or amoCRM's name for the media.
    unseen: a picture or file came with it, which no responder sees.
    """

    sender: Sender
    text: str
    at: datetime
    words: bool = True
    doubted: tuple[str, ...] = ()
    kind: str = "text"
    unseen: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """All that a responder may know of a turn.

    history: the messages before the question, oldest first, limited in number.
    question: the client's messages since our last reply, oldest first, never empty.
    language: the client's, "ru" or "en".
    known: (name, value) facts about the client and the deal.
    names: the names in ``known`` whose values clients may choose themselves.
    knowledge: the passages that fit the question, best first.
    summary: a summary of the messages before ``history``; empty if there are none.
    draft, findings: a refused reply and the reasons, if the reply has to be written again.
    shared: another client writes in the deal too. Their messages are left out here, and what the responder itself
        remembers of the conversation must not come into the reply.
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
        """The question's texts, one message a line."""
        return "\n".join(line.text for line in self.question)

    @property
    def own_language(self) -> str:
        """The language of what the assistant says by itself: also "uk" and "kk"."""
        asked, earlier = (
            "\n".join(line.text for line in lines if line.words and line.sender == "client")
            for lines in (self.question, self.history)
        )
        return language_of_client(asked, earlier, self.language)

    @property
    def nothing_to_read(self) -> bool:
        """Whether the client sent only voice messages, pictures and the like."""
        return not any(line.words for line in self.question)

    @property
    def has_unseen(self) -> bool:
        """Whether the client sent a picture or file, which no responder sees."""
        return any(line.unseen for line in (*self.history, *self.question) if line.sender == "client")


@dataclass(frozen=True, slots=True)
class Reply:
    """A text for the client, with its responder. ``details`` holds no words of the client."""

    text: str
    responder: str
    model: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class ResponderError(ServiceError):
    """The responder has no reply for this turn; the next responder is asked.

    spent: the cost of the failed attempt, in the responder's own unit.
    """

    spent: int = 0


class Declined(ResponderError):
    """The responder works, but refuses to reply to this text; it can be asked the next question."""


class Unclean(Declined):
    """What the responder wrote is no text for a client; it may write it anew.

    kind, piece: what was found, and where it stands; the piece is empty if it is the whole text.
    text: what was written.
    """

    def __init__(self, message: str, *, kind: str, piece: str, text: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.piece = piece
        self.text = text


class NoVerdict(ResponderError):
    """There is no reply, and it is unknown whether the responder works: it was not asked, or had nothing to say."""


class Unavailable(ResponderError):
    """The responder replies to no question for a while. seconds: how long it need not be asked."""

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Attempt(Protocol):
    """A responder's attempt at a reply, with the facts and the thread that it remembers across a crash.

    Both hold ids and states, never a client's words. A change is committed when the call returns.
    """

    started_at: datetime
    """When this responder was first asked for this draft. The budget counts from here, also after a restart and for a
    second version of the draft."""

    facts: Mapping[str, Any]
    """What the responder has remembered of this draft; empty for its first attempt.

    With ``task`` or ``asking`` among them a question was put, or may have been, and has to be paid for.
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

    outside: an outside service writes the reply: personal data is masked, and the reply is checked.
    """

    name: str
    outside: bool

    async def reply(self, context: Context, attempt: Attempt) -> Reply:
        """Write the reply, or raise ResponderError with the reason."""
        ...


class Summariser(Protocol):
    """A responder that can also summarise the older part of a conversation; ``name`` is the responder's."""

    name: str

    async def summarise(self, lines: Sequence[Line], before: str, language: str) -> Reply:
        """A summary of ``before`` (the summary so far, may be empty) and of the ``lines`` after it, oldest first.

        language: "ru" or "en". ResponderError if no summary can be written.
        """
        ...
