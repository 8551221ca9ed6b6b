"""What each delivery method needs in amoCRM: checks it, makes it where amoCRM allows, else guides a person."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from otvet.account.health import Step
from otvet.amocrm import salesbots
from otvet.amocrm.addresses import host_of
from otvet.amocrm.answers import AmoError
from otvet.amocrm.chat_calls import find_or_make_field
from otvet.amocrm.client import AmoClient
from otvet.amocrm.salesbots import Bot
from otvet.delivery.methods import FIELD
from otvet.errors import ServiceError
from otvet.i18n import N_, _
from otvet.settings.by_channel import NOTE, SALESBOT, TALK, WIDGET
from otvet.storage import keyvalue
from otvet.storage.database import Database

NAME = N_("Replies")
TEXT_AREA = "textarea"

ANSWERS = {
    NOTE: N_("As a note in the deal: staff see it and copy it into the chat. Works at once."),
    SALESBOT: N_(
        "Into the client's chat, by a Salesbot of one step, which you make in amoCRM now. Takes five minutes."
    ),
    WIDGET: N_("Into the client's chat, by a Salesbot of yours that asks for the reply. Needs a widget of your own."),
    TALK: N_("Into the client's chat, by Kommo's Chats API add-on. Kommo's plans Pro and Enterprise."),
}
"""The ways, and what each asks of the company."""

NO_SUCH_FIELD = N_(
    "amoCRM has no field {field} in its deals. Take OTVET_SALESBOT_FIELD_ID out of .env, and a field is made."
)


@dataclass(frozen=True, slots=True)
class Click:
    """One thing to do in amoCRM. ``copied``: a text to paste there as it is."""

    text: str
    copied: str = ""


@dataclass(frozen=True, slots=True)
class Guide:
    """The clicks that a person has to make in amoCRM, in this order."""

    heading: str
    clicks: Sequence[Click]


def as_notes() -> Step:
    """The step for notes, which need nothing."""
    return Step(_(NAME), "good", _("as notes in the deal: staff see them, and copy them into the client's chat"))


# By a Salesbot


async def find_field(database: Database, amocrm: AmoClient, chosen: int | None) -> int:
    """The id of the deals' field that the bot reads: the chosen one, else the one made before, else a new one.

    AmoError if there is none and none can be made.
    """
    if chosen is not None:
        if await salesbots.field_type(amocrm, chosen) is None:
            raise AmoError(_(NO_SUCH_FIELD).format(field=chosen), reason="not_found", permanent=True)
        await database.write(lambda connection: keyvalue.note(connection, FIELD, str(chosen)))
        return chosen
    kept = await database.read(lambda connection: keyvalue.recall(connection, FIELD))
    if kept and await salesbots.field_type(amocrm, int(kept)) is not None:
        return int(kept)
    made = await find_or_make_field(amocrm)
    await database.write(lambda connection: keyvalue.note(connection, FIELD, str(made)))
    return made


def marker(field_id: int) -> str:
    """The placeholder for the field's text in a bot's message."""
    return f"{{{{lead.cf.{field_id}}}}}"


def guide_to_bot(field_id: int) -> Guide:
    """How to make the bot that sends the field's text."""
    return Guide(
        _("The bot that sends the replies. It is made in amoCRM, once:"),
        (
            Click(_("Open Settings, Communication tools, Salesbots, and press Create a new bot. Start from nothing.")),
            Click(_("Add one step, Message. Its text is exactly this, to be pasted:"), marker(field_id)),
            Click(
                _(
                    "In that step choose the main contact as the recipient, and the primary channel. Where several "
                    "contacts write in one deal, Otvet runs the bot for the contact who asked."
                )
            ),
            Click(_("Add nothing else: no words, no other steps, no trigger. Otvet starts the bot by itself.")),
            Click(_("Give it a name, such as Otvet, and save it.")),
        ),
    )


HOW_TO_SEE_THE_NUMBER = N_(
    "amoCRM does not tell the bots of this account here. The bot's number is in the page: open the list of Salesbots "
    "in a browser, press F12, point at the bot, and read data-id."
)


