"""``otvet simulate``: plays amoCRM against the running server over HTTP and checks the result."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otvet.commands import forget, view
from otvet.commands.scenario import Case, scene, single
from otvet.commands.terminal import printable, whole
from otvet.conversations.tables import ERASED_TRIAL, conversations, is_trial
from otvet.errors import UsageError
from otvet.i18n import N_, _, language_of, ngettext
from otvet.responders.knowledge.passages import read_folder
from otvet.settings.settings import WEBHOOK_PATH, Settings
from otvet.staff import wording
from otvet.storage import keyvalue
from otvet.storage.database import Database
from otvet.turns.turn import State
from otvet.users import token_file

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
NO_TOKEN = N_(
    "the server does not let this command in: start it in the folder and as the user of the server, which writes "
    "{file}; or set OTVET_API_TOKEN"
)
POLL_SECONDS = 0.2
MARGIN_SECONDS = 20.0
SAID = (State.SENT, State.KEPT, State.FAILED)
ENDED_UNSAID = (State.DRAFT, State.HANDED, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The server's result for a case."""

    case: Case
    saved: int
    replies: Sequence[dict[str, Any]]
    turns: Mapping[int, str]
    """The states of the client's turns, by id."""

    @property
    def settled(self) -> bool:
        """Whether there is nothing left to wait for."""
        all_said = len(self.replies) >= self.case.replies or (self.turns and not self.turns.keys() - self.unsaid)
        return self.saved >= self.case.saved and bool(all_said)

    @property
    def unsaid(self) -> set[int]:
        """The turns that ended, for now or for good, without a reply to the client."""
        return {id_ for id_, state in self.turns.items() if state in ENDED_UNSAID}

    @property
    def drafted(self) -> bool:
        """Whether a reply is a draft that waits for a manager."""
        return State.DRAFT in self.turns.values()

    @property
    def good(self) -> bool:
        drafts = sum(state == State.DRAFT for state in self.turns.values())
        failed = any(one["turn"]["state"] == State.FAILED for one in self.replies)
        return self.saved == self.case.saved and len(self.replies) + drafts == self.case.replies and not failed


def _token(settings: Settings, base_url: str) -> str | None:
    """What opens the server's API: the token of the settings, or on this machine the one in the server's file."""
    if settings.api_token:
        return settings.api_token.get_secret_value()
    here = {urlsplit(settings.local_url).hostname, *THIS_MACHINE}
    return token_file.read(settings.token_file) if urlsplit(base_url).hostname in here else None


