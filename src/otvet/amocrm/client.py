"""The calls that Otvet makes to amoCRM's REST API, version 4. ``answers`` reads their answers."""

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

import httpx2

from otvet.amocrm.answers import (
    WRONG_SHAPE,
    AmoError,
    embedded,
    id_of_first,
    names_scope,
    network_error,
    not_data,
    read_answer,
    refused,
)
from otvet.amocrm.token import FixedToken, TokenSource, lacks_deals
from otvet.i18n import N_, _

Read = Callable[[int], Awaitable[Mapping[str, Any] | None]]

TIMEOUT = httpx2.Timeout(
    connect=5, read=15, write=15, pool=2
)  # seconds; short, so that checks before a call still hold
PAGE = 50  # notes in one request of find_note
PAGES = 2

_THIS_ONLY = ("payment", "forbidden")  # amoCRM may refuse one call so and take others
_NOT_THIS = N_(
    "amoCRM takes other calls, but not this one (HTTP {status}). Give the token's owner the rights to this deal and "
    "its tasks, and see whether the account's plan includes what was asked for."
)
_RENEWED = N_("The token for amoCRM was renewed in between; the request is made again.")


class Limiter(Protocol):
    """A rate limit."""

    async def acquire(self) -> object:
        """Wait until a call may start."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """The account that the token belongs to.

    subdomain: its name in the address. user_id: the user whose rights the token has.
    """

    id: int
    name: str
    subdomain: str
    user_id: int | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook that the account has."""

    destination: str
    events: tuple[str, ...]
    disabled: bool


