"""Numbers of a day, a week, a month, a quarter, against the time before."""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection
from starlette.responses import Response

from otvet.i18n import _
from otvet.screens import numbers
from otvet.screens.numbers import Numbers
from otvet.settings import working_hours
from otvet.staff import stats
from otvet.storage.spending import UNITS
from otvet.turns.reasons import reason
from otvet.web.pages.rendering import HEADERS, page
from otvet.web.pages.signed import Viewer, service_of

router = APIRouter()

DAYS = (1, 7, 30, 90)
FIRST = 7
WORTH_KEEPING = 0.2
"""Numbers that took longer than this, in seconds, are kept for KEPT_TIMES as long, so that a big database is not read
anew at each look; in a small one they are always of this moment."""

KEPT_TIMES = 60


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows. until: by the monotonic clock, how long it may be shown again."""

    now: Numbers
    before: Numbers
    totals: dict[str, Any]
    until: float


def days_of(request: Request) -> int:
    given = request.query_params.get("days", "")
    return int(given) if given in map(str, DAYS) else FIRST


async def read(request: Request, days: int) -> Shown:
    service = service_of(request)
    kept: dict[int, Shown] = request.app.state.__dict__.setdefault("numbers", {})
    started = service.clock.monotonic()
    if (found := kept.get(days)) is not None and found.until > started:
        return found
    now = service.clock.now()
    zone = working_hours.zone_of(service.settings.timezone)
    this, before = numbers.periods(now, days, zone)

    def look(connection: Connection) -> tuple[Numbers, Numbers, dict[str, Any]]:
        return (
            numbers.read(connection, *this, now),
            numbers.read(connection, *before, now),
            stats.read(connection, now),
        )

    read_now, read_before, totals = await service.database.read(look)
    took = service.clock.monotonic() - started
    until = started + took * (KEPT_TIMES if took > WORTH_KEEPING else 1)
    shown = kept[days] = Shown(read_now, read_before, totals, until)
    return shown


@router.get("/numbers")
async def show(request: Request, who: Viewer) -> Response:
    days = days_of(request)
    shown = await read(request, days)
    now = shown.now
    by_day = list(now.days())
    series = {
        "days": [int(_midnight(day, now).timestamp()) for day, *_rest in by_day],
        "answered": [answered for _day, _asked, answered, _left in by_day],
        "left": [left for _day, _asked, _answered, left in by_day],
    }
    return page(
        request,
        "numbers.html",
        who=who,
        days=days,
        periods=DAYS,
        now=now,
        before=shown.before,
        totals=shown.totals,
        by_day=by_day,
        series=json.dumps(series),
        reasons=[(reason(code) or code, count) for code, count in now.left_by_reason.items()],
        units=UNITS,
        minutes=numbers.MINUTES_A_REPLY,
        uptime=stats.uptime_seconds(),
    )


def _midnight(day: Any, now: Numbers) -> Any:
    return now.since.replace(year=day.year, month=day.month, day=day.day)


@router.get("/numbers.csv")
async def table(request: Request, who: Viewer) -> Response:
    """Day by day, for a spreadsheet: UTF-8 with a mark, and semicolons, as a Russian Excel reads them."""
    days = days_of(request)
    shown = await read(request, days)
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=";", lineterminator="\r\n")
    writer.writerow([_("Day"), _("Asked"), _("Answered"), _("Left to staff")])
    writer.writerows([day.isoformat(), asked, answered, left] for day, asked, answered, left in shown.now.days())
    name = f'attachment; filename="otvet-{days}-days.csv"'
    content = "\ufeff" + buffer.getvalue()
    return Response(content, media_type="text/csv; charset=utf-8", headers={**HEADERS, "Content-Disposition": name})
