"""Reads the answers of amoCRM's API. No I/O.

The reasons of an AmoError (a ServiceError):
    permanent: validation, not_found
    a person must act before the request can succeed: unauthorized, payment, forbidden, banned, scope, moved, no_api
        (payment and forbidden are permanent if amoCRM takes other calls)
    temporary: rate_limited, unavailable, network
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import httpx2

from otvet.errors import ServiceError
from otvet.i18n import N_, _

Reason = Literal[
    "validation",
    "unauthorized",
    "payment",
    "forbidden",
    "banned",
    "scope",
    "moved",
    "no_api",
    "not_found",
    "rate_limited",
    "unavailable",
    "network",
]
_WRITING = ("POST", "PATCH", "PUT", "DELETE")
DETAIL_LENGTH = 200  # characters of amoCRM's own explanation that a sentence may hold
ECHO_LENGTH = 8  # this many characters in common with a note count as a quotation of it
_SENTENCES: dict[Reason, str] = {
    "validation": N_(
        "amoCRM refused the request ({detail}). Repeating it will not help: do it by hand in amoCRM and show "
        "this to whoever looks after Otvet."
    ),
    "unauthorized": N_(
        "amoCRM does not accept the token for this account. Make a new long-lived token in the integration's "
        "settings, then: otvet connect"
    ),
    "payment": N_("The amoCRM subscription has ended. Renew it in amoCRM; until then nothing can be sent."),
    "forbidden": N_(
        "amoCRM does not let the token's owner do this. Give that user the rights to deals and contacts, and "
        "see whether the account's list of allowed IP addresses has this server."
    ),
    "banned": N_(
        "amoCRM has blocked this server, most likely for too many requests. Stop whatever calls amoCRM from "
        "it and ask amoCRM's support to lift the block."
    ),
    "scope": N_(
        "The token lacks a right that replies need: amoCRM opens the account to it and refuses the rest. In the "
        "integration's settings tick the access to the account's data, then make a new token, or give the consent anew "
        "with otvet connect."
    ),
    "moved": N_(
        "amoCRM sends on to another address. Open the account in a browser and put its address into "
        "OTVET_AMOCRM_BASE_URL."
    ),
    "no_api": N_(
        "What answers at OTVET_AMOCRM_BASE_URL is a page for people, such as a login page, and not amoCRM's API. Check "
        "that it is the account's own address, such as https://example.amocrm.ru, and that nothing stands between."
    ),
    "not_found": N_("amoCRM has no such deal, contact or note. It may be deleted or merged: look for it in amoCRM."),
    "rate_limited": N_(
        "amoCRM is asked too often. It passes by itself; if it stays, see which other integrations use the account."
    ),
    "unavailable": N_(
        "amoCRM is out of order (status {status}). It passes by itself; if it stays, ask amoCRM's support."
    ),
    "network": N_(
        "The connection to amoCRM failed ({detail}). If it stays, check this server's network and "
        "OTVET_AMOCRM_BASE_URL."
    ),
}
_NOT_DATA = N_(
    "What answers at OTVET_AMOCRM_BASE_URL does not speak amoCRM's language. Check that it is the account's "
    "own address, such as https://example.amocrm.ru."
)
_BEFORE_SENDING = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.LocalProtocolError,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
_SCOPE = re.compile(r"\bscopes?\b", re.IGNORECASE)
WRONG_SHAPE = (IndexError, KeyError, TypeError, ValueError)


class AmoError(ServiceError):
    """A call to amoCRM failed; ``reason`` says why, the message says what to do about it.

    The message holds neither the token nor anything a client wrote.
    Source: https://www.amocrm.ru/developers/content/crm_platform/error-codes
    """

    def __init__(
        self,
        message: str,
        *,
        reason: Reason,
        permanent: bool = False,
        ambiguous: bool = False,
        status: int | None = None,
    ) -> None:
        super().__init__(message, permanent=permanent, ambiguous=ambiguous, status=status)
        self.reason: Reason = reason


def refused(reason: Reason, status: int, *, ambiguous: bool = False) -> AmoError:
    """The error for a refusal that needs a person."""
    return AmoError(_(_SENTENCES[reason]), reason=reason, ambiguous=ambiguous, status=status)


def id_of_first(data: Mapping[str, Any] | None, name: str) -> int:
    """The id of the first entry that amoCRM made."""
    try:
        return int((data or {})["_embedded"][name][0]["id"])
    except WRONG_SHAPE:
        raise not_data("POST") from None


def read_answer(
    method: str, status: int, body: bytes, private: str = "", *, lenient: bool = False
) -> Mapping[str, Any] | None:
    """The data of an answer, or None if there is none (204); raises the AmoError that the answer stands for.

    The content type is ignored: amoCRM's gateways answer any request with HTML pages.
    private: the text of the request that an error must not repeat.
    lenient: a success without a JSON body counts as an answer without data.
    """
    if status == 204:
        return None
    data, is_page = _json_object(body), body.lstrip().startswith(b"<")
    if 200 <= status < 300:
        if is_page:
            raise refused("no_api", status, ambiguous=method in _WRITING)
        if data is None and not lenient:
            raise not_data(method, status)
        return data
    reason = _reason(status, is_page=is_page)
    detail = _detail(data or {}, private) or f"HTTP {status}"
    raise AmoError(
        _(_SENTENCES[reason]).format(status=status, detail=detail),
        reason=reason,
        permanent=reason in ("validation", "not_found"),
        ambiguous=reason == "unavailable" and method in _WRITING,
        status=status,
    )


def names_scope(body: bytes) -> bool:
    """Whether a refusal says that the token lacks a scope; amoCRM has no code for that."""
    return bool(_SCOPE.search(_detail(_json_object(body) or {}, "")))


def _reason(status: int, *, is_page: bool) -> Reason:
    match status:
        case 401:
            return "unauthorized"
        case 402:
            return "payment"
        case 403:
            return "banned" if is_page else "forbidden"
        case 404:
            return "not_found"
        case 429:
            return "rate_limited"
        case 408:
            return "unavailable"
    if 300 <= status < 400:
        return "moved"
    return "unavailable" if status >= 500 else "validation"


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _detail(problem: Mapping[str, Any], private: str) -> str:
    """amoCRM's explanation: the first validation error with its field, else the text about the whole request."""
    try:
        mistake = problem["validation-errors"][0]["errors"][0]
        place, words = str(mistake["path"]), str(mistake["detail"])
    except WRONG_SHAPE:
        place, words = "", str(problem.get("detail") or problem.get("title") or "")
    words = " ".join(words.split())[:DETAIL_LENGTH].rstrip(".")
    return ": ".join(part for part in (place, _without_echo(words, private)) if part)


def _without_echo(words: str, private: str) -> str:
    stretches = range(max(1, len(words) - ECHO_LENGTH + 1))
    return "" if any(words[start : start + ECHO_LENGTH] in private for start in stretches) else words


def not_data(method: str, status: int = 200) -> AmoError:
    """The error for an answer that does not have the documented form."""
    return AmoError(_(_NOT_DATA), reason="unavailable", ambiguous=method in _WRITING, status=status)


def embedded(data: Mapping[str, Any] | None, name: str) -> Sequence[Mapping[str, Any]]:
    """The entries of a list; empty if amoCRM answered that there are none."""
    try:
        entries = data["_embedded"][name] if data else ()
        return [entry for entry in entries if isinstance(entry, dict)]
    except WRONG_SHAPE:
        raise not_data("GET") from None


def network_error(method: str, error: httpx2.RequestError) -> AmoError:
    """The error for a call without an answer; ``ambiguous`` if amoCRM may have carried the call out."""
    sent = not isinstance(error, _BEFORE_SENDING)
    return AmoError(
        _(_SENTENCES["network"]).format(detail=type(error).__name__),
        reason="network",
        ambiguous=sent and method in _WRITING,
    )
