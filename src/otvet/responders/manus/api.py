"""Manus v2 over HTTP: one method for each call, and no decisions.

Source: https://open.manus.ai/docs/v2/introduction; the limits are at https://open.manus.ai/docs/v2/rate-limits.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx2

from otvet.errors import ServiceError, SettingsError
from otvet.i18n import N_, _
from otvet.responders.manus.events import Event, parse_event

UNAUTHENTICATED = "unauthenticated"
PERMISSION_DENIED = "permission_denied"
INVALID_ARGUMENT = "invalid_argument"
NOT_FOUND = "not_found"
RATE_LIMITED = "rate_limited"
INTERNAL = "internal"
OUT_OF_CREDITS = "out_of_credits"
"""Our own code: any code of Manus's that speaks of credits becomes this one. Manus's own code is unverified."""

_OF_CREDITS = re.compile(r"credit|quota|billing|payment", re.IGNORECASE)
_PAYMENT_REQUIRED = 402
_TIMED_OUT = 408

_CODE_OF_STATUS = {401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: NOT_FOUND, 429: RATE_LIMITED}
_REFUSALS = {
    UNAUTHENTICATED: N_(
        "Manus does not accept the API key; make a new one at https://manus.im/app/settings/api and set it as"
        " OTVET_MANUS_API_KEY."
    ),
    # By its documentation Manus gives this code for a wrong key too.
    PERMISSION_DENIED: N_(
        "Manus does not allow this to the API key, or does not know the key; make a new one at"
        " https://manus.im/app/settings/api and set it as OTVET_MANUS_API_KEY."
    ),
    NOT_FOUND: N_("Manus knows no such task."),
    INVALID_ARGUMENT: N_("Manus refused the request: the text may be too long for it, or the agent profile unknown."),
    OUT_OF_CREDITS: N_("The Manus account has no credits left; buy some, or wait for the plan's next ones."),
}

_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


class ManusError(ServiceError):
    """A call to Manus failed.

    code: Manus's error code (see the constants above), None if it gave none.
    A call that is neither ``permanent`` nor ``ambiguous`` had no effect and may be sent again.
    Manus's own message is left out on purpose: it can quote a client.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        permanent: bool = False,
        ambiguous: bool = False,
        status: int | None = None,
    ) -> None:
        super().__init__(message, permanent=permanent, ambiguous=ambiguous, status=status)
        self.code = code


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """The part of task.detail that Otvet needs.

    has_running_background_jobs: True while a stopped task may still write (unverified); None if Manus does not say.
    credit_usage: credits spent on the task so far; None if Manus does not say.
    """

    has_running_background_jobs: bool | None
    credit_usage: int | None


