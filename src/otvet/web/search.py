"""The search of the JSON API."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from otvet.screens import inbox
from otvet.users.api_tokens import Scope
from otvet.web.access import needs

search = APIRouter(tags=["api"], dependencies=[Depends(needs(Scope.READ))])


@search.get("/api/search")
async def find(
    request: Request, q: Annotated[str, Query(min_length=1)], before: Annotated[int, Query(ge=0, lt=2**63)] = 0
) -> dict[str, Any]:
    """Chats in which all words of ``q`` are, in one message; found words stand in square brackets.

    The newest such message comes first. ``before``: the ``next`` of the previous page.
    """
    service = request.app.state.service
    now = service.clock.now()
    rows, more = await service.database.read(
        lambda connection: inbox.search(connection, q, inbox.Box.ALL, now, before=before or None)
    )
    return {"chats": [_hit(row) for row in rows], "next": more}


def _hit(row: inbox.Row) -> dict[str, Any]:
    return {
        "conversation_id": row.conversation_id,
        "lead_id": row.lead_id,
        "client": row.client,
        "contact_id": row.contact_id,
        "channel": row.channel,
        "message_id": row.message_id,
        "words": "".join(f"[{text}]" if found else text for text, found in row.found) or row.words,
        "last_activity": row.last_activity.isoformat(),
    }
