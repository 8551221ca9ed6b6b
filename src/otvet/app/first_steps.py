"""The check-list of the first visit: what is done already, told by the database and the files alone."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from otvet.account import health
from otvet.app.service import Service
from otvet.i18n import N_, _
from otvet.responders.knowledge.passages import read_folder
from otvet.storage import keyvalue, outages
from otvet.users import kept_settings
from otvet.users.kept_settings import Switch

MODES: Mapping[str, str] = {
    "auto": N_("it answers by itself"),
    "draft": N_("it writes drafts, which a manager approves"),
    "off": N_("it is off"),
}
HIDDEN = "first_steps_hidden"


@dataclass(frozen=True, slots=True)
class FirstStep:
    """One line of the list. how: what is so now. address: where it is done."""

    name: str
    how: str
    done: bool
    address: str


async def look(service: Service) -> Sequence[FirstStep]:
    """The lines in their order."""
    settings, found = service.settings, service.in_force

    def read(connection: Connection) -> tuple[bool, bool, Switch]:
        outage = outages.current(connection) is not None
        heard = health.moment(connection, health.LAST_DELIVERY) is not None
        return outage, heard, kept_settings.switch(connection)

    outage, heard, switch = await service.database.read(read)
    own = await _own_answers(service)
    connected = settings.amocrm_connected and not outage
    mode = found.mode(switch)
    chosen = {name: name in found.kept or found.is_fixed(name) for name in ("mode", "reply_via", "working_hours")}
    with_ai = bool(settings.manus_api_key or settings.openai_model)
    return [
        FirstStep(
            _("Connect amoCRM"),
            _("connected to {address}").format(address=settings.amocrm_base_url)
            if connected
            else _("amoCRM refuses calls right now")
            if outage
            else _("not connected yet"),
            connected,
            "/settings/amocrm",
        ),
        FirstStep(
            _("Hear what clients write"),
            _("messages come in") if heard else _("nothing has come in yet: write to one of your channels"),
            heard,
            "/settings/amocrm",
        ),
        FirstStep(
            _("Choose where replies go"),
            settings.reply_via if chosen["reply_via"] else _("as a note in the deal, unless you choose otherwise"),
            connected and chosen["reply_via"],
            "/settings/amocrm#replies",
        ),
        FirstStep(
            _("Write down what it may say"),
            _("your own answers are there")
            if own
            else _("no answers of yours yet: clients are only told that a manager will reply"),
            own,
            "/knowledge",
        ),
        FirstStep(
            _("Connect an AI"),
            _("an AI writes, and the knowledge folder answers where it cannot")
            if with_ai
            else _("without one, the knowledge folder answers alone"),
            with_ai,
            "/settings#writers",
        ),
        FirstStep(
            _("Set the working hours"),
            settings.working_hours or _("none: it answers at any hour"),
            chosen["working_hours"],
            "/settings#when",
        ),
        FirstStep(
            _("Decide whether a manager approves first, and switch it on"),
            _(MODES[mode]) if not switch.stopped else _("stopped everywhere"),
            chosen["mode"] and mode != "off" and switch.stopped is None,
            "#mode-choice",
        ),
    ]


async def _own_answers(service: Service) -> bool:
    """Whether there are answers beside the examples that came with Otvet."""
    passages, _problems = await asyncio.to_thread(read_folder, service.settings.knowledge_dir, with_examples=False)
    return bool(passages)


def hide(connection: Connection, who: str) -> bool:
    """The company does not want to see the list any more."""
    keyvalue.note(connection, HIDDEN, who)
    return True


def is_hidden(connection: Connection) -> bool:
    """Whether somebody has put the list away."""
    return bool(keyvalue.recall(connection, HIDDEN))