class ManusApi:
    """A client of one Manus account.

    http: its time-outs hold for every call; it may be shared with other services.
    Every method raises ManusError. SettingsError for a key that no HTTP header can carry.
    """

    def __init__(self, http: httpx2.AsyncClient, base_url: str, api_key: str) -> None:
        if not (api_key.isascii() and api_key.isprintable() and api_key):
            raise SettingsError(_("The Manus API key has characters that no key has; copy it anew."))
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key

    @property
    def account(self) -> str:
        """A digest that identifies the API key without revealing it."""
        return hashlib.sha256(f"{self._base_url}\n{self._api_key}".encode()).hexdigest()[:12]

    async def create_task(
        self, content: str, *, profile: str, locale: str, title: str, project_id: str | None = None
    ) -> str:
        """Create a task and return its id; ``content`` may have about 5,000 tokens, as Manus estimates them.

        There is no idempotency key: after an ``ambiguous`` error the task may exist, and cost credits.
        https://open.manus.ai/docs/v2/task.create
        """
        body = {
            # Without a list Manus uses the account's connectors, and a client's words could reach them.
            # That an empty list prevents this is unverified, so the account should have none.
            "message": {"content": content, "connectors": []},
            "agent_profile": profile,
            "locale": locale,
            "title": title,
            "interactive_mode": False,
            "hide_in_task_list": True,
            "share_visibility": "private",
        }
        if project_id is not None:
            body["project_id"] = project_id
        task_id = (await self._post("task.create", body)).get("task_id")
        if not task_id:
            raise ManusError(_("Manus accepted the task but did not name it."), ambiguous=True)
        return str(task_id)

    async def send_message(self, task_id: str, content: str) -> None:
        """Continue a task, also a stopped one.

        After an ``ambiguous`` error the message may have arrived; only the task's events can tell.
        https://open.manus.ai/docs/v2/task.sendMessage
        """
        body = {"task_id": task_id, "message": {"content": content}, "clear_connectors": True}
        await self._post("task.sendMessage", body)

    async def list_messages(self, task_id: str, *, limit: int = 50) -> list[Event]:
        """The newest events of a task, newest first; ``limit`` is 1 to 200.

        A new task is ``not_found`` for some seconds (unverified).
        https://open.manus.ai/docs/v2/task.listMessages
        """
        answer = await self._get("task.listMessages", task_id=task_id, limit=limit, order="desc")
        messages = answer.get("messages")
        return [parse_event(raw) for raw in messages if isinstance(raw, dict)] if isinstance(messages, list) else []

    async def task_detail(self, task_id: str) -> TaskDetail:
        """Whether a task still has jobs, and its cost. https://open.manus.ai/docs/v2/task.detail"""
        answer = await self._get("task.detail", task_id=task_id)
        task = answer["task"] if isinstance(answer.get("task"), dict) else answer
        jobs = task.get("has_running_background_jobs")
        return TaskDetail(jobs if isinstance(jobs, bool) else None, _whole(task.get("credit_usage")))

    async def stop_task(self, task_id: str) -> None:
        """Stop a task, so that it costs no more. https://open.manus.ai/docs/v2/task.stop"""
        await self._post("task.stop", {"task_id": task_id})

    async def delete_task(self, task_id: str) -> None:
        """Delete a task and all its messages for good; ``not_found`` if there is no such task.

        Named in https://open.manus.ai/docs/v2/rate-limits; that its body equals that of task.stop is unverified.
        """
        await self._post("task.delete", {"task_id": task_id})

    async def create_project(self, name: str, instruction: str) -> str:
        """Create a project and return its id; Manus puts its instruction before every task in it.

        A project can be neither changed nor deleted over this API. https://open.manus.ai/docs/v2/project.create
        """
        project = (await self._post("project.create", {"name": name, "instruction": instruction})).get("project")
        id_ = project.get("id") if isinstance(project, dict) else None
        if not id_:
            raise ManusError(_("Manus made the project but did not name it."), ambiguous=True)
        return str(id_)

    async def connectors(self) -> list[str]:
        """The names of the account's connectors. https://open.manus.ai/docs/v2/connector.list"""
        found = (await self._get("connector.list")).get("data")
        return (
            [str(one.get("name") or "?") for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        )

    async def available_credits(self) -> int | None:
        """Credits that can be spent, None if Manus does not say; the cheapest call that tries a key.

        Documented as ``data.total_credits``; live answers were seen with ``total_credits`` at the top level.
        https://open.manus.ai/docs/v2/usage.availableCredits
        """
        answer = await self._get("usage.availableCredits")
        data = answer.get("data")
        return _whole((data if isinstance(data, dict) else answer).get("total_credits"))

    async def _get(self, method: str, **params: str | int) -> dict[str, Any]:
        return await self._call("GET", method, params=params)

    async def _post(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("POST", method, json=body)

    async def _call(self, verb: Literal["GET", "POST"], method: str, **what: Any) -> dict[str, Any]:
        ambiguous = verb == "POST"
        try:
            response = await self._http.request(
                verb,
                f"{self._base_url}/v2/{method}",
                headers={"x-manus-api-key": self._api_key},
                auth=None,  # Manus refuses other credentials beside the key
                follow_redirects=False,  # the key must not reach another address
                **what,
            )
        except _UNSENT as error:
            raise ManusError(_("Manus cannot be reached.")) from error
        except httpx2.TimeoutException as error:
            raise ManusError(_("Manus did not answer in time."), ambiguous=ambiguous) from error
        except httpx2.RequestError as error:
            raise ManusError(_("The connection to Manus broke off."), ambiguous=ambiguous) from error
        return _read(response, ambiguous)


def is_about_credits(word: str | None) -> bool:
    """Whether an error code, or the type of a task's error, speaks of credits."""
    return bool(_OF_CREDITS.search(word or ""))


def without_credits() -> str:
    """The sentence for an account without credits."""
    return _(_REFUSALS[OUT_OF_CREDITS])


def _read(response: httpx2.Response, ambiguous: bool) -> dict[str, Any]:
    """The body of an answer; raises the error that it names. ambiguous: a call that failed may have had its effect."""
    try:
        body = response.json()
    except ValueError:  # not JSON, or not even text
        body = None
    status = response.status_code
    if not isinstance(body, dict) or not ({"ok", "error"} & body.keys()):
        raise _not_manus(status, ambiguous)
    if response.is_success and body.get("ok") is not False:
        return body
    error = body.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    code = str(code) if code else _CODE_OF_STATUS.get(status)
    if status == _PAYMENT_REQUIRED or is_about_credits(code):
        code = OUT_OF_CREDITS
    if code == RATE_LIMITED or (status == 429 and code != OUT_OF_CREDITS):
        raise ManusError(_("Manus takes no more requests this minute."), code=RATE_LIMITED, status=status)
    if code == INTERNAL or status >= 500 or status == _TIMED_OUT:
        text = _("Manus has a fault of its own (HTTP {status}).").format(status=status)
        raise ManusError(text, code=code, ambiguous=ambiguous, status=status)
    raise ManusError(_refusal(code, status), code=code, permanent=True, status=status)


def _not_manus(status: int, ambiguous: bool) -> ManusError:
    # A proxy's page, or a wrong address: a 404 here does not mean that a task is gone.
    text = _("Something other than Manus answered (HTTP {status}); check its address and the proxy.")
    return ManusError(
        text.format(status=status),
        code=RATE_LIMITED if status == 429 else None,
        permanent=300 <= status < 500 and status not in (_TIMED_OUT, 429),
        # A proxy that timed out waiting for Manus had passed the request on.
        ambiguous=ambiguous and (status < 300 or status >= 500 or status == _TIMED_OUT),
        status=status,
    )


def _refusal(code: str | None, status: int) -> str:
    if code in _REFUSALS:
        return _(_REFUSALS[code])
    return _("Manus refused the request (HTTP {status}).").format(status=status)


def _whole(value: object) -> int | None:
    try:
        return int(value)  # type: ignore[call-overload,no-any-return] # a number, or a string of digits
    except (TypeError, ValueError):
        return None
