"""``otvet replay`` and ``otvet gaps`` over a database with a history: what they print, and that they leave no trace."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from otvet.answering.answering import Answering
from otvet.responders.knowledge.responder import Knowledge, KnowledgeResponder
from otvet.responders.template import TemplateResponder
from otvet.storage.database import Database
from tests.clocks import FakeClock
from tests.databases import put_prepared
from tests.running import command
from tests.standins.openai import OpenAiStandin, openai_standin
from tests.test_answer import LEAD, Stage

PHONE = "+7 912 345-67-89"
DELIVERY = "# Сколько стоит доставка\n\nДоставка по городу стоит {price} рублей.\n"
ENGRAVING = "Делаете гравировку на кольцах и браслетах?"
COMPANY = "Pacific/Kiritimati"
FORGOTTEN_BY_DESIGN = {"rate_places", "installation"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory in which three deals were answered from the knowledge folder, a day ago."""
    (tmp_path / "knowledge").mkdir()
    price(tmp_path, 300)
    history(
        tmp_path,
        (LEAD, "Сколько стоит доставка?"),
        (LEAD + 1, f"{ENGRAVING} Мой номер {PHONE}"),
        (LEAD, "Позовите менеджера"),
        (LEAD + 2, "Сколько стоит доставка?"),
    )
    return tmp_path


def price(folder: Path, price: int) -> None:
    (folder / "knowledge" / "delivery.md").write_text(DELIVERY.format(price=price), encoding="utf-8")


def history(folder: Path, *asked: tuple[int, str]) -> None:
    database = Database(put_prepared(folder))
    stage = Stage(database)
    stage.clock = FakeClock(datetime.now(UTC))
    stage.clock.jump(-86400)
    stage.knowledge = Knowledge(folder / "knowledge", stage.clock)
    stage.responders = (KnowledgeResponder(stage.knowledge), TemplateResponder())

    async def play(answering: Answering) -> None:
        for lead, text in asked:
            (turn,) = stage.client_writes(text, lead_id=lead)
            await answering.answer(turn)
            stage.clock.advance(60)

    stage.run(play)
    database.close()


@pytest.fixture
def openai() -> Iterator[OpenAiStandin]:
    with openai_standin() as standin:
        yield standin


def model(standin: OpenAiStandin) -> dict[str, str]:
    return {"OTVET_OPENAI_BASE_URL": f"{standin.url}/v1", "OTVET_OPENAI_MODEL": "m", "OTVET_RESPONDERS": "openai"}


