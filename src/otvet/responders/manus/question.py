"""What a Manus task is told: everything when it begins, and later only what it has not seen."""

from collections.abc import Sequence
from dataclasses import replace

from otvet.responders.base import Context, Line
from otvet.responders.manus.answer import for_client, said
from otvet.responders.manus.events import AssistantMessage, Event, UserMessage
from otvet.responders.prompt import TOKEN_LIMIT, TOKENIZER, write_prompt

LONGEST_TASK_EVENTS = 100
"""A task with so many events, about twenty questions, is followed by a fresh one. Manus goes through all of a task for
each further message, so a long one costs ever more credits; and of a longer one a single look no longer shows all.
"""

LONGEST_TASK_TOKENS = 10 * TOKEN_LIMIT
"""The same for one of few but long messages: as much text as ten full prompts. What was said is there to be counted,
whereas credits are not always told, and a dear answer does not make a task long.
"""


def opening(context: Context) -> str:
    """The first message of a task."""
    return write_prompt(context)


def follow_up(context: Context, events: Sequence[Event]) -> str:
    """A further message of a task with these events, newest first.

    Besides the question it tells what went past Manus: a manager's messages, replies that were not Manus's. The
    instructions are told if there are any: who has told them before leaves them empty.
    """
    unseen = tuple(_unseen(context.history, events))
    summary = context.summary if len(unseen) == len(context.history) else ""
    return write_prompt(replace(context, history=unseen, summary=summary))


def is_long(events: Sequence[Event]) -> bool:
    """Whether a task with these events is to be followed by a fresh one."""
    said_so_far = (event.text for event in events if isinstance(event, UserMessage | AssistantMessage))
    return len(events) >= LONGEST_TASK_EVENTS or sum(map(TOKENIZER.count, said_so_far)) >= LONGEST_TASK_TOKENS


def was_told(instructions: str, events: Sequence[Event]) -> bool:
    """Whether one of a task's messages holds the instructions."""
    return any(instructions.strip() in event.text for event in events if isinstance(event, UserMessage))


def _unseen(history: Sequence[Line], events: Sequence[Event]) -> Sequence[Line]:
    """What was said after the last reply of Manus that reached the client; everything, if none is found."""
    written = [said(event) for event in events if isinstance(event, AssistantMessage)]
    replies = {_words(for_client(text, may_name_manus=may)) for text in written for may in (True, False)}
    for index in range(len(history) - 1, -1, -1):
        if history[index].sender == "assistant" and _words(history[index].text) in replies:
            return history[index + 1 :]
    return history


def _words(text: str) -> str:
    return " ".join(text.split())
