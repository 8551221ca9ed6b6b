"""What the JSON API reads: numbers, conversations, messages, turns. And the probes: is it alive, is it ready."""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from sqlalchemy.engine import Connection, Row
from starlette.responses import JSONResponse

from otvet import __version__
from otvet.account import health
from otvet.app.service import Service
from otvet.conversations.messages import of_lead
from otvet.conversations.pauses import paused_until
from otvet.conversations.tables import FOR_GOOD, clients, conversations, messages
from otvet.errors import StorageError
from otvet.i18n import _
from otvet.intake.quarantine import quarantined
from otvet.staff import gaps, stats, worklist
from otvet.storage import keyvalue, outages
from otvet.turns import attempts
from otvet.turns import turn as turn_
from otvet.turns.reasons import reason, why_left
from otvet.turns.turn import State, Turn, turns
from otvet.users.api_tokens import Scope
from otvet.web import metrics
from otvet.web.access import ForMachines, needs

probes = APIRouter(tags=["probes"])
api = APIRouter(tags=["api"], dependencies=[Depends(needs(Scope.READ))])

PageSize = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[int, Query(ge=0)]

UNTIL_RESUMED = "until it is resumed"
READY_SECONDS = 2.0  # a slower database cannot store deliveries in time either


async def alive() -> dict[str, str]:
    """Whether the process is alive."""
    return {"status": "ok", "version": __version__}


probes.add_api_route("/health", alive, methods=["GET"], route_class_override=ForMachines)


@probes.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Whether messages can be stored and answered: a real write, and the engine and its worker."""
    service = request.app.state.service
    checks = {"database_writable": False, "workflows_running": service.works}
    details: dict[str, Any] = {}
    with suppress(StorageError, TimeoutError):
        async with asyncio.timeout(READY_SECONDS):
            moment = service.clock.now().isoformat(timespec="seconds")
            await service.database.write(lambda connection: keyvalue.note(connection, "last_ready_check", moment))
            checks["database_writable"] = True
            details["amocrm"] = await _amocrm(
                service
            )  # in an outage the service stays ready: messages are stored, replies wait
            details["settings"] = service.revision
            details["quarantined"] = await service.database.read(quarantined)
            if service.watch:
                details["amocrm_watch"] = await service.database.read(_watched)
    good = all(checks.values())
    return JSONResponse({"status": "ready" if good else "not ready", **checks, **details}, 200 if good else 503)


async def _amocrm(service: Service) -> str:
    if not service.settings.amocrm_connected:
        return "not connected"
    outage = await service.database.read(lambda connection: outages.current(connection))
    return outage.sentence if outage else "open"


def _watched(connection: Connection) -> dict[str, Any]:
    """The public part of the watch: the state of each subject, without its sentence."""
    last = health.moment(connection, health.LAST_DELIVERY)
    states: dict[str, Any] = {subject: seen.state for subject, seen in health.seen(connection).items()}
    return states | {"last_delivery_at": last.isoformat(timespec="seconds") if last else None}


@api.get("/metrics")
async def prometheus(request: Request) -> Response:
    """For Prometheus."""
    service = request.app.state.service
    now = service.clock.now()
    numbers = await service.database.read(lambda connection: stats.read(connection, now))
    moments = await service.database.read(health.for_metrics) if service.watch else {}
    return Response(metrics.render(numbers, moments), media_type="text/plain; version=0.0.4; charset=utf-8")


@api.get("/api/stats")
async def numbers(request: Request) -> dict[str, Any]:
    """Totals since the database was made, and this process's uptime in seconds."""
    service = request.app.state.service
    now = service.clock.now()
    read = await service.database.read(lambda connection: stats.read(connection, now))
    return {**read, "uptime_seconds": stats.uptime_seconds()}


@api.get("/api/conversations")
async def list_conversations(request: Request, limit: PageSize = 50, before: str | None = None) -> dict[str, Any]:
    """Conversations, the latest activity first. ``before``: the ``next`` of the previous page."""
    now = request.app.state.service.clock.now()

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
        pauses = paused_until(connection, [row.id for row in page])
        return {"conversations": [_conversation(row, pauses.get(row.id), now) for row in page], "next": more}

    result: dict[str, Any] = await request.app.state.service.database.read(read)
    return result


@api.get("/api/conversations/{lead_id}/messages")
async def list_messages(request: Request, lead_id: int, limit: PageSize = 50, before: Cursor = 0) -> dict[str, Any]:
    """A deal's messages, the newest page first, a page in order of time. ``before``: the previous page's ``next``."""

    def read(connection: Connection) -> dict[str, Any] | None:
        if not connection.scalar(sa.select(sa.exists().where(conversations.c.amocrm_lead_id == lead_id))):
            return None
        query = sa.select(messages, *turn_.DELIVERY).outerjoin(turns, turns.c.id == messages.c.turn_id)
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


