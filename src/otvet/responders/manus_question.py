"""What a Manus task is told: everything when it begins, and later only what it has not seen."""

from collections.abc import Sequence

from otvet.responders.base import Context, Line
from otvet.responders.manus_answer import for_client, said
from otvet.responders.manus_events import AssistantMessage, Event, UserMessage
from otvet.responders.prompt import write_prompt


def opening(context: Context) -> str:
    """The first message of a task."""
    return write_prompt(context.instructions, context.history, context.question)


def follow_up(context: Context, events: Sequence[Event]) -> str:
    """A further message of a task with these events, newest first.

    Besides the question it tells what went past Manus (a manager's messages, replies that were not Manus's),
    and the instructions, if they are not those that were sent before.
    """
    sent = [event.text for event in events if isinstance(event, UserMessage)]
    known = any(context.instructions.strip() in text for text in sent)
    return write_prompt("" if known else context.instructions, _unseen(context.history, events), context.question)


def _unseen(history: Sequence[Line], events: Sequence[Event]) -> Sequence[Line]:
    """What was said after the last reply of Manus that reached the client; everything, if none is found."""
    replies = {_words(for_client(said(event))) for event in events if isinstance(event, AssistantMessage)}
    for index in range(len(history) - 1, -1, -1):
        if history[index].sender == "assistant" and _words(history[index].text) in replies:
            return history[index + 1 :]
    return history


def _words(text: str) -> str:
    return " ".join(text.split())