class Server:
    """The running server, as amoCRM and an API client see it."""

    def __init__(self, settings: Settings, secret: str, base_url: str) -> None:
        self.base_url = base_url
        self._webhook = f"{WEBHOOK_PATH}/{secret}"
        token = _token(settings, base_url)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._token_file = settings.token_file.absolute()
        self._http = httpx2.Client(base_url=base_url, headers=headers, timeout=10, trust_env=False)

    def deliver(self, body: bytes) -> None:
        answer = self._http.post(
            self._webhook, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        if answer.status_code == 404:
            raise UsageError(_("the server does not know this webhook address: does it use another database?"))
        if not answer.is_success:
            raise UsageError(_("the server answered {status} to a delivery").format(status=answer.status_code))

    def messages(self, lead_id: int) -> list[dict[str, Any]]:
        answer = self._http.get(f"/api/conversations/{lead_id}/messages", params={"limit": 200})
        if answer.status_code == 404:
            return []
        if answer.status_code == 401:
            raise UsageError(_(NO_TOKEN).format(file=self._token_file))
        if not answer.is_success:
            raise UsageError(_("the API answered {status}: {body}").format(status=answer.status_code, body=answer.text))
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found

    def why(self, turn_id: int) -> str | None:
        """The reason of a turn's end, as a sentence."""
        answer = self._http.get(f"/api/turns/{turn_id}")
        return answer.json()["why"] if answer.is_success else None


def connect(settings: Settings, base_url: str | None, *, live: bool) -> Server:
    """Find the running server; refuses to spend money unless ``live``. Nothing of a trial goes to amoCRM."""
    outside = urlsplit(settings.manus_base_url).hostname not in THIS_MACHINE
    if settings.manus_api_key and outside and not live:
        raise UsageError(
            _("{services} is connected: the trial would use it for real; add --live if that is wanted").format(
                services=settings.manus_base_url
            )
        )
    address = (base_url or settings.local_url).rstrip("/")
    return Server(settings, _secret(settings, address), address)


def _secret(settings: Settings, address: str) -> str:
    if settings.webhook_secret:
        return settings.webhook_secret.get_secret_value()
    if settings.is_sqlite and not settings.sqlite_path.exists():
        raise not_running(address)
    database = Database(settings.database_url)
    try:
        secret = database.read_now(lambda connection: keyvalue.recall(connection, "webhook_secret"))
    finally:
        database.close()
    if secret is None:
        raise not_running(address)
    return secret


def not_running(address: str) -> UsageError:
    return UsageError(_("no Otvet answers at {address}; start it with: make run").format(address=address))


def one_message(settings: Settings, text: str, lead_id: int, base_url: str | None, *, live: bool) -> bool:
    """Send one message of a client and print the reply; False without a reply."""
    return _play(settings, [single(datetime.now(UTC), lead_id, text)], base_url, live=live)


def whole_scene(settings: Settings, base_url: str | None, *, live: bool) -> bool:
    """Play the whole scene and print a table; False if a result is not as expected."""
    return _play(settings, scene(datetime.now(UTC), _own_questions(settings)), base_url, live=live)


def _own_questions(settings: Settings) -> list[str]:
    """Questions that the knowledge folder answers: headings that end with a question mark."""
    passages, _problems = read_folder(settings.knowledge_dir, with_examples=not settings.amocrm_connected)
    headings = dict.fromkeys(passage.heading.strip() for passage in passages)
    return [heading for heading in headings if heading.endswith("?") and language_of(heading) == "ru"]


def clean(settings: Settings) -> None:
    """Erase all trial chats, here and at Manus."""
    database = view.open_database(settings)
    try:
        leads = database.read_now(lambda connection: connection.scalars(_TRIALS).all())
    finally:
        database.close()
    for lead_id in leads:
        asyncio.run(forget.erase(settings, forget.Who(lead_id=lead_id)))
    told = ngettext("{count} trial chat erased", "{count} trial chats erased", len(leads)).format(count=len(leads))
    Console().print(told)


_TRIALS = (
    sa.select(conversations.c.amocrm_lead_id)
    .where(
        is_trial(conversations),
        conversations.c.chat_ref != ERASED_TRIAL,
        conversations.c.amocrm_lead_id.is_not(None),
    )
    .distinct()
    .order_by(conversations.c.amocrm_lead_id)
)


def _play(settings: Settings, cases: list[Case], base_url: str | None, *, live: bool) -> bool:
    server = connect(settings, base_url, live=live)
    console = Console()
    try:
        before = {case.lead_id: len(server.messages(case.lead_id)) for case in cases}
        with console.status(_("posting the messages...")):
            for case in cases:
                for body in case.bodies:
                    server.deliver(body)
        patience = settings.quiet_max_seconds + settings.reply_budget_seconds + MARGIN_SECONDS
        with console.status(_("waiting for the replies...")):
            outcomes = _wait(server, cases, before, patience)
        table = _table(server, outcomes)
    except httpx2.TransportError as error:
        raise not_running(server.base_url) from error
    console.print(whole(table))
    good = all(outcome.good for outcome in outcomes)
    if not good:
        console.print(_("not as it must be; see the lines marked with ✗"))
    elif any(outcome.drafted for outcome in outcomes):
        console.print(_("as it must be in draft mode: nothing is sent before it is approved; see otvet turns"))
    else:
        console.print(_("all as it must be"))
    return good


def _wait(server: Server, cases: list[Case], before: dict[int, int], patience: float) -> list[Outcome]:
    deadline = time.monotonic() + patience
    while True:
        outcomes = [_outcome(case, server.messages(case.lead_id)[before[case.lead_id] :]) for case in cases]
        if all(outcome.settled for outcome in outcomes) or time.monotonic() > deadline:
            return outcomes
        time.sleep(POLL_SECONDS)


def _outcome(case: Case, messages: list[dict[str, Any]]) -> Outcome:
    replies = [one for one in messages if one["sender_type"] == "assistant"]
    finished = [one for one in replies if (one["turn"] or {}).get("state") in SAID]
    asked = [one["turn"] for one in messages if one["sender_type"] == "client" and one["turn"]]
    return Outcome(case, len(messages) - len(replies), finished, {turn["id"]: turn["state"] for turn in asked})


def _table(server: Server, outcomes: list[Outcome]) -> Table:
    table = Table()
    table.add_column("")
    table.add_column(_("What was played"), max_width=24)
    table.add_column(_("Saved"))
    table.add_column(_("Reply"), ratio=1)
    for outcome in outcomes:
        case = outcome.case
        played = Text(_(case.title)).append("\n" + _("Deal {lead}").format(lead=case.lead_id), style="dim")
        sign = "[green]✓[/]" if outcome.good else "[red]✗[/]"
        told = _replies(outcome, {turn: server.why(turn) for turn in sorted(outcome.unsaid)})
        table.add_row(sign, played, f"{outcome.saved}/{case.saved}", told)
    return table


def _replies(outcome: Outcome, unsaid: Mapping[int, str | None]) -> Text:
    """Each reply with its responder and delivery, and the reason of each turn without one."""
    text = Text()
    for one in outcome.replies:
        became = f"{wording.writer(one['metadata']['responder'])}: {wording.delivery(one['metadata'].get('delivery'))}"
        text.append("\n" if text else "").append(printable(one["content"]) + "\n").append(became, style="dim")
    for turn, why in unsaid.items():
        text.append("\n" if text else "").append(_unsaid(turn, outcome.turns[turn], why))
    return text or Text("—")


def _unsaid(turn: int, state: str, why: str | None) -> str:
    if state == State.DRAFT:
        return _("draft {turn} waits for approval: otvet turns").format(turn=turn)
    why = printable(why or "?")
    if state == State.HANDED:
        return _("left to a person: {why}").format(why=why)
    return _("not answered: {why}").format(why=why)