class AmoClient:
    """One account's API.

    http: calls ``base_url`` only and never follows a redirect, so the token stays with that host.
    base_url: the account's address without a path, such as ``https://example.amocrm.ru``.
    token: a long-lived one, or what gives the token of each call.
    limiter: None when nothing but this client could use up the limit, as in a single check.
    check_outage: raises in an outage; asked before the token is seen to, which may take a call of its
        own, and once more right before each call that waited for its place itself.

    Every method raises AmoError, or what ``check_outage`` raises.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        base_url: str,
        token: str | TokenSource,
        limiter: Limiter | None,
        check_outage: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._tokens = FixedToken(token) if isinstance(token, str) else token
        self._limiter = limiter
        self._check_outage = check_outage

    @property
    def base_url(self) -> str:
        return self._base_url

    async def account(self) -> Account:
        """The account behind the token; asked for also in an outage, to see whether it is over.

        Source: https://www.amocrm.ru/developers/content/crm_platform/account-info
        """
        data = await self._request("GET", "/api/v4/account", ignore_outage=True) or {}
        try:
            user = data.get("current_user_id")
            return Account(int(data["id"]), str(data["name"]), str(data["subdomain"]), int(user) if user else None)
        except WRONG_SHAPE:
            raise not_data("GET") from None

    async def sees_deals(self) -> None:
        """Raise if the token has no scope for deals; asked also in an outage, to see whether it is over."""
        try:
            await self._request("GET", "/api/v4/leads", query={"limit": 1}, ignore_outage=True, ask_back=True)
        except AmoError as error:
            if not error.permanent:  # that the list alone is closed says nothing
                raise

    async def user(self, user_id: int) -> Mapping[str, Any] | None:
        """A user of the account with ``rights``; amoCRM may refuse it to external integrations.

        Source: https://www.amocrm.ru/developers/content/crm_platform/users-api
        """
        return await self._get(f"/api/v4/users/{user_id:d}")

    async def hook(self, destination: str) -> Hook | None:
        """The account's webhook with exactly this address, or None. Administrators only.

        Source: https://www.amocrm.ru/developers/content/crm_platform/webhooks-api
        """
        query = {"filter[destination]": destination}
        data = await self._request("GET", "/api/v4/webhooks", query=query, private=destination)
        try:
            hooks = [_hook(one) for one in data["_embedded"]["webhooks"]] if data else []
        except WRONG_SHAPE:
            raise not_data("GET") from None
        return next((one for one in hooks if one.destination == destination), None)

    async def subscribe(self, destination: str, events: Sequence[str]) -> Hook:
        """Subscribe the address to exactly these events, in place of those before.

        Source: https://www.amocrm.ru/developers/content/crm_platform/webhooks-api
        """
        body = {"destination": destination, "settings": list(events), "sort": 10}
        data = await self._request("POST", "/api/v4/webhooks", body=body, private=destination) or {}
        try:
            return _hook(data)
        except WRONG_SHAPE:
            raise not_data("POST") from None

    async def unsubscribe(self, destination: str) -> None:
        """Delete the webhook with this address.

        Source: https://www.amocrm.ru/developers/content/crm_platform/webhooks-api
        """
        await self._request("DELETE", "/api/v4/webhooks", body={"destination": destination}, private=destination)

    async def lead(self, lead_id: int) -> Mapping[str, Any] | None:
        """A deal with the ids of its contacts under ``_embedded``; None if there is no such deal.

        Source: https://www.amocrm.ru/developers/content/crm_platform/leads-api
        """
        return await self.get(f"/api/v4/leads/{lead_id:d}", {"with": "contacts"})

    async def contact(self, contact_id: int) -> Mapping[str, Any] | None:
        """A contact with the ids of its deals under ``_embedded``; None if there is no such contact.

        Source: https://www.amocrm.ru/developers/content/crm_platform/contacts-api
        """
        return await self._get(f"/api/v4/contacts/{contact_id:d}", {"with": "leads"})

    async def talk(self, talk_id: int) -> Mapping[str, Any] | None:
        """A talk with the entity that it is about (``entity_type``, ``entity_id``, both may be null), or None.

        Source: https://www.amocrm.ru/developers/content/crm_platform/talks-api
        """
        try:
            return await self._get(f"/api/v4/talks/{talk_id:d}")
        except AmoError as error:
            if error.reason == "not_found":  # unlike deals and contacts, a talk that is not there is a 404
                return None
            raise

    async def leads(self, lead_ids: Sequence[int]) -> Sequence[Mapping[str, Any]]:
        """The deals of these ids (at most 250), as ``lead`` gives them; those that the token may not see are left out.

        Source: https://www.amocrm.ru/developers/content/crm_platform/leads-api
        """
        return await self._these("leads", lead_ids, "contacts", self.lead)

    async def contacts(self, contact_ids: Sequence[int]) -> Sequence[Mapping[str, Any]]:
        """The contacts of these ids (at most 250), as ``contact`` gives them; those the token may not see are left out.

        Source: https://www.amocrm.ru/developers/content/crm_platform/contacts-api
        """
        return await self._these("contacts", contact_ids, "leads", self.contact)

    async def _these(self, what: str, ids: Sequence[int], besides: str, one: Read) -> Sequence[Mapping[str, Any]]:
        if not ids:
            return ()
        query: dict[str, str | int] = {f"filter[id][{index}]": id_ for index, id_ in enumerate(ids)}
        data = await self._get(f"/api/v4/{what}", {**query, "with": besides, "limit": len(ids)})
        cards = embedded(data, what)
        if all(card.get("id") in ids for card in cards):
            return cards
        # A plan without API filters ignores them silently, so the list is of other cards.
        return [card for id_ in ids if (card := await _if_allowed(one, id_)) is not None]

    async def pipelines(self) -> Sequence[Mapping[str, Any]]:
        """All pipelines, each with its stages under ``_embedded``.

        Source: https://www.amocrm.ru/developers/content/crm_platform/leads_pipelines
        """
        return embedded(await self._get("/api/v4/leads/pipelines"), "pipelines")

    def with_limiter(self, limiter: Limiter | None) -> Self:
        """A copy of this client with another rate limiter."""
        other = copy.copy(self)
        other._limiter = limiter
        return other

    @asynccontextmanager
    async def slot(self, *, ignore_outage: bool = False) -> AsyncIterator["Slot"]:
        """Wait until a call may start; the block then makes one that cannot be undone.

        The wait comes first, so that the block can check right before its call whether the call is still wanted.
        ignore_outage: the block itself looks for an outage.
        """
        await self._take_slot(ignore_outage)
        yield Slot(self)

    async def find_note(self, lead_id: int, marker: str) -> int | None:
        """The id of the newest note with ``marker`` in its text, among the deal's last 100 text notes.

        marker: letters, digits and hyphens, which amoCRM gives back as they were.
        Source: https://www.amocrm.ru/developers/content/crm_platform/events-and-notes
        """
        for page in range(1, PAGES + 1):
            query: dict[str, str | int] = {
                "filter[note_type]": "common",
                "order[id]": "desc",
                "limit": PAGE,
                "page": page,
            }
            data = await self.get(f"/api/v4/leads/{lead_id:d}/notes", query)
            if data is None:
                break
            try:
                for note in data["_embedded"]["notes"]:
                    if marker in str(note["params"]):  # a mapping with the text, but an empty one is a list
                        return int(note["id"])
            except WRONG_SHAPE:
                raise not_data("GET") from None
        return None

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Mapping[str, Any] | None:
        """The data of any path; None if there is none."""
        return await self._request("GET", path, query=query, ask_back=True)

    async def _get(self, path: str, query: Mapping[str, str | int] | None = None) -> Mapping[str, Any] | None:
        """Like get(), for data that replies can do without: a refusal is not followed by a call for the account."""
        return await self._request("GET", path, query=query)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Any = None,
        private: str = "",
        has_slot: bool = False,
        ignore_outage: bool = False,
        lenient: bool = False,
        ask_back: bool = False,
    ) -> Mapping[str, Any] | None:
        if not has_slot:
            await self._take_slot_and_look(ignore_outage)
        token = await self._tokens.token()
        answer = await self._send(token, method, path, query, body)
        if answer.status_code == 401 and await self._tokens.renew(token):
            if has_slot:  # the caller has to repeat its check
                raise AmoError(_(_RENEWED), reason="unavailable")
            await self._take_slot_and_look(ignore_outage)
            answer = await self._send(await self._tokens.token(), method, path, query, body)
        try:
            return read_answer(method, answer.status_code, answer.content, private, lenient=lenient)
        except AmoError as error:
            if not ask_back or error.reason not in _THIS_ONLY:
                raise
            refusal = error
        await self.account()  # raises if the refusal holds for every call
        if names_scope(answer.content) or lacks_deals(token):
            raise refused("scope", answer.status_code) from refusal
        sentence = _(_NOT_THIS).format(status=refusal.status)
        raise AmoError(sentence, reason=refusal.reason, permanent=True, status=refusal.status) from refusal

    async def _take_slot(self, ignore_outage: bool) -> None:
        if not ignore_outage:
            await self._look_for_outage()
        await self._tokens.prepare()
        if self._limiter is not None:
            await self._limiter.acquire()

    async def _take_slot_and_look(self, ignore_outage: bool) -> None:
        await self._take_slot(ignore_outage)
        if not ignore_outage:
            await self._look_for_outage()

    async def _look_for_outage(self) -> None:
        if self._check_outage is not None:
            await self._check_outage()

    async def _send(
        self, token: str, method: str, path: str, query: Mapping[str, str | int] | None, body: Any
    ) -> httpx2.Response:
        try:
            return await self._http.request(
                method,
                self._base_url + path,
                params=query,
                json=body,
                headers={"Authorization": f"Bearer {token}"},
                timeout=TIMEOUT,
                follow_redirects=False,
            )
        except httpx2.RequestError as error:
            raise network_error(method, error) from error


class Slot:
    """The right to make one call that cannot be undone; see ``AmoClient.slot``."""

    def __init__(self, client: AmoClient) -> None:
        self._client = client
        self._used = False

    async def call(
        self, method: str, path: str, *, body: Any = None, private: str = "", lenient: bool = True
    ) -> Mapping[str, Any] | None:
        """Make the call. lenient: see answers.read_answer."""
        if self._used:
            raise RuntimeError("a slot is for one call")
        self._used = True
        return await self._client._request(
            method, path, body=body, private=private, has_slot=True, lenient=lenient, ask_back=True
        )

    async def add_note(self, lead_id: int, text: str) -> int:
        """Write a note that the sales team sees in the deal; returns its id.

        amoCRM has no idempotency key for notes: after an ambiguous error look for the note with ``find_note``.
        Source: https://www.amocrm.ru/developers/content/crm_platform/events-and-notes
        """
        note = {"note_type": "common", "params": {"text": text}}
        path = f"/api/v4/leads/{lead_id:d}/notes"
        return id_of_first(await self.call("POST", path, body=[note], private=text, lenient=False), "notes")

    async def change_note(self, lead_id: int, note_id: int, text: str) -> None:
        """Set the text of an ordinary note.

        Source: https://www.amocrm.ru/developers/content/crm_platform/events-and-notes
        """
        note = {"note_type": "common", "params": {"text": text}}
        path = f"/api/v4/leads/{lead_id}/notes/{note_id}"
        await self.call("PATCH", path, body=note, private=text, lenient=True)


async def _if_allowed(one: Read, id_: int) -> Mapping[str, Any] | None:
    """A card, or None if the token may not see it."""
    try:
        return await one(id_)
    except AmoError as error:
        if error.reason != "forbidden":
            raise
        return None


def _hook(data: Mapping[str, Any]) -> Hook:
    return Hook(str(data["destination"]), tuple(str(name) for name in data["settings"]), bool(data["disabled"]))
