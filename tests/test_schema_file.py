"""``database_schema.sql``: the tables as they are made, with what is said of them."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from otvet.schema import upgrade
from otvet.storage.database import Database

FILE = Path(__file__).parent.parent / "database_schema.sql"
SHAPE = (
    "SELECT m.name, c.name, c.type, c.'notnull', c.pk FROM sqlite_master m, pragma_table_info(m.name) c "
    "WHERE m.type = 'table' AND m.name NOT IN ('alembic_version', 'sqlite_sequence') ORDER BY m.name, c.name"
)
INDEXES = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"


def test_it_makes_the_tables_that_a_start_makes(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'conversations.db'}")
    try:
        upgrade.prepare(database, datetime.now(UTC))
    finally:
        database.close()
    with (
        closing(sqlite3.connect(tmp_path / "conversations.db")) as made,
        closing(sqlite3.connect(":memory:")) as written,
    ):
        written.executescript(FILE.read_text("utf-8"))
        for query in (SHAPE, INDEXES):
            assert written.execute(query).fetchall() == made.execute(query).fetchall()


def test_every_table_has_its_sentence_and_columns_have_the_comments_of_the_code() -> None:
    text = FILE.read_text("utf-8")
    assert re.findall(r"^-- A row is .+\.\nCREATE TABLE (\w+)", text, re.MULTILINE) == re.findall(
        r"^CREATE TABLE (\w+)", text, re.MULTILINE
    )
    assert "    amocrm_lead_id BIGINT, -- none: the deal is not known yet\n" in text
    where = "The conversation where the chat was last seen"
    assert re.search(rf"^    conversation_id INTEGER NOT NULL, -- {where}\. ", text, re.MULTILINE)
