"""The steps of connecting an account. Each is a function that returns what it found; it asks and prints nothing."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from otvet.account.health import Step
from otvet.account.watch import lasting
from otvet.amocrm.addresses import HERE, is_exposed
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import Account, AmoClient
from otvet.clock import Clock
from otvet.errors import ServiceError, UsageError
from otvet.i18n import N_, _, ngettext
from otvet.intake import own_account, trial
from otvet.storage.database import Database

WRITE_ANSWERS = N_(
    "Put your own answers in place of the examples there and remove line 1 of each file (docs/knowledge.md), then: "
    "otvet check"
)
AMOCRMS_PATIENCE = 2.0  # seconds; a slower answer counts as a failure there


@dataclass(frozen=True, slots=True)
class Checked:
    """The account that a token belongs to. ``account``: None if the token does not work."""

    account: Account | None
    steps: tuple[Step, ...]

    @property
    def works(self) -> bool:
        return self.account is not None


async def check_token(
    database: Database, amocrm: AmoClient, base_url: str, ends: datetime | None, clock: Clock, *, renewed: bool
) -> Checked:
    """Check whether the token works, for how long, and its owner's rights; store the account.

    ends: when a person has to bring another token. renewed: whether Otvet renews the token by itself.
    """
    try:
        account = await amocrm.account()
    except AmoError as error:
        return Checked(None, (Step(_("Token"), "bad", str(error)),))
    await database.write(lambda connection: own_account.learn(connection, base_url, account.id, account.subdomain))
    found = Step(_("Account"), "good", _("{name} ({id})").format(name=account.name, id=account.id))
    state, sentence = lasting(ends, clock.now(), renewed=renewed)
    return Checked(account, (found, Step(_("Token"), state, sentence), await _rights(amocrm, account)))


async def refuses_token(amocrm: AmoClient) -> bool:
    """Whether amoCRM answers that the token is worth nothing; False if it takes it, or if something else fails."""
    try:
        await amocrm.account()
    except AmoError as error:
        return error.reason == "unauthorized"
    return False


async def _rights(amocrm: AmoClient, account: Account) -> Step:
    name = _("Rights")
    unknown = Step(name, "good", _("amoCRM does not tell them to this integration; the next steps show them"))
    if account.user_id is None:
        return unknown
    try:
        user = await amocrm.user(account.user_id)
    except ServiceError:  # closed to external integrations
        return unknown
    rights = user.get("rights") if user else None
    if not isinstance(rights, Mapping):
        return unknown
    if rights.get("is_admin"):
        return Step(name, "good", _("an administrator: everything"))
    lacking = [_(what) for what, place, right in _NEEDED_RIGHTS if not _may(rights, place, right)]
    if lacking:
        sentence = _("the token's owner may not: {what}").format(what=", ".join(lacking))
        return Step(name, "bad", sentence, _("Give that user these rights, or take the token of an administrator."))
    return Step(name, "warning", _("no administrator: notes can be written, the webhook has to be entered by hand"))


_NEEDED_RIGHTS = (
    (N_("see deals"), "leads", "view"),
    (N_("change deals"), "leads", "edit"),
    (N_("see contacts"), "contacts", "view"),
)


def _may(rights: Mapping[str, Any], place: str, right: str) -> bool:
    """Whether a right is not denied. D is denied; the other letters allow it for a part or all of the account."""
    there = rights.get(place)
    return not isinstance(there, Mapping) or there.get(right, "A") != "D"


def public_address(typed: str) -> str:
    """This server's address from what a person typed, also ``otvet.example.com``; UsageError if it is no address."""
    text = typed.strip().rstrip("/")
    address = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", 0
    known = "." in host or ":" in host or host in HERE
    if not known or port == 0 or parts.scheme not in ("http", "https") or set(text) & set(" ?#"):
        sentence = _("{text} is no address of a server; it looks like https://otvet.example.com")
        raise UsageError(sentence.format(text=typed))
    if wrong := name_of_server(address):
        raise UsageError(wrong.sentence)
    return address