async def bots(amocrm: AmoClient) -> Sequence[Bot]:
    """The account's bots; empty if amoCRM does not list them."""
    try:
        return await salesbots.bots(amocrm)
    except ServiceError:
        return ()


async def check_bot(amocrm: AmoClient, bot_id: int, field_id: int) -> Step:
    """Whether the bot exists and its field is a text area. amoCRM does not tell a bot's steps."""
    name = _(NAME)
    told = _("into the client's chat by the Salesbot {bot}; its message has to be {marker}").format(
        bot=bot_id, marker=marker(field_id)
    )
    try:
        found = await salesbots.bot(amocrm, bot_id)
        kind = await salesbots.field_type(amocrm, field_id)
    except AmoError as error:
        # The error's own sentence is about deals and notes.
        reason = f"HTTP {error.status}" if error.status else error
        sentence = _("{told}. Whether the bot is there cannot be seen from here ({reason})")
        return Step(name, "warning", sentence.format(told=told, reason=reason), _("Write to a channel to try it."))
    if found is None:
        next_ = _("Take the number of a bot that is there: otvet connect --reply-via salesbot --salesbot-id NUMBER")
        return Step(name, "bad", _("amoCRM has no Salesbot {bot}").format(bot=bot_id), next_)
    if kind != TEXT_AREA:
        sentence = _("the field {field} is no text area: amoCRM takes 256 characters there").format(field=field_id)
        return Step(
            name, "warning", sentence, _("Delete it in amoCRM and start otvet connect again: it makes a text area.")
        )
    if found.active is False:
        return Step(name, "warning", _("{told}. The bot is switched off").format(told=told), _("Switch it on."))
    return Step(name, "good", told)


def no_bot_yet(field_id: int) -> Step:
    """The step for a field without a bot: the bot's number is not known yet."""
    told = _("as notes in the deal, until the Salesbot's number is known; its message has to be {marker}")
    sentence = told.format(marker=marker(field_id))
    return Step(
        _(NAME), "bad", sentence, _("Make the bot, then: otvet connect --reply-via salesbot --salesbot-id NUMBER")
    )


# By a bot that asks


def guide_to_widget(address: str) -> Guide:
    """How to make a bot that requests the reply at this address and sends it."""
    request = {
        "handler": "widget_request",
        "params": {"url": address, "data": {"message": "{{message_text}}", "lead": "{{lead.id}}"}},
    }
    return Guide(
        _("The bot that asks for the replies. It needs a widget of your own (docs/delivery.md):"),
        (
            Click(_("The address that the widget's step asks:"), address),
            Click(_("The code of the step:"), json.dumps(request, indent=2)),
            Click(_("After it a condition: {{json.status}} is success; then a step that sends:"), "{{json.reply}}"),
            Click(
                _(
                    "A reply longer than the channel takes comes in several: {{json.reply_1}}, {{json.reply_2}} and so "
                    "on. Before the step that sends {{json.reply_2}} put a condition: {{json.parts}} is more than 1. "
                    "Without it the client gets an empty message, or the placeholder."
                )
            ),
            Click(_("In each step that sends, choose the main contact as the recipient, and the primary channel.")),
            Click(_("Have the bot started by the client's message.")),
            Click(_("The token's owner has to be an administrator: amoCRM lets nobody else answer a waiting bot.")),
        ),
    )


def by_widget() -> Step:
    """The step for the method widget, before the first bot has requested a reply."""
    return Step(_(NAME), "good", _("to the Salesbot that asks for them; a client's message shows whether it asks"))


# By Kommo's own call


def by_talk(base_url: str) -> Step:
    """The step for Kommo's call: what the account needs for it. No call tells whether the account has that."""
    name = _(NAME)
    needs = _(
        "into the client's chat by Kommo's Chats API add-on. It is on the plans Pro and Enterprise (500 messages a "
        "month) and in a trial (100), and the integration needs the right Sending to external chats"
    )
    if host_of(base_url).endswith(".kommo.com"):
        return Step(name, "good", needs)
    next_ = _("Whether amoCRM has it too is not verified: try it, or take the way salesbot.")
    return Step(name, "warning", needs, next_)
