"""Reads the account's Salesbots, and the type of the field that a Salesbot reads.

Kommo documents the addresses of bots; that amoCRM has them too is not verified.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient

MOST = 250  # bots on a page


@dataclass(frozen=True, slots=True)
class Bot:
    """A Salesbot. ``active``: whether it is switched on; None if amoCRM does not say."""

    id: int
    name: str
    active: bool | None


async def bot(amocrm: AmoClient, bot_id: int) -> Bot | None:
    """The bot of this id, or None. AmoError also if the account does not give its bots.

    Source: https://developers.kommo.com/reference/get-salesbot-by-id
    """
    data = await amocrm.get(f"/api/v4/bots/{bot_id:d}")
    return _bot({"id": bot_id, **data}) if data is not None else None


async def bots(amocrm: AmoClient) -> Sequence[Bot]:
    """All bots of the account. AmoError also if the account does not give its bots.

    Source: public integrations; only the single bot is documented.
    """
    data = await amocrm.get("/api/v4/bots", {"limit": MOST})
    try:
        return [_bot(one) for one in data["_embedded"]["items"]] if data else []
    except (KeyError, TypeError, ValueError):
        return []


async def field_type(amocrm: AmoClient, field_id: int) -> str | None:
    """The type of a deals' field, such as ``textarea``; None if there is no such field.

    Source: https://www.amocrm.ru/developers/content/crm_platform/custom-fields
    """
    try:
        data = await amocrm.get(f"/api/v4/leads/custom_fields/{field_id:d}")
    except AmoError as error:
        if error.reason == "not_found":
            return None
        raise
    return str(data.get("type")) if data else None


def _bot(data: Mapping[str, Any]) -> Bot:
    settings = data.get("settings")
    active = settings.get("active") if isinstance(settings, Mapping) else None
    return Bot(int(data["id"]), str(data.get("name") or data["id"]), active if isinstance(active, bool) else None)
