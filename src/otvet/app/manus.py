"""Wires one Manus account: the responder, the rate limits that all processes share, the ids of its projects."""

import httpx2

from otvet.clock import Clock
from otvet.responders.manus.api import ManusApi
from otvet.responders.manus.polling import DETAIL, LIST_MESSAGES
from otvet.responders.manus.responder import CREATE, SEND, ManusResponder
from otvet.responders.manus.tasks import Projects
from otvet.settings.settings import Settings
from otvet.storage import keyvalue
from otvet.storage.database import Database
from otvet.storage.rate_limits import SharedLimit

CALLS_A_MINUTE = 10  # of each kind of call: https://open.manus.ai/docs/v2/rate-limits
POLL_SECONDS = 2.0  # before the first look at a task
PROJECTS_AN_HOUR = 10
"""Projects cannot be deleted over the API, so a role text that keeps changing must not fill the account."""


def api_of(settings: Settings, http: httpx2.AsyncClient) -> ManusApi | None:
    """The API of the account in the settings; None without a key. Raises SettingsError for a malformed key."""
    if settings.manus_api_key is None:
        return None
    return ManusApi(http, settings.manus_base_url, settings.manus_api_key.get_secret_value())


def responder(settings: Settings, clock: Clock, http: httpx2.AsyncClient, database: Database) -> ManusResponder | None:
    """The responder of the account in the settings; None without a key."""
    api = api_of(settings, http)
    if api is None:
        return None
    an_hour = SharedLimit(database, clock, "manus.project.create", PROJECTS_AN_HOUR, seconds=3600)
    return ManusResponder(
        api,
        clock,
        profile=settings.manus_profile,
        budget_seconds=settings.reply_budget_seconds,
        poll_seconds=POLL_SECONDS,
        limits=_limits(database, clock, CALLS_A_MINUTE),
        projects=Projects(api, clock, _ProjectIds(database), an_hour),
    )


class _ProjectIds:
    """Stores project ids in the table ``installation``; see KeyValues in responders.manus.tasks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def recall(self, name: str) -> str | None:
        return await self._database.read(lambda connection: keyvalue.recall(connection, name)) or None

    async def save(self, name: str, value: str) -> None:
        await self._database.write(lambda connection: keyvalue.note(connection, name, value))


def _limits(database: Database, clock: Clock, a_minute: int) -> dict[str, SharedLimit]:
    """Manus allows ten new tasks and ten messages a minute, and ten times as many polls of each kind.

    Polls are spread over the minute, so that no turn waits long for one.
    https://open.manus.ai/docs/v2/rate-limits
    """
    windows = {CREATE: 60, SEND: 60, LIST_MESSAGES: 6, DETAIL: 6}
    return {
        method: SharedLimit(database, clock, f"manus.{method}", a_minute, seconds)
        for method, seconds in windows.items()
    }
