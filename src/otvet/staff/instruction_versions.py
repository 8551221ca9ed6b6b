"""The versions of the instructions: each text that was saved, and who saved it. Writes ``instruction_versions``."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.storage.engines import Id, UtcDateTime, metadata

instruction_versions = sa.Table(
    "instruction_versions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),  # empty: found in the file, edited by another program
    sa.Column("at", UtcDateTime, nullable=False),
)

IN_THE_FILE = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One row of ``instruction_versions``."""

    id: int
    text: str
    who: str
    at: datetime


def listed(connection: Connection, limit: int = 100) -> Sequence[Version]:
    """The newest versions first."""
    query = sa.select(instruction_versions).order_by(instruction_versions.c.id.desc())
    return [Version(*row) for row in connection.execute(query.limit(limit))]


def get(connection: Connection, id_: int) -> Version | None:
    row = connection.execute(sa.select(instruction_versions).where(instruction_versions.c.id == id_)).one_or_none()
    return None if row is None else Version(*row)


def before(connection: Connection, id_: int) -> Version | None:
    """The version before this one."""
    query = sa.select(instruction_versions).where(instruction_versions.c.id < id_)
    row = connection.execute(query.order_by(instruction_versions.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else Version(*row)


def add(connection: Connection, text: str, who: str, now: datetime) -> int | None:
    """Keep a version; None if the newest one has the same text."""
    newest = listed(connection, 1)
    if newest and newest[0].text == text:
        return None
    made = instruction_versions.insert().values(text=text, who=who, at=now).returning(instruction_versions.c.id)
    id_: int = connection.execute(made).scalar_one()
    return id_


def difference(old: str, new: str) -> list[tuple[str, str]]:
    """The lines of both texts as (kind, line); kind: "same", "gone" or "come"."""
    a, b = old.splitlines(), new.splitlines()
    found: list[tuple[str, str]] = []
    for change, a1, a2, b1, b2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if change == "equal":
            found += [("same", line) for line in a[a1:a2]]
        else:
            found += [("gone", line) for line in a[a1:a2]] + [("come", line) for line in b[b1:b2]]
    return found
