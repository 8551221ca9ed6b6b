"""The numbers page agrees with what happened."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy.engine import Connection

from otvet.conversations.tables import clients, conversations, messages
from otvet.screens import numbers
from otvet.storage.database import Database
from otvet.turns.handoffs import handoffs
from otvet.turns.turn import turns
from tests.browsing import add_user, visit
from tests.running import otvet, wait_for
from tests.standins.sender import incoming

ZONE = ZoneInfo("Europe/Moscow")
NOW = datetime(2026, 5, 20, 9, 30, tzinfo=UTC)  # 12:30 in Moscow


class History:
    """Questions of one chat each, asked so long before NOW."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        client = connection.execute(clients.insert().values(name="Anna")).inserted_primary_key[0]
        row = {"client_id": client, "amocrm_lead_id": 1, "last_activity": NOW}
        self.conversation = connection.execute(conversations.insert().values(**row)).inserted_primary_key[0]

    def ask(
        self, ago: timedelta, chat: str = "c-1", *, left: bool = False, origin: str = "telegram", **more: object
    ) -> None:
        at = NOW - ago
        row: dict[str, object] = {"conversation_id": self.conversation, "chat_ref": chat, "first_message_at": at}
        row |= {
            "last_message_at": at,
            "closed_at": at + timedelta(seconds=10),
            "state": "sent",
            "responder": "knowledge",
        }
        if left:
            opened = {"conversation_id": self.conversation, "chat_ref": chat, "opened_at": at, "due_at": at}
            closed = {"closed_at": at + timedelta(minutes=20), "closed_by": "manager"}
            made = self._connection.execute(handoffs.insert().values(**opened, **closed)).inserted_primary_key[0]
            row |= {"state": "handed", "left_because": "asked", "handoff_id": made}
        turn = self._connection.execute(turns.insert().values(**{**row, **more})).inserted_primary_key[0]
        about = {"raw": {"origin": origin}}
        said = {"conversation_id": self.conversation, "sender_type": "client", "content": "?", "metadata": about}
        self._connection.execute(messages.insert().values(**said, timestamp=at, turn_id=turn, chat_ref=chat))


def counted(database: Database, tell: Callable[[History], None], days: int) -> tuple[numbers.Numbers, numbers.Numbers]:
    with database.writes.begin() as connection:
        tell(History(connection))
    this, before = numbers.periods(NOW, days, ZONE)
    return database.read_now(
        lambda connection: (numbers.read(connection, *this, NOW), numbers.read(connection, *before, NOW))
    )


def test_each_question_counts_once_and_in_its_period(database: Database) -> None:
    def tell(history: History) -> None:
        history.ask(timedelta(minutes=5), closed_at=NOW - timedelta(minutes=4))  # 60 s
        history.ask(timedelta(hours=2), closed_at=NOW - timedelta(hours=2) + timedelta(seconds=4))
        history.ask(timedelta(hours=3), left=True)
        history.ask(timedelta(hours=4), responder="small_talk")
        history.ask(timedelta(hours=5), state="answering", closed_at=None)
        history.ask(timedelta(hours=6), state="cancelled", reason="manager")
        history.ask(timedelta(hours=7), chat="otvet-trial-1")
        history.ask(timedelta(hours=8), state="cancelled", reason="reworded")
        history.ask(timedelta(hours=30), left=True, approved=True, state="sent", origin="waba")  # yesterday in Moscow

    now, before = counted(database, tell, 1)
    assert (now.asked, now.answered, now.left, now.small_talk, now.open, now.others) == (6, 2, 1, 1, 1, 1)
    assert (before.asked, before.answered, before.approved, before.left) == (1, 1, 1, 0)
    assert now.left_by_reason == {"asked": 1}
    assert (now.reply_median, now.reply_p95) == (pytest.approx(4, abs=0.01), pytest.approx(60, abs=0.01))
    assert now.person_median == pytest.approx(1200, abs=0.01)
    assert now.saved_hours == pytest.approx(2 * 2 / 60)
    assert (now.channels, before.channels) == ({"telegram": 6}, {"waba": 1})
    assert [(day.isoformat(), asked) for day, asked, *_rest in now.days()] == [("2026-05-20", 6)]
    assert {hour: count for hour, count in enumerate(now.of_the_day()) if count} == {
        6: 1,
        7: 1,
        8: 1,
        9: 1,
        10: 1,
        12: 1,
    }


def test_an_answer_stays_if_the_chat_needs_no_person_for_a_week(database: Database) -> None:
    def tell(history: History) -> None:
        history.ask(timedelta(days=20), "stays")
        history.ask(timedelta(days=19), "stays")
        history.ask(timedelta(days=20), "reopened")
        history.ask(timedelta(days=15), "reopened", left=True)
        history.ask(timedelta(days=20), "much later")
        history.ask(timedelta(days=12), "much later", left=True)
        history.ask(timedelta(days=2), "too young")

    now, _before = counted(database, tell, 30)
    assert (now.stayed, now.reopened) == (3, 1)


def test_the_page_shows_what_happened(tmp_path: Path, browser: Browser) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        for number, text in enumerate(("call a manager please", "what is the meaning of life?")):
            server.deliver(incoming(text, message_id=f"m-{number}", lead_id=100 + number, chat_id=f"c-{number}"))
        wait_for(server.settled, "the questions closed")
        totals = server.get("/api/stats")
        with visit(browser, server) as olga:
            page = olga.sign_in().page
            page.goto("/numbers?days=30")
            figures = page.locator(".figure")
            expect(figures.nth(0)).to_contain_text(f"Asked{totals['questions']}".replace("Asked", ""))
            expect(figures.filter(has_text="Left to staff").locator(".figure-value")).to_have_text(
                str(sum(totals["left_to_staff"].values()))
            )
            expect(page.locator("#chart canvas")).to_have_count(1)
            with page.expect_download() as download:
                page.get_by_role("link", name="CSV").click()
            lines = Path(download.value.path()).read_text("utf-8-sig").splitlines()
            assert lines[0] == "Day;Asked;Answered;Left to staff"
            assert len(lines) == 31
            assert lines[-1].split(";")[1] == str(totals["questions"])
