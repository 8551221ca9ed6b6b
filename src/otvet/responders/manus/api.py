"""Manus v2 over HTTP: one method for each call that Otvet makes, and no decisions.

Source: https://open.manus.ai/docs/v2/introduction; the limits are at https://open.manus.ai/docs/v2/rate-limits.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
"""Our own word, for whatever of Manus's speaks of it; its own one is unverified."""

_OF_CREDITS = re.compile(r"credit|quota|billing|payment", re.IGNORECASE)
_PAYMENT_REQUIRED = 402
_TIMED_OUT = 408

_CODE_OF_STATUS = {401: UNAUTHENTICATED, 403: PERMISSION_DENIED, 404: NOT_FOUND, 429: RATE_LIMITED}
_REFUSALS = {
    UNAUTHENTICATED: N_(
        "Manus does not accept the API key; make a new one at https://manus.im/app/settings/api and set it as"
        " OTVET_MANUS_API_KEY."
    ),
    # By its documentation Manus says so of a wrong key too.
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
    """Manus did not do what it was asked.

    code: Manus's own word for it (see the constants above), or None where it gave none.
    A request that is neither ``permanent`` nor ``ambiguous`` did not take effect and may be sent again.
    Manus's message is left out on purpose: it can quote what a client wrote.
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
    """A task as task.detail tells it.

    has_running_background_jobs: True while a stopped task may still write (unverified); None if not told.
    credit_usage: credits spent on the task so far, None until there are any.
    """

    id: str
    status: str
    has_running_background_jobs: bool | None
    credit_usage: int | None
    agent_profile: str | None
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook of the account. ``active``: Manus calls it."""

    id: str
    url: str
    active: bool


class ManusApi:
    """A client of one Manus account.

    http: its time-outs hold for every call, and it may be shared with other services.
    on_request: called with the name of the method, such as "task.create", before each request.
    Every method raises ManusError.
    """

    def __init__(
        self,
        http: httpx2.AsyncClient,
        base_url: str,
        api_key: str,
        on_request: Callable[[str], None] | None = None,
    ) -> None:
        if not (api_key.isascii() and api_key.isprintable() and api_key):
            raise SettingsError(_("The Manus API key has characters that no key has; copy it anew."))
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key
        self._on_request = on_request

    @property
    def account(self) -> str:
        """A name for whose ids these are, which changes with the key and does not tell it."""
        return hashlib.sha256(f"{self._base_url}\n{self._api_key}".encode()).hexdigest()[:12]

    async def create_task(
        self, content: str, *, profile: str, locale: str, title: str, project_id: str | None = None
    ) -> str:
        """Begin a task and give its id; ``content`` may have about 5,000 of Manus's estimated tokens.

        There is no idempotency key: after an ``ambiguous`` error the task may exist, and be paid for.
        https://open.manus.ai/docs/v2/task.create
        """
        body = {
            # Without a list the account's own connectors are used, and a client's words could reach them.
            # That an empty list keeps them out is unverified, so the account should have none.
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

    async def send_message(self, task_id: str, content: str, *, profile: str | None = None) -> None:
        """Continue a task, also a stopped one; without a profile it keeps its own.

        After an ``ambiguous`` error the message may have arrived; only the task's events can tell.
        https://open.manus.ai/docs/v2/task.sendMessage
        """
        body: dict[str, Any] = {"task_id": task_id, "message": {"content": content}, "clear_connectors": True}
        if profile is not None:
            body["agent_profile"] = profile
        await self._post("task.sendMessage", body)

    async def list_messages(self, task_id: str, *, limit: int = 50) -> list[Event]:
        """The newest events of a task, newest first; ``limit`` is 1 to 200.

        A task that was just created is ``not_found`` for some seconds (unverified).
        https://open.manus.ai/docs/v2/task.listMessages
        """
        answer = await self._get("task.listMessages", task_id=task_id, limit=limit, order="desc")
        messages = answer.get("messages")
        return [parse_event(raw) for raw in messages if isinstance(raw, dict)] if isinstance(messages, list) else []

    async def task_detail(self, task_id: str) -> TaskDetail:
        """A task's state and costs. https://open.manus.ai/docs/v2/task.detail"""
        answer = await self._get("task.detail", task_id=task_id)
        task = answer["task"] if isinstance(answer.get("task"), dict) else answer
        jobs, profile = task.get("has_running_background_jobs"), task.get("agent_profile")
        return TaskDetail(
            id=str(task.get("id") or task_id),
            status=str(task.get("status") or ""),
            has_running_background_jobs=jobs if isinstance(jobs, bool) else None,
            credit_usage=_whole(task.get("credit_usage")),
            agent_profile=str(profile) if profile else None,
            raw=task,
        )

    async def stop_task(self, task_id: str) -> None:
        """Stop a task, so that it costs no more. https://open.manus.ai/docs/v2/task.stop"""
        await self._post("task.stop", {"task_id": task_id})

    async def delete_task(self, task_id: str) -> None:
        """Delete a task with all that was said in it, for good; ``not_found`` if there is none.

        Named in https://open.manus.ai/docs/v2/rate-limits; that its body is like that of task.stop is unverified.
        """
        await self._post("task.delete", {"task_id": task_id})

    async def create_project(self, name: str, instruction: str) -> str:
        """Make a project and give its id; Manus puts its instruction before every task that is created in it.

        It can be neither changed nor deleted over this API. https://open.manus.ai/docs/v2/project.create
        """
        project = (await self._post("project.create", {"name": name, "instruction": instruction})).get("project")
        id_ = project.get("id") if isinstance(project, dict) else None
        if not id_:
            raise ManusError(_("Manus made the project but did not name it."), ambiguous=True)
        return str(id_)

    async def create_webhook(self, url: str) -> Hook:
        """Have Manus call an https address; it sends a test request there before it answers.

        https://open.manus.ai/docs/v2/webhook.create
        """
        answer = await self._post("webhook.create", {"url": url})
        return _hook(answer["webhook"] if isinstance(answer.get("webhook"), dict) else {}, url)

    async def list_webhooks(self) -> list[Hook]:
        """All webhooks of the account, also those made by hand. https://open.manus.ai/docs/v2/webhook.list"""
        hooks = (await self._get("webhook.list")).get("data")
        return [_hook(hook) for hook in hooks if isinstance(hook, dict)] if isinstance(hooks, list) else []

    async def delete_webhook(self, webhook_id: str) -> None:
        """Have Manus forget a webhook. https://open.manus.ai/docs/v2/webhook.delete"""
        await self._post("webhook.delete", {"webhook_id": webhook_id})

    async def public_key(self) -> str:
        """The key that webhooks are signed with, as PEM. https://open.manus.ai/docs/v2/webhook.publicKey"""
        return str((await self._get("webhook.publicKey")).get("public_key") or "")

    async def connectors(self) -> list[str]:
        """The names of what the account is connected to. https://open.manus.ai/docs/v2/connector.list"""
        found = (await self._get("connector.list")).get("data")
        return (
            [str(one.get("name") or "?") for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        )

    async def available_credits(self) -> int | None:
        """Credits that can be spent, or None if Manus does not say; the cheapest way to try a key.

        The documented place is ``data.total_credits``; live answers were seen with it at the top.
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
        if self._on_request:
            self._on_request(method)
        try:
            response = await self._http.request(
                verb,
                f"{self._base_url}/v2/{method}",
                headers={"x-manus-api-key": self._api_key},
                auth=None,  # a second way to sign in beside the key is refused
                follow_redirects=False,  # the key goes to no other address
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
    """Whether a code or the type of an error says that there are none left."""
    return bool(_OF_CREDITS.search(word or ""))


def without_credits() -> str:
    """The sentence for an account that has none."""
    return _(_REFUSALS[OUT_OF_CREDITS])


def _read(response: httpx2.Response, ambiguous: bool) -> dict[str, Any]:
    """What the envelope holds, or the error it names; ``ambiguous`` if a fault can follow the effect."""
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
    # A page of a proxy, or an address that is not Manus's: a 404 here does not mean that a task is gone.
    text = _("Something other than Manus answered (HTTP {status}); check its address and the proxy.")
    return ManusError(
        text.format(status=status),
        code=RATE_LIMITED if status == 429 else None,
        permanent=300 <= status < 500 and status not in (_TIMED_OUT, 429),
        # A proxy that waited in vain for Manus's answer had passed the request on.
        ambiguous=ambiguous and (status < 300 or status >= 500 or status == _TIMED_OUT),
        status=status,
    )


def _refusal(code: str | None, status: int) -> str:
    if code in _REFUSALS:
        return _(_REFUSALS[code])
    return _("Manus refused the request (HTTP {status}).").format(status=status)


def _hook(raw: Mapping[str, Any], url: str = "") -> Hook:
    return Hook(str(raw.get("id") or ""), str(raw.get("url") or url), raw.get("status") != "inactive")


def _whole(value: object) -> int | None:
    try:
        return int(value)  # type: ignore[call-overload,no-any-return] # a number, or a string of digits
    except (TypeError, ValueError):
        return None
