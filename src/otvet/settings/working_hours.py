"""The company's working hours, in its own time zone. No I/O."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from otvet.i18n import _

_MOSCOW = "Europe/Moscow"
_DAYS = (
    ("пн", "mo", "mon", "понедельник", "monday"),
    ("вт", "tu", "tue", "вторник", "tuesday"),
    ("ср", "we", "wed", "среда", "wednesday"),
    ("чт", "th", "thu", "четверг", "thursday"),
    ("пт", "fr", "fri", "пятница", "friday"),
    ("сб", "sa", "sat", "суббота", "saturday"),
    ("вс", "su", "sun", "воскресенье", "sunday"),
)
_NUMBERS = {name: number for number, names in enumerate(_DAYS) for name in names}
_EVERY_DAY = ("ежедневно", "daily", "every day", "каждый день")
_TIMES = re.compile(r"(\d{1,2})(?::(\d{2}))?\s*-\s*(\d{1,2})(?::(\d{2}))?")
_A_DAY = 24 * 60


def zone_of(name: str) -> tzinfo:
    """The time zone of that name; ValueError with a sentence if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        if name == _MOSCOW:  # the default must work on a machine without the zones' files
            return timezone(timedelta(hours=3), _MOSCOW)
        raise ValueError(_("give a time zone such as Europe/Moscow or Asia/Yekaterinburg")) from None


@dataclass(frozen=True, slots=True)
class Hours:
    """opened: for each span the weekday from 0, and its begin and end in minutes after midnight."""

    opened: Sequence[tuple[int, int, int]]
    zone: tzinfo

    def open_at(self, now: datetime) -> bool:
        return any(begin <= now < end for begin, end in self._around(now))

    def opening(self, now: datetime) -> datetime:
        """This moment if it is in working hours, else the begin of the next ones."""
        if self.open_at(now):
            return now
        today = now.astimezone(self.zone).date()
        days = (today + timedelta(days=ahead) for ahead in range(9))
        return min(begin for day in days for begin, _end in self._on(day) if begin > now)

    def closed_since(self, now: datetime) -> datetime:
        """The end of the last working hours before this moment."""
        return max(end for _begin, end in self._around(now) if end <= now)

    def open_for(self, begin: datetime, end: datetime) -> timedelta:
        """The working time between two moments."""
        first, last = (moment.astimezone(self.zone).date() for moment in (begin, end))
        days = (first + timedelta(days=at) for at in range(-1, (last - first).days + 1))  # -1: work beyond midnight
        total, counted = timedelta(0), begin
        for opens, closes in sorted(span for day in days for span in self._on(day)):
            opens, closes = max(opens, counted), min(closes, end)  # spans may overlap
            if closes > opens:
                total += closes - opens
                counted = closes
        return total

    def _around(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        today = now.astimezone(self.zone).date()
        for back in range(-1, 9):
            yield from self._on(today - timedelta(days=back))

    def _on(self, day: date) -> Iterator[tuple[datetime, datetime]]:
        midnight = datetime.combine(day, time(), self.zone)
        for weekday, begin, end in self.opened:
            if weekday == day.weekday():
                yield _moment(midnight, begin), _moment(midnight, end)


def _moment(midnight: datetime, minutes: int) -> datetime:
    """The moment at a local time of day, right also on a day on which the clocks change."""
    return (midnight + timedelta(minutes=minutes)).astimezone(UTC)


def read(text: str, zone: tzinfo) -> Hours | None:
    """Read "пн-пт 09:00-18:00; сб 10:00-15:00"; None for an empty text, ValueError for one that cannot be read."""
    opened = [one for part in re.split(r"[;\n]", text.lower()) if part.strip() for one in _part(part)]
    return Hours(tuple(sorted(set(opened))), zone) if opened else None


def _part(text: str) -> Iterator[tuple[int, int, int]]:
    text = re.sub(r"[–—−]", "-", text.replace("ё", "е")).strip()
    found = list(_TIMES.finditer(text))
    if not found or re.sub(r"[\s,]", "", _TIMES.sub("", text[found[0].start() :])):
        raise _unreadable()
    days = _days(text[: found[0].start()])
    for match in found:
        begin, end = _minutes(match[1], match[2]), _minutes(match[3], match[4])
        if begin in (_A_DAY, end):
            raise _unreadable()
        for day in days:
            yield day, begin, end if end > begin else end + _A_DAY


def _days(text: str) -> list[int]:
    text = text.strip(" ,:")
    if not text or text in _EVERY_DAY:
        return list(range(7))
    days: list[int] = []
    for part in filter(None, re.split(r"\s*,\s*", text)):
        names = [_NUMBERS.get(name.strip(" .")) for name in part.split("-")]
        if len(names) > 2 or None in names:
            raise _unreadable()
        first, last = names[0] or 0, names[-1] or 0
        days += [(first + at) % 7 for at in range((last - first) % 7 + 1)]
    return days


def _minutes(hours: str, minutes: str | None) -> int:
    found = int(hours) * 60 + int(minutes or 0)
    if found > _A_DAY or int(minutes or 0) > 59:
        raise _unreadable()
    return found


def _unreadable() -> ValueError:
    return ValueError(_("give days and times such as mon-fri 09:00-18:00; sat 10:00-15:00"))