def rows(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that is in the database, by table."""
    with closing(sqlite3.connect(folder / "conversations.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}


def fits(shown: str) -> bool:
    return max(map(len, shown.splitlines())) <= 80


@pytest.mark.quick
def test_replies_are_shown_beside_those_of_today_with_what_changed(folder: Path) -> None:
    price(folder, 350)
    shown = command(folder, "replay")
    assert shown.returncode == 0
    assert fits(shown.stdout)
    asked = [line for line in shown.stdout.splitlines() if "?" in line or "Позовите" in line]
    assert len(asked) == 4
    assert "Доставка по городу стоит 300" in shown.stdout
    assert "Доставка по городу стоит 350" in shown.stdout
    assert "then (the knowledge folder)" in " ".join(shown.stdout.split())
    assert "2 the same, 2 changed, 0 refused by the checks; nothing was sent" in shown.stdout


@pytest.mark.quick
def test_the_words_that_changed_have_colours(folder: Path) -> None:
    price(folder, 350)
    shown = command(folder, "replay", "--last", "1", FORCE_COLOR="1", NO_COLOR="").stdout
    assert "\x1b[31m300\x1b[0m" in shown
    assert "\x1b[32m350\x1b[0m" in shown
    assert "\x1b[31mДоставка" not in shown


def test_nothing_is_written(folder: Path, openai: OpenAiStandin) -> None:
    before = rows(folder)
    openai.say("Доставка стоит 777 ₽.")
    assert command(folder, "replay", "--yes", **model(openai)).returncode == 0
    after = rows(folder)
    assert openai.requests
    assert {name for name in before if before[name] != after[name]} <= FORGOTTEN_BY_DESIGN
    assert before["turns"]


def test_one_deal_or_the_newest(folder: Path) -> None:
    one = command(folder, "replay", "--lead", str(LEAD + 1)).stdout
    assert f"Deal {LEAD + 1}," in one
    assert f"Deal {LEAD}," not in one
    newest = command(folder, "replay", "--last", "2").stdout
    assert f"Deal {LEAD + 2}," in newest
    assert "Позовите" in newest
    assert "гравировку" not in newest
    none = command(folder, "replay", "--lead", "404")
    assert (none.returncode, none.stderr.strip()) == (1, "no conversation of the deal 404 is known")
    with closing(sqlite3.connect(folder / "conversations.db")) as connection, connection:
        connection.execute("UPDATE turns SET reply = NULL")
    none = command(folder, "replay", "--lead", str(LEAD))
    assert (none.returncode, none.stderr.strip()) == (1, f"in the deal {LEAD} nothing was answered yet")
    none = command(folder, "replay")
    assert (none.returncode, none.stderr.strip()) == (1, "nothing was answered yet; try: otvet simulate")


def test_what_costs_money_is_asked_about_first(folder: Path, openai: OpenAiStandin) -> None:
    no = command(folder, "replay", typed="n\n", **model(openai))
    assert "4 questions will be put to the AI model, which may cost money. Go on?" in no.stdout
    assert (no.returncode, openai.requests) == (0, [])
    nobody = command(folder, "replay", **model(openai))
    assert (nobody.returncode, openai.requests) == (1, [])
    assert nobody.stderr.strip() == "nobody is there to agree; give --yes if it may cost money"
    assert "nothing was sent" in command(folder, "replay", typed="д\n", **model(openai)).stdout
    assert len(openai.requests) == 3  # a client who wants a person is not put to it
    assert "Go on?" not in command(folder, "replay", "--yes", **model(openai)).stdout


def test_a_model_is_told_no_personal_data(folder: Path, openai: OpenAiStandin) -> None:
    command(folder, "replay", "--yes", "--lead", str(LEAD + 1), **model(openai))
    told = json.dumps(openai.body, ensure_ascii=False)
    assert ENGRAVING in told
    assert "345" not in told
    assert "[PHONE_" in told


def test_a_model_is_told_what_was_known_then(folder: Path, openai: OpenAiStandin) -> None:
    command(folder, "replay", "--yes", "--lead", str(LEAD), **model(openai))
    told = json.dumps(openai.body, ensure_ascii=False)
    assert "Сколько стоит доставка?" in told
    assert "Позовите" not in told
    assert "по городу стоит 300" in told  # the passage, and not as what was replied
    assert not any(message["role"] == "assistant" for message in openai.body["messages"])


def test_what_the_checks_refused_is_named(folder: Path, openai: OpenAiStandin) -> None:
    for _ in range(2):
        openai.say("Доставка стоит 777 ₽.")
    shown = command(folder, "replay", "--yes", "--last", "1", **model(openai)).stdout
    assert "A draft was refused: 777 ₽" in shown
    assert "0 the same, 0 changed, 1 refused" in shown
    assert fits(shown)


@pytest.mark.quick
def test_a_clients_words_are_never_markup(tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    history(tmp_path, (LEAD, "[bold]Сколько[/] \x1b[31mстоит\u202e?"))
    for arguments in (("replay",), ("gaps",)):
        shown = command(tmp_path, *arguments)
        assert shown.returncode == 0
        assert "\x1b" not in shown.stdout
        assert "\u202e" not in shown.stdout
    assert "[bold]Сколько[/] \ufffd[31mстоит\ufffd?" in command(tmp_path, "replay").stdout


@pytest.mark.quick
@pytest.mark.parametrize("arguments", ["view", "turns --state kept", "gaps", "replay"])
def test_times_are_the_companys_wherever_the_machine_is(folder: Path, arguments: str) -> None:
    settings = {"OTVET_TIMEZONE": COMPANY, "TZ": "Pacific/Pago_Pago"}  # 25 hours apart
    shown = command(folder, *arguments.split(), **settings).stdout
    with closing(sqlite3.connect(folder / "conversations.db")) as connection:
        kept = connection.execute("SELECT first_message_at, closed_at FROM turns").fetchall()
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for row in kept for text in row]
    assert any(by_the_companys_clock(moment) in shown for moment in moments)


def test_a_pause_ends_by_the_companys_clock(folder: Path) -> None:
    before = datetime.now(UTC)
    arguments = ("pause", str(LEAD), "--minutes", "60")
    shown = command(folder, *arguments, OTVET_TIMEZONE=COMPANY, TZ="Pacific/Pago_Pago").stdout
    ends = (moment + timedelta(hours=1) for moment in (before, datetime.now(UTC)))
    assert any(by_the_companys_clock(end) in shown for end in ends)


def by_the_companys_clock(moment: datetime) -> str:
    return moment.astimezone(ZoneInfo(COMPANY)).strftime("%d.%m.%Y %H:%M")


# Gaps


def test_gaps_are_a_table(tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    price(tmp_path, 300)
    asked = [ENGRAVING, "Гравировку на браслете и кольце делаете?", "Сколько стоит доставка?", ENGRAVING, ENGRAVING]
    history(tmp_path, *((LEAD + number, text) for number, text in enumerate(asked)))
    shown = command(tmp_path, "gaps").stdout
    assert fits(shown)
    (line,) = [line for line in shown.splitlines() if "Делаете" in line]
    assert line.split("│")[1].strip() == "4"
    assert str(LEAD + 4) in shown
    assert "…" in shown  # four deals, of which three are named
    assert "доставка" not in shown


def test_without_gaps_there_is_a_sentence(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "conversations.db")) as connection, connection:
        connection.execute("UPDATE turns SET first_message_at = '2020-01-01 00:00:00'")
    shown = command(folder, "gaps", "--days", "7").stdout
    assert shown.startswith("in 7 days clients asked nothing")