@api.get("/api/turns")
async def list_turns(
    request: Request, state: str | None = None, limit: PageSize = 50, before: Cursor = 0
) -> dict[str, Any]:
    """Turns, the newest first. ``state``: only turns in this state; ``person``: only turns that need a person."""
    if state == "person":
        return await _worklist(request, limit, before)
    states = (state,) if state else tuple(State)
    if not set(states) <= set(State):
        raise HTTPException(422, _("the states are: {states}").format(states=", ".join((*State, "person"))))
    rows = await request.app.state.service.database.read(
        lambda connection: turn_.listed(connection, states, limit + 1, before)
    )
    page = rows[:limit]
    return {"turns": [_turn(row) for row in page], "next": page[-1].id if len(rows) > limit else None}


async def _worklist(request: Request, limit: int, before: int) -> dict[str, Any]:
    service = request.app.state.service
    now = service.clock.now()
    rows = await service.database.read(lambda connection: worklist.listed(connection, now, limit + 1, before))
    page = rows[:limit]
    entries = [
        {
            **_turn(one.turn),
            "why": one.why,
            "since": one.since.isoformat(),
            "task_id": one.handoff and one.handoff.task_id,
        }
        for one in page
    ]
    return {"turns": entries, "next": page[-1].turn.id if len(rows) > limit else None}


@api.get("/api/turns/{turn_id}")
async def turn(request: Request, turn_id: int) -> dict[str, Any]:
    """One turn: the details of its reply, and all attempts at it, with refused drafts and why they were refused."""

    def look(connection: Connection) -> dict[str, Any] | None:
        row = turn_.get(connection, turn_id)
        tries = [_try(attempt) for attempt in attempts.of_turn(connection, turn_id)]
        return None if row is None else _turn(row) | {"details": row.details, "tries": tries}

    found: dict[str, Any] | None = await request.app.state.service.database.read(look)
    if found is None:
        raise HTTPException(404, _("there is no question {turn}").format(turn=turn_id))
    return found


@api.get("/api/gaps")
async def knowledge_gaps(
    request: Request, days: int = Query(30, ge=1, le=3650), limit: int = Query(100, ge=1, le=1000)
) -> dict[str, Any]:
    """Questions of the last ``days`` that the knowledge folder does not answer, the most frequent first."""
    service = request.app.state.service
    since = service.clock.now() - timedelta(days=days)
    found = await service.database.read(lambda connection: gaps.listed(connection, since, limit))
    return {"gaps": [_gap(one) for one in found]}


def pause_shown(until: datetime | None, now: datetime) -> dict[str, Any]:
    """paused_until: a moment, UNTIL_RESUMED, or None without a pause."""
    paused = until is not None and until > now
    shown = None if until is None or not paused else UNTIL_RESUMED if until == FOR_GOOD else until.isoformat()
    return {"paused": paused, "paused_until": shown}


def _turn(row: Turn) -> dict[str, Any]:
    return {
        "id": row.id,
        "lead_id": row.lead_id,
        "state": row.state,
        "why": why_left(row.state, row.reason, row.summary, row.left_because) if row.handoff_id else reason(row.reason),
        "reason": row.reason,
        "left_because": row.left_because,
        "summary": row.summary,
        "reply": row.reply,
        "responder": row.responder,
        "way": row.way or "note",
        "note_id": row.note_id,
        "opened_at": row.first_message_at.isoformat(),
        "closed_at": row.closed_at.isoformat() if row.closed_at else None,
    }


def _try(row: Row[Any]) -> dict[str, Any]:
    return {
        "responder": row.responder,
        "draft": row.draft if row.draft < attempts.SUMMARY else None,
        "for": "reply" if row.draft < attempts.SUMMARY else "summary",
        "outcome": row.outcome,
        "refused": row.refused,
        "findings": [{"kind": kind, "text": text} for kind, text in row.findings or ()],
        "started_at": row.started_at.isoformat(),
        "ended_at": row.ended_at.isoformat() if row.ended_at else None,
    }


def _gap(gap: gaps.Gap) -> dict[str, Any]:
    return {
        "question": gap.question,
        "count": gap.count,
        "last_asked_at": gap.last_asked_at.isoformat(),
        "lead_ids": gap.leads,
    }


def _cursor(text: str) -> tuple[datetime, int]:
    moment, _separator, id_ = text.replace(" ", "+").partition("~")
    try:
        return datetime.fromisoformat(moment), int(id_)
    except ValueError as error:
        raise HTTPException(422, _("there is no such page")) from error


def _conversation(row: Row[Any], pause: tuple[datetime, str] | None, now: datetime) -> dict[str, Any]:
    until, by = pause or (None, None)
    return {
        "id": row.id,
        "lead_id": row.amocrm_lead_id,
        "status": row.status,
        "last_activity": row.last_activity.isoformat(),
        **pause_shown(until, now),
        "paused_by": by,
        "mode": row.mode,
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
        "metadata": row.metadata | ({"delivery": delivery} if (delivery := turn_.delivery_of(row)) else {}),
    }
