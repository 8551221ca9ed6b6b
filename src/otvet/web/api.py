"""The JSON API: numbers, conversations, messages; and whether the service is alive and ready."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from sqlalchemy.engine import Connection, Row
from starlette.responses import JSONResponse

from otvet import __version__, gates, installation, stats, turns, view
from otvet.conversations import FOR_GOOD, clients, conversations, messages, of_lead, set_pause
from otvet.errors import StorageError
from otvet.i18n import _
from otvet.web import metrics
from otvet.web.access import require_access

probes = APIRouter(tags=["probes"])
api = APIRouter(tags=["api"], dependencies=[Depends(require_access)])

PageSize = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[int, Query(ge=0)]


@probes.get("/health")
async def health() -> dict[str, str]:
    """Whether the process is alive."""
    return {"status": "ok", "version": __version__}


@probes.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Whether messages can be stored and answered: a real write, and the engine and its dispatcher at work."""
    service = request.app.state.service
    checks: dict[str, bool] = {}
    try:
        moment = service.clock.now().isoformat(timespec="seconds")
        await service.database.write(lambda connection: installation.note(connection, "last_ready_check", moment))
        checks["database_writable"] = True
    except StorageError:
        checks["database_writable"] = False
    checks["workflows_running"] = service.engine.running and service.dispatcher.running
    good = all(checks.values())
    details: dict[str, Any] = {}
    if checks["database_writable"]:
        gate = await service.database.read(lambda connection: gates.closed(connection, gates.AMOCRM))
        details["amocrm"] = gate.sentence if gate else "open"  # stays ready: messages are stored, replies wait
    return JSONResponse({"status": "ready" if good else "not ready", **checks, **details}, 200 if good else 503)


@api.get("/metrics")
async def prometheus(request: Request) -> Response:
    """For Prometheus."""
    numbers = await request.app.state.service.database.read(stats.read)
    return Response(metrics.render(numbers), media_type="text/plain; version=0.0.4; charset=utf-8")


@api.get("/api/stats")
async def numbers(request: Request) -> dict[str, Any]:
    """Totals since the database was made, and this process's uptime in seconds."""
    read = await request.app.state.service.database.read(stats.read)
    return {**read, "uptime_seconds": stats.uptime_seconds()}


@api.get("/api/conversations")
async def list_conversations(request: Request, limit: PageSize = 50, before: str | None = None) -> dict[str, Any]:
    """Conversations, the latest activity first. ``before``: the ``next`` of the page before."""

    def read(connection: Connection) -> dict[str, Any]:
        query = (
            sa.select(
                conversations,
                clients.c.name,
                clients.c.amocrm_contact_id,
                sa.select(sa.func.count())
                .where(messages.c.conversation_id == conversations.c.id)
                .scalar_subquery()
                .label("messages"),
            )
            .join(clients)
            .order_by(conversations.c.last_activity.desc(), conversations.c.id.desc())
            .limit(limit + 1)
        )
        if before:
            query = query.where(
                sa.tuple_(conversations.c.last_activity, conversations.c.id) < sa.tuple_(*_cursor(before))
            )
        rows = connection.execute(query).all()
        page = rows[:limit]
        more = f"{page[-1].last_activity.isoformat()}~{page[-1].id}" if len(rows) > limit else None
        return {"conversations": [_conversation(row) for row in page], "next": more}

    result: dict[str, Any] = await request.app.state.service.database.read(read)
    return result


@api.get("/api/conversations/{lead_id}/messages")
async def list_messages(request: Request, lead_id: int, limit: PageSize = 50, before: Cursor = 0) -> dict[str, Any]:
    """A deal's messages, the newest page first, each in the order they were said. ``before``: the last ``next``."""

    def read(connection: Connection) -> dict[str, Any] | None:
        if not connection.scalar(sa.select(sa.exists().where(conversations.c.amocrm_lead_id == lead_id))):
            return None
        query = sa.select(messages, turns.turns.c.state.label("turn_state")).outerjoin(turns.turns)
        query = query.where(of_lead(lead_id))
        if before:
            edge = sa.select(messages.c.timestamp, messages.c.id).where(messages.c.id == before)
            at = connection.execute(edge).one_or_none()
            if at is None:
                raise HTTPException(422, _("there is no such page"))
            query = query.where(sa.tuple_(messages.c.timestamp, messages.c.id) < sa.tuple_(*at))
        query = query.order_by(messages.c.timestamp.desc(), messages.c.id.desc()).limit(limit + 1)
        rows = connection.execute(query).all()
        page = rows[:limit]
        return {
            "lead_id": lead_id,
            "messages": [_message(row) for row in reversed(page)],
            "next": page[-1].id if len(rows) > limit else None,
        }

    result: dict[str, Any] | None = await request.app.state.service.database.read(read)
    if result is None:
        raise HTTPException(404, _("no conversation of the deal {lead} is known").format(lead=lead_id))
    return result


