from datetime import UTC, datetime, timedelta

import pytest

from otvet.amocrm.moments import moment

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize("hours", [0, 2, 3, 5.5, 12])
@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S"])
@pytest.mark.parametrize("late", [0, 10, 24 * 60])
def test_a_fresh_time_without_a_zone_is_of_the_zone_in_which_it_is_not_ahead(
    hours: float, form: str, late: int
) -> None:
    said_at = NOW - timedelta(seconds=late)

    assert moment((said_at + timedelta(hours=hours)).strftime(form), NOW) == said_at


def test_an_old_time_without_a_zone_is_utc() -> None:
    assert moment("01.01.2026 10:00", NOW) == datetime(2026, 1, 1, 10, tzinfo=UTC)


def test_a_clock_that_is_a_little_ahead_is_believed() -> None:
    assert moment("2026-01-05 09:00:40", NOW) == NOW + timedelta(seconds=40)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "soon",
        "10:00",
        "32.01.2026 10:00",
        "2026-01-05T25:00:00Z",
        "0001-01-01 00:00:00",
        "9999-12-31T23:59:59+00:00",
        "9999-12-31T23:59:59-14:00",
        "1999-12-31T23:59:59Z",
        "٠١.٠١.٢٠٢٦ ١٠:٠٠",
        "1e400",
        "-5",
        {"date": "1"},
        None,
    ],
)
def test_what_is_no_moment_of_a_message_is_none(written: object) -> None:
    assert moment(written, NOW) is None
