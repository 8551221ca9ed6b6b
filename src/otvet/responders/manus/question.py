"""The messages that are sent into a task: first everything, later only what the task has not seen."""

from collections.abc import Sequence
from dataclasses import replace

from otvet.responders.base import Context, Line
from otvet.responders.cleaning.clean import words_of
from otvet.responders.manus.ending import said, without_manus
from otvet.responders.manus.events import AssistantMessage, Event, UserMessage
from otvet.responders.prompt import TOKEN_LIMIT, TOKENIZER, write_prompt

LONGEST_TASK_EVENTS = 100
"""After this number of events, about twenty questions, the conversation gets a new task.

Manus reads the whole task for each message, so a long task costs more and more credits; and one poll would no longer
show all events of a longer one.
"""

LONGEST_TASK_TOKENS = 10 * TOKEN_LIMIT
"""After this number of estimated tokens, the text of ten full prompts, the conversation gets a new task.

Credits are no measure for this: Manus does not always tell them, and an expensive answer does not make a task long.
"""


def opening(context: Context) -> str:
    """The first message of a task."""
    return write_prompt(context)


def follow_up(context: Context, events: Sequence[Event]) -> str:
    """A further message for a task with these events, newest first.

    Besides the question it holds what Manus has not seen: a manager's messages and replies of other responders. The
    caller empties the context's instructions if the task has them.
    """
    unseen = tuple(_unseen(context.history, events))
    summary = context.summary if len(unseen) == len(context.history) else ""
    return write_prompt(replace(context, history=unseen, summary=summary))


def is_long(events: Sequence[Event]) -> bool:
    """Whether a task with these events is too long for a further question."""
    said_so_far = (event.text for event in events if isinstance(event, UserMessage | AssistantMessage))
    return len(events) >= LONGEST_TASK_EVENTS or sum(map(TOKENIZER.count, said_so_far)) >= LONGEST_TASK_TOKENS


def was_told(instructions: str, events: Sequence[Event]) -> bool:
    """Whether a message that was sent into the task holds the instructions."""
    return any(instructions.strip() in event.text for event in events if isinstance(event, UserMessage))


def _unseen(history: Sequence[Line], events: Sequence[Event]) -> Sequence[Line]:
    """The history after the last reply of Manus that reached the client; all of it if there is no such reply."""
    written = [said(event) for event in events if isinstance(event, AssistantMessage)]
    cleaned = list(map(words_of, written))
    replies = {_words(without_manus(text, may_name_manus=may)) for text in cleaned for may in (True, False)}
    for index in range(len(history) - 1, -1, -1):
        text = _words(history[index].text)  # of a reply that repeated the question the client got only the end
        if history[index].sender == "assistant" and text and any(reply.endswith(text) for reply in replies):
            return history[index + 1 :]
    return history


def _words(text: str) -> str:
    return " ".join(text.split())