@api.post("/api/conversations/{lead_id}/pause")
async def pause(request: Request, lead_id: int, minutes: Annotated[float | None, Query(gt=0)] = None) -> dict[str, Any]:
    """Leave a deal to people: for ``minutes``, or until it is resumed."""
    service = request.app.state.service
    until = service.clock.now() + timedelta(minutes=minutes) if minutes else FOR_GOOD
    if not await service.database.write(lambda connection: set_pause(connection, lead_id, until)):
        raise HTTPException(404, _("no conversation of the deal {lead} is known").format(lead=lead_id))
    return {"lead_id": lead_id, "paused_until": None if until == FOR_GOOD else until.isoformat(), "paused": True}


@api.post("/api/conversations/{lead_id}/resume")
async def resume(request: Request, lead_id: int) -> dict[str, Any]:
    """Let the assistant answer in a deal again."""
    if not await request.app.state.service.database.write(lambda connection: set_pause(connection, lead_id, None)):
        raise HTTPException(404, _("no conversation of the deal {lead} is known").format(lead=lead_id))
    return {"lead_id": lead_id, "paused": False}


@api.get("/api/turns")
async def list_turns(
    request: Request, state: str | None = None, limit: PageSize = 50, before: Cursor = 0
) -> dict[str, Any]:
    """Turns, the newest first. ``state``: one of them, or ``person`` for all that a person has to see to."""
    states = turns.NEEDS_A_PERSON if state == "person" else (state,) if state else turns.STATES
    if not set(states) <= set(turns.STATES):
        raise HTTPException(422, _("the states are: {states}").format(states=", ".join((*turns.STATES, "person"))))
    rows = await request.app.state.service.database.read(
        lambda connection: turns.listed(connection, states, limit + 1, before)
    )
    page = rows[:limit]
    return {"turns": [_turn(row) for row in page], "next": page[-1].id if len(rows) > limit else None}


@api.post("/api/turns/{turn_id}/retry")
async def retry(request: Request, turn_id: int) -> dict[str, Any]:
    """Answer a turn that ended without a reply; one that may have been sent is looked for in amoCRM first."""
    service = request.app.state.service
    now = service.clock.now()
    if not await service.database.write(lambda connection: turns.retry(connection, turn_id, now)):
        raise HTTPException(409, _("the turn {turn} is not one that can be tried again").format(turn=turn_id))
    service.dispatcher.put([turn_id])
    return {"turn_id": turn_id, "state": "under way"}


def _turn(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "lead_id": row.amocrm_lead_id,
        "state": row.state,
        "why": view.reason(row.reason),
        "reason": row.reason,
        "summary": row.summary,
        "reply": row.reply,
        "responder": row.responder,
        "note_id": row.note_id,
        "opened_at": row.first_message_at.isoformat(),
        "closed_at": row.closed_at.isoformat() if row.closed_at else None,
    }


def _cursor(text: str) -> tuple[datetime, int]:
    moment, _separator, id_ = text.replace(" ", "+").partition("~")
    try:
        return datetime.fromisoformat(moment), int(id_)
    except ValueError as error:
        raise HTTPException(422, _("there is no such page")) from error


def _conversation(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "lead_id": row.amocrm_lead_id,
        "status": row.status,
        "last_activity": row.last_activity.isoformat(),
        "paused_until": row.paused_until.isoformat() if row.paused_until else None,
        "paused_by": row.paused_by,
        "messages": row.messages,
        "client": {"id": row.client_id, "name": row.name, "contact_id": row.amocrm_contact_id},
    }


def _message(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "conversation_id": row.conversation_id,
        "sender_type": row.sender_type,
        "content": row.content,
        "message_type": row.message_type,
        "timestamp": row.timestamp.isoformat(),
        "amocrm_message_id": row.amocrm_message_id,
        "turn": {"id": row.turn_id, "state": row.turn_state} if row.turn_id else None,
        "metadata": row.metadata,
    }
