"""Working hours: what can be written, and when somebody is there."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from otvet.settings.working_hours import Hours, read, zone_of
from tests.tables import every

MOSCOW = zone_of("Europe/Moscow")
BERLIN = zone_of("Europe/Berlin")


def hours(text: str, zone: object = MOSCOW) -> Hours:
    found = read(text, zone)  # type: ignore[arg-type]
    assert found is not None
    return found


def moscow(day: int, hour: int, minute: int = 0) -> datetime:
    """January 2026, in which the 5th is a Monday."""
    return datetime(2026, 1, day, hour, minute, tzinfo=MOSCOW)


@every("hours", "the same hours in many words", "text")
def test_the_same_hours_in_many_words(text: str) -> None:
    week = hours(text)
    for moment, is_open in {
        moscow(5, 8, 59): False,
        moscow(5, 9): True,
        moscow(9, 17, 59): True,
        moscow(9, 18): False,
        moscow(10, 9, 59): False,
        moscow(10, 14, 59): True,
        moscow(11, 12): False,
    }.items():
        assert week.open_at(moment) == is_open, moment


@every("hours", "what cannot be understood is refused", "text")
def test_what_cannot_be_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give days"):
        read(text, UTC)


def test_nothing_written_is_always() -> None:
    assert read("", UTC) is None
    assert read(" ; ", UTC) is None


def test_days_may_go_round_the_week_and_hours_round_midnight() -> None:
    week = hours("сб-пн 22:00-02:00")
    assert week.open_at(moscow(10, 23))
    assert week.open_at(moscow(11, 1, 59))
    assert week.open_at(moscow(6, 1))  # of Monday
    assert not week.open_at(moscow(7, 1))
    assert not week.open_at(moscow(10, 1))
    assert hours("daily 00:00-24:00").open_at(moscow(6, 0))


def test_the_night_begins_when_work_last_ended() -> None:
    week = hours("пн-пт 09:00-18:00")
    assert week.closed_since(moscow(6, 3)) == moscow(5, 18)
    assert week.closed_since(moscow(11, 23)) == moscow(9, 18)
    assert week.closed_since(moscow(12, 8)) == moscow(9, 18)
    assert hours("пн 9-10").closed_since(moscow(19, 8)) == moscow(12, 10)


def test_hours_are_by_the_clock_on_the_wall_when_it_is_changed() -> None:
    week = hours("daily 09:00-18:00", BERLIN)
    summer, winter = datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 12, 1, 8, tzinfo=UTC)
    for nine in (summer, winter):
        assert week.open_at(nine)
        assert not week.open_at(nine - timedelta(seconds=1))


def test_a_zone_that_is_none_is_refused_and_the_default_needs_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Europe/Nowhere", "../etc/passwd", ""):
        with pytest.raises(ValueError, match="time zone"):
            zone_of(name)

    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("otvet.settings.working_hours.ZoneInfo", missing)
    assert zone_of("Europe/Moscow") == timezone(timedelta(hours=3), "Europe/Moscow")


def test_when_somebody_is_there_again() -> None:
    week = hours("пн-пт 09:00-13:00, 14:00-18:00")
    assert week.opening(moscow(5, 12)) == moscow(5, 12)
    assert week.opening(moscow(5, 13)) == moscow(5, 14)
    assert week.opening(moscow(5, 8, 59)) == moscow(5, 9)
    assert week.opening(moscow(5, 18)) == moscow(6, 9)
    assert week.opening(moscow(9, 18)) == moscow(12, 9)
    assert hours("пн 9-18").opening(moscow(5, 18)) == moscow(12, 9)
    assert hours("сб-пн 22:00-02:00").opening(moscow(6, 1)) == moscow(6, 1)
    assert hours("сб-пн 22:00-02:00").opening(moscow(6, 2)) == moscow(10, 22)


@pytest.mark.parametrize(
    ("begin", "end", "open_hours"),
    [
        (moscow(9, 18), moscow(11, 23), 5),  # Friday evening to Sunday night: Saturday's five
        (moscow(9, 17), moscow(12, 10), 1 + 5 + 1),
        (moscow(5, 12), moscow(5, 12), 0),
        (moscow(5, 8), moscow(5, 8, 30), 0),
        (moscow(5, 12), moscow(5, 13, 30), 1.5),
        (moscow(5, 0), moscow(12, 0), 5 * 9 + 5),
        (moscow(5, 13), moscow(5, 12), 0),  # the clock was set back
    ],
)
def test_how_much_of_a_time_was_working_time(begin: datetime, end: datetime, open_hours: float) -> None:
    week = hours("mon-fri 09:00-18:00; sat 10:00-15:00")
    assert week.open_for(begin, end) == timedelta(hours=open_hours)


def test_hours_that_are_given_twice_count_once() -> None:
    assert hours("mon 9-18; mon 10-12, 17-20").open_for(moscow(5, 0), moscow(6, 0)) == timedelta(hours=11)


def test_work_beyond_midnight_counts_on_both_sides() -> None:
    week = hours("mon 22:00-06:00")
    assert week.open_for(moscow(5, 0), moscow(7, 0)) == timedelta(hours=8)
    assert week.open_for(moscow(6, 1), moscow(6, 3)) == timedelta(hours=2)


def test_the_day_on_which_the_clock_is_changed_is_as_long_as_it_is() -> None:
    every_day = hours("0:00-24:00", BERLIN)
    spring = datetime(2026, 3, 29, tzinfo=BERLIN)
    assert every_day.open_for(spring, datetime(2026, 3, 30, tzinfo=BERLIN)) == timedelta(hours=23)
