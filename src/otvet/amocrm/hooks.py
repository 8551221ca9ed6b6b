"""Subscribes the webhook to the wanted events, as many of them as the account takes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient, Hook

NEEDED = "add_message"
WANTED = (
    NEEDED,
    "add_outgoing_message",  # this and the next two only in newer accounts
    "add_talk",
    "update_talk",
    "update_lead",
    "status_lead",
    "responsible_lead",
    "update_contact",
)


@dataclass(frozen=True, slots=True)
class Subscription:
    """The webhook after subscribe(). ``refused``: the wanted events that the account does not take."""

    hook: Hook
    refused: tuple[str, ...]
    changed: bool


async def subscribe(amocrm: AmoClient, destination: str, without: Sequence[str] = ()) -> Subscription:
    """Subscribe ``destination`` to the wanted events that it lacks; other events that a person has ticked stay.

    without: events that the account is known to refuse. AmoError if amoCRM refuses even NEEDED.
    """
    found = await amocrm.hook(destination)
    present = found.events if found else ()
    lacking = [name for name in WANTED if name not in (*without, *present)]
    works = found is not None and not found.disabled and NEEDED in present
    if found is not None and works and not lacking:
        return Subscription(found, tuple(without), False)
    refused: list[str] = []
    try:
        hook = await amocrm.subscribe(destination, [*present, *lacking])
    except AmoError as error:
        if not _is_about_the_events(error):
            raise
        # amoCRM does not say which event it refuses, so each is tried by itself, in addition to the present ones.
        base = found if found is not None and works else await amocrm.subscribe(destination, _first(NEEDED, present))
        hook, refused = await _add(amocrm, base, lacking)
    if hook.disabled:  # it is not documented whether a second subscription enables a hook
        await amocrm.unsubscribe(destination)
        hook = await amocrm.subscribe(destination, hook.events)
    return Subscription(hook, (*without, *refused), hook != found)


async def _add(amocrm: AmoClient, hook: Hook, lacking: Iterable[str]) -> tuple[Hook, list[str]]:
    refused: list[str] = []
    for name in lacking:
        if name in hook.events:
            continue
        try:
            hook = await amocrm.subscribe(hook.destination, [*hook.events, name])
        except AmoError as error:
            if not _is_about_the_events(error):
                raise
            refused.append(name)
    return hook, refused


def _first(name: str, others: Iterable[str]) -> list[str]:
    return [name, *(other for other in others if other != name)]


def _is_about_the_events(error: AmoError) -> bool:
    return error.reason in ("validation", "not_found")
