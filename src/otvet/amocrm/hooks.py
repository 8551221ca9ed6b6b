"""The webhook's subscription: the events that are wanted, as many of them as the account takes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient, Hook

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
        # It does not say which one it does not know, so each is tried by itself, on top of what is there already.
        base = found if found is not None and works else await amocrm.subscribe(destination, _first(NEEDED, present))
        hook, refused = await _add(amocrm, base, lacking)
    if hook.disabled:  # whether amoCRM enables a hook that is subscribed once more is not documented
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
