"""The step that subscribes this server to amoCRM's messages, and the record of the webhooks that it made."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from otvet.account.health import Step
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.amocrm.hooks import Subscription, subscribe
from otvet.i18n import N_, _
from otvet.storage import keyvalue
from otvet.storage.database import Database

NAME = "amocrm_webhooks"
ASK_AGAIN = timedelta(days=1)  # amoCRM learns new events, and plans change

BY_HAND = N_(
    "In amoCRM: amoMarket, the three dots at the top right, WebHooks, Add. The address stands below. Tick at least "
    '"Incoming message received" ("Входящее сообщение получено"), and "Outgoing message sent" where it is offered'
)
NOT_PAID = N_("HTTP 402: most likely the plan has no webhooks over the API, or else the paid period has ended")
PLAN = N_(
    "amoCRM gives webhooks over the API on the plans Advanced and Professional, to an administrator's token: see the "
    "plan in Settings, Billing. By hand it may work all the same."
)


@dataclass(frozen=True, slots=True)
class Ours:
    """A webhook that Otvet subscribed. refused: the events that the account did not take at ``asked_at``."""

    base_url: str
    destination: str
    refused: tuple[str, ...]
    asked_at: datetime


async def subscribe_webhook(
    database: Database, amocrm: AmoClient, base_url: str, destination: str, now: datetime, *, reached: bool
) -> list[Step]:
    """Have amoCRM post the messages to ``destination``; if it refuses, the step says where to click.

    reached: whether a trial delivery came back. Only then are the webhooks of former addresses removed.
    """
    ours = await database.read(recall)
    here = next((one for one in ours if (one.base_url, one.destination) == (base_url, destination)), None)
    if here is None or not timedelta(0) <= now - here.asked_at < ASK_AGAIN:
        here = Ours(base_url, destination, (), now)
    try:
        made = await subscribe(amocrm, destination, without=here.refused)
    except AmoError as error:
        return [_refused(error, destination)]
    others = [one for one in ours if (one.base_url, one.destination) != (base_url, destination)]
    former = [one for one in others if one.base_url == base_url] if reached and not made.hook.disabled else []
    removed = {one: await _remove(amocrm, one.destination) for one in former}
    left = [one for one in others if one not in removed or removed[one].state != "good"]
    await database.write(lambda connection: _note(connection, [*left, replace(here, refused=made.refused)]))
    return [_subscribed(made, destination), *removed.values()]


def _subscribed(made: Subscription, destination: str) -> Step:
    name = _("Webhook")
    if made.hook.disabled:
        return Step(name, "bad", _("amoCRM keeps it switched off"), _(BY_HAND), destination)
    told = _("subscribed") if made.changed else _("was subscribed already")
    if "add_outgoing_message" not in made.hook.events:
        sentence = _("{told}; the account does not know: {events}").format(told=told, events=", ".join(made.refused))
        next_ = _("Replies of managers may not be heard of. If a tick box for outgoing messages is there, set it.")
        return Step(name, "warning", sentence, next_)
    return Step(name, "good", told)


def _refused(error: AmoError, destination: str) -> Step:
    name, by_hand = _("Webhook"), _(BY_HAND)
    if error.reason in ("payment", "forbidden"):
        # amoCRM gives this status for what the plan lacks too, so the paid period may be good.
        reason = _(NOT_PAID) if error.reason == "payment" else error
        sentence = _("amoCRM does not let this token subscribe it ({reason})").format(reason=reason)
        return Step(name, "bad", sentence, f"{_(PLAN)} {by_hand}", destination)
    if error.permanent:
        return Step(name, "bad", str(error), by_hand, destination)
    return Step(name, "bad", str(error), _("Try again in a few minutes: otvet connect"))


async def _remove(amocrm: AmoClient, destination: str) -> Step:
    """Remove the webhook of a former address: it would bring every message twice, or to a server that is gone."""
    name = _("Former webhook")
    try:
        await amocrm.unsubscribe(destination)
    except AmoError as error:
        if error.reason != "not_found":
            sentence = _("it is still there ({reason})").format(reason=error)
            next_ = _("In amoCRM: amoMarket, the three dots at the top right, WebHooks; delete the address below")
            return Step(name, "warning", sentence, next_, destination)
    return Step(name, "good", _("removed: the address is another one now"))


def recall(connection: Connection) -> Sequence[Ours]:
    """The webhooks that Otvet subscribed and has not removed yet."""
    kept = json.loads(keyvalue.recall(connection, NAME) or "[]")
    return [
        Ours(one["base_url"], one["destination"], tuple(one["refused"]), datetime.fromisoformat(one["asked_at"]))
        for one in kept
    ]


def _note(connection: Connection, ours: Sequence[Ours]) -> None:
    rows = [asdict(one) | {"asked_at": one.asked_at.isoformat()} for one in ours]
    keyvalue.note(connection, NAME, json.dumps(rows))