def name_of_server(public_url: str) -> Step | None:
    """The step for an address that amoCRM does not take because of its name; None if it takes it.

    Source: https://www.amocrm.ru/developers/content/crm_platform/webhooks-format
    """
    host = urlsplit(public_url).hostname or ""
    if host.isascii() and not any(part.startswith("xn--") for part in host.split(".")):
        return None
    sentence = _("amoCRM takes no Cyrillic names of servers, in whatever form")
    return Step(
        _("Address"), "bad", sentence, _("Take a name of Latin letters: otvet connect --public-url https://...")
    )


def answers_at_hand(folder: Path, *, with_ai: bool) -> Step:
    """Whether the owner has written answers; the examples that came with Otvet do not count."""
    from otvet.responders.knowledge.passages import read_folder  # the search's libraries are not needed to count

    name = _("Knowledge")
    passages, _problems = read_folder(folder, with_examples=False)
    if passages:
        told = ngettext("{count} answer in {folder}", "{count} answers in {folder}", len(passages))
        return Step(name, "good", told.format(count=len(passages), folder=folder))
    if with_ai:
        told = _("no answers of yours in {folder} yet: the AI knows nothing of your prices and terms")
    else:
        told = _("no answers of yours in {folder} yet: clients are only told that a manager will reply")
    return Step(name, "warning", told.format(folder=folder), _(WRITE_ANSWERS))


async def try_delivery(http: httpx2.AsyncClient, destination: str, here: str, secret: str, clock: Clock) -> Step:
    """Post a trial delivery to the public address, as amoCRM would post a message.

    here: the webhook at this machine's own address, tried if the public one does not answer.
    """
    name, nonce = _("Way here"), secrets.token_urlsafe(24)
    shown = destination.removesuffix(secret)
    begun = clock.monotonic()
    try:
        answer = await _post_trial(http, destination, nonce)
    except httpx2.RequestError as error:
        if await _takes_trials(http, here, secret):
            sentence = _("Otvet runs here, but is not seen at {address} ({cause})")
            next_ = _(
                "Correct the address (otvet connect --public-url https://...), or lead the tunnel or proxy to {here}."
            ).format(here="{0.scheme}://{0.netloc}".format(urlsplit(here)))
            return Step(name, "bad", sentence.format(address=shown, cause=type(error).__name__), next_)
        sentence = _("{address} does not answer ({cause})").format(address=shown, cause=type(error).__name__)
        next_ = _("See whether Otvet runs (make run), and whether the tunnel or proxy leads to it.")
        return Step(name, "bad", sentence, next_)
    if _signed(answer) != trial.signature(secret, nonce):
        sentence = _("{address} is answered by something else (status {status})").format(
            address=shown, status=answer.status_code
        )
        return Step(name, "bad", sentence, _("Lead the public address to this Otvet, with the path as it is."))
    took = clock.monotonic() - begun
    if took > AMOCRMS_PATIENCE:
        sentence = _("a trial delivery took {seconds:.1f} s, and amoCRM waits for 2 s").format(seconds=took)
        return Step(name, "bad", sentence, _("Look for what is slow between the internet and this server."))
    told = _("a trial delivery came back in {milliseconds} ms").format(milliseconds=round(took * 1000))
    if is_exposed(destination):
        return Step(name, "warning", told, _("Clients' messages cross the internet unencrypted: use https."))
    return Step(name, "good", told)


async def _takes_trials(http: httpx2.AsyncClient, address: str, secret: str) -> bool:
    """Whether this same Otvet listens at the address."""
    nonce = secrets.token_urlsafe(24)
    try:
        return _signed(await _post_trial(http, address, nonce)) == trial.signature(secret, nonce)
    except (httpx2.RequestError, httpx2.InvalidURL):
        return False


async def _post_trial(http: httpx2.AsyncClient, address: str, nonce: str) -> httpx2.Response:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return await http.post(address, content=trial.body(nonce), headers=form, follow_redirects=False)


def _signed(answer: httpx2.Response) -> object:
    try:
        return answer.json().get(trial.FIELD) if answer.status_code == 200 else None
    except (ValueError, AttributeError):
        return None
