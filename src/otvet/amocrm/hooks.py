"""The webhook's subscription: the events that are wanted, as many of them as the account takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from otvet.amocrm.client import AmoClient, AmoError, Hook

NEEDED = "add_message"
WANTED = (
    NEEDED,
    "add_outgoing_message",  # only where the account is new enough, as these two
    "add_talk",
    "update_talk",
    "update_lead",
    "status_lead",
    "responsible_lead",
    "update_contact",
)


@dataclass(frozen=True, slots=True)
class Subscription:
    """How the hook is now. ``refused``: events that are wanted and that the account does not take."""

    hook: Hook
    refused: tuple[str, ...]
    changed: bool


async def subscribe(amocrm: AmoClient, destination: str, without: Sequence[str] = ()) -> Subscription:
    """See to it that the account posts what is wanted to ``destination``; changes nothing that is right.

    without: events that the account is known to refuse. What a person has ticked besides is kept. AmoError if even
    NEEDED is refused.
    """
    wanted = [name for name in WANTED if name not in without]
    hook = await amocrm.hook(destination)
    present = hook.events if hook else ()
    if hook and not hook.disabled and set(wanted) <= set(present):
        return Subscription(hook, tuple(without), False)
    theirs = [name for name in present if name not in WANTED]
    made, refused = await _as_many_as_it_takes(amocrm, destination, [*wanted, *theirs])
    if made.disabled:  # whether amoCRM enables a hook that is subscribed once more is not documented
        await amocrm.unsubscribe(destination)
        made = await amocrm.subscribe(destination, made.events)
    return Subscription(made, (*without, *refused), True)


async def _as_many_as_it_takes(amocrm: AmoClient, destination: str, events: list[str]) -> tuple[Hook, list[str]]:
    try:
        return await amocrm.subscribe(destination, events), []
    except AmoError as error:
        if error.reason not in ("validation", "not_found"):
            raise
    # It does not say which one it does not know. The needed one comes first: without it the others are no use.
    hook = await amocrm.subscribe(destination, [NEEDED])
    taken, refused = [NEEDED], []
    for name in events:
        if name in taken:
            continue
        try:
            hook = await amocrm.subscribe(destination, [*taken, name])
        except AmoError as error:
            if error.reason not in ("validation", "not_found"):
                raise
            refused.append(name)
        else:
            taken.append(name)
    return hook, refused
