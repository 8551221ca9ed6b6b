"""The part of ``otvet connect`` that asks how replies reach the client, and sets that method up."""

from dataclasses import dataclass, field

from rich.console import Console

from otvet.account import reply_setup
from otvet.account.connecting import NO_ADDRESS_YET
from otvet.account.health import Step
from otvet.account.reply_setup import ANSWERS, Guide
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.commands.asking import Asking
from otvet.i18n import N_, _
from otvet.settings import old_names
from otvet.settings.by_channel import NOTE, SALESBOT, TALK, WIDGET, ways_in
from otvet.settings.loading import load_settings
from otvet.settings.settings import Settings
from otvet.storage.database import Database

MOST_BOTS = 30

QUESTION = N_("How are replies to reach the client?")
WHERE_THE_SECRET_IS = N_("The integration's secret key, from the tab Keys and scopes (not shown)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options of the command line. via: as in OTVET_REPLY_VIA."""

    via: str | None = None
    salesbot_id: int | None = None
    client_secret: str | None = field(default=None, repr=False)


class Replies:
    """Sets up the delivery method.

    learnt: the settings that work. steps: what it found. reach_the_client: not only notes are written.
    """

    def __init__(self, settings: Settings, wanted: Wanted, asking: Asking, console: Console) -> None:
        self._settings = settings
        self._wanted = wanted
        self._asking = asking
        self._console = console
        self.learnt: dict[str, str] = {}
        self.steps: list[Step] = []
        self.reach_the_client = False

    async def settle(self, database: Database, amocrm: AmoClient, base_url: str, secret: str) -> None:
        """Ask for the method, unless it is set, and set up what it needs. secret: the webhook's."""
        via, is_chosen_now = self._via()
        ways = set(ways_in(load_settings(reply_via=via).reply_via).values())
        ready = True
        if SALESBOT in ways:
            ready = await self._salesbot(database, amocrm, guided=is_chosen_now)
        if WIDGET in ways:
            ready = self._widget(secret, guided=is_chosen_now) and ready
        if TALK in ways:
            self.steps.append(reply_setup.by_talk(base_url))
        if ways == {NOTE}:
            self.steps.append(reply_setup.as_notes())
        if ready and is_chosen_now:
            self.learnt["reply_via"] = via
        self.reach_the_client = ready and ways != {NOTE}

    def _via(self) -> tuple[str, bool]:
        """The method, and whether it was chosen in this run."""
        if self._wanted.via:
            return self._wanted.via, True
        if self._asking.unattended or "reply_via" in self._settings.model_fields_set:
            return self._settings.reply_via, False
        chosen = self._asking.choose(_(QUESTION), [_(answer) for answer in ANSWERS.values()])
        return list(ANSWERS)[chosen], True

    async def _salesbot(self, database: Database, amocrm: AmoClient, *, guided: bool) -> bool:
        try:
            field_id = await reply_setup.find_field(database, amocrm, old_names.salesbot_field(old_names.given()))
        except AmoError as error:
            self.steps.append(Step(_(reply_setup.NAME), "bad", str(error)))
            return False
        bot_id = self._wanted.salesbot_id or self._settings.salesbot_id
        if guided or bot_id is None:
            self._show(reply_setup.guide_to_bot(field_id))
        if bot_id is None:
            return await self._ask_for_bot(amocrm, field_id)
        return self._took(await reply_setup.check_bot(amocrm, bot_id, field_id), bot_id)

    async def _ask_for_bot(self, amocrm: AmoClient, field_id: int) -> bool:
        """Ask for the bot's number until the bot exists, or the answer is empty."""
        self._asking.may_ask(_("When the bot is saved, press Enter"))
        if not self._asking.unattended:
            await self._list_bots(amocrm)
        while bot_id := self._asking.number(_("The bot's number (empty: later)")):
            step = await reply_setup.check_bot(amocrm, bot_id, field_id)
            if step.state != "bad":
                return self._took(step, bot_id)
            self._console.print(step.sentence)
        self.steps.append(reply_setup.no_bot_yet(field_id))
        return False

    async def _list_bots(self, amocrm: AmoClient) -> None:
        found = await reply_setup.bots(amocrm)
        self._console.print(_("The account's bots:") if found else _(reply_setup.HOW_TO_SEE_THE_NUMBER))
        for bot in found[:MOST_BOTS]:
            self._asking.beside(f"  {bot.id}  ", bot.name)

    def _took(self, step: Step, bot_id: int) -> bool:
        self.steps.append(step)
        if step.state == "bad":
            return False
        self.learnt["salesbot_id"] = str(bot_id)
        return True

    def _widget(self, secret: str, *, guided: bool) -> bool:
        name, settings = _(reply_setup.NAME), self._settings
        if settings.public_url is None:
            self.steps.append(Step(name, "bad", _("amoCRM cannot reach this server"), _(NO_ADDRESS_YET)))
            return False
        if not (self._wanted.client_secret or settings.amocrm_client_secret):
            answer = self._asking.ask(_(WHERE_THE_SECRET_IS), "--client-secret", hidden=True)
            self.learnt["amocrm_client_secret"] = answer
        if guided:
            self._show(reply_setup.guide_to_widget(settings.salesbot_url(secret)))
        self.steps.append(reply_setup.by_widget())
        return True

    def _show(self, guide: Guide) -> None:
        """Print the guide; a text to copy is on lines of its own, unwrapped."""
        self._console.print(f"\n[bold]{guide.heading}[/]")
        for number, click in enumerate(guide.clicks, 1):
            self._asking.beside(f"  {number}. ", click.text)
            for line in click.copied.splitlines():
                self._console.print(f"       {line}", markup=False, soft_wrap=True)
        self._console.print()
