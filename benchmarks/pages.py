"""The pages beside a long history: how long the list, a chat and a search take while webhooks come in.

Run: make bench, or python -m benchmarks.pages [MESSAGES CHATS [sqlite|postgresql]]. The exit code is 1 if an aim is
missed; on a machine that has other work to do, most are. ``/health``, which reads nothing, is asked in the same round:
what it takes is what the machine takes.
"""

import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import httpx2
import sqlalchemy as sa
from tests.browsing import PASSWORD
from tests.databases import Postgres
from tests.standins.sender import headers, incoming

from benchmarks.a_large_shop import FIRST_LEAD, RARE, fill
from benchmarks.page import keep
from benchmarks.servers import SECRET, Running, otvet
from otvet.conversations.tables import messages
from otvet.schema.upgrade import prepare
from otvet.search import index
from otvet.storage.database import Database
from otvet.users import users
from otvet.users.users import Role

MESSAGES, CHATS = 1_000_000, 50_000
PORT = 8396
ROUNDS = 60
WEBHOOKS_A_SECOND = 200
STREAMS = 50
PAGE_AIM, WEBHOOK_AIM, STREAMS_AIM = 100, 50, 50  # ms, ms, MB

ASKED = {
    "the machine: /health, which reads nothing": "/health",
    "inbox, a person is needed": "/?box=person",
    "inbox, drafts": "/?box=drafts",
    "inbox, waiting": "/?box=waiting",
    "inbox, answered": "/?box=answered",
    "inbox, all": "/?box=all",
    "a chat": "/chats/{chat}?box=all",
    "search, a word form (доставкой)": "/?q=доставкой",
    "search, a part of a word (рантийн)": "/?q=рантийн",
    f"search, a rare part ({RARE})": f"/?q={RARE}",
    "search, two words": "/?q=размерами+возвратом",
    "search, a word that stands nowhere": "/?q=кастомность",
    "search, a deal's number": "/?q={lead}",
}


@dataclass(frozen=True)
class Row:
    """A line of the table. aim: what p95, or the one value, has to be under."""

    name: str
    values: Sequence[float]
    aim: float | None = None
    unit: str = "ms"

    @property
    def missed(self) -> bool:
        return self.aim is not None and self.values[-2 if len(self.values) > 1 else 0] >= self.aim

    def __str__(self) -> str:
        cells = [f"{value:.0f}" for value in self.values] if len(self.values) > 1 else ["", f"{self.values[0]:.0f}", ""]
        aim = f"under {self.aim:g} {self.unit}" if self.aim else ""
        return f"| {self.name} | {' | '.join(cells)} | {aim} |"


def main() -> None:
    many, chats = (int(one) for one in sys.argv[1:3] or (MESSAGES, CHATS))
    kinds = sys.argv[3:] or ["sqlite", "postgresql"]
    text, missed = "", []
    for kind in kinds:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder, ExitStack() as stack:
            url = stack.enter_context(_database(kind, Path(folder)))
            about = _make(url, many, chats)
            rows = _measure(Path(folder), url, chats)
            missed += [f"{kind}: {row.name}" for row in rows if row.missed]
            text += f"\n{_NAMES[kind]}, {many:,} messages in {chats:,} chats. {about}\n\n{_table(rows)}\n"
            print(text, flush=True)
    keep("pages", text.strip())
    if missed:
        sys.exit(f"missed: {'; '.join(missed)}")


_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/conversations.db"
        return
    server = Postgres(folder)
    server.start()
    try:
        yield server.create()
    finally:
        server.stop()


def _make(url: str, many: int, chats: int) -> str:
    """Make the shop and its index; a sentence on what the index costs."""
    database = Database(url)
    prepare(database, datetime.now(UTC))
    with database.writes.begin() as connection:
        users.add(connection, "Olga", users.hashed(PASSWORD), Role.OWNER, datetime.now(UTC))
    fill(database, many, chats)
    before, began, done, spent = _size(database), time.perf_counter(), 0, 0.0
    while True:
        at = time.process_time()
        with database.writes.begin() as connection:
            added = index.add_some(connection)
        spent += time.process_time() - at
        if not added:
            break
        done += added
    took = time.perf_counter() - began
    with database.reads.connect() as connection:
        text = connection.scalar(sa.select(sa.func.sum(sa.func.length(messages.c.content)))) or 0
    size = _size(database) - before
    database.close()
    return (
        f"The index takes {size / done:.0f} bytes a message: {100 * size / before:.0f}% of the database without it, for "
        f"messages of {text / done:.0f} letters on average. Indexing took {took / done * 1e6:.0f} µs a message, "
        f"{spent / done * 1e6:.0f} µs of them the processor's in Otvet's own process."
    )


def _size(database: Database) -> int:
    """Bytes on the disk, without what a checkpoint or a vacuum frees."""
    with database.writes.connect() as connection:
        if not database.is_sqlite:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
            return int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)
        pages = connection.exec_driver_sql(
            "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count"
        )
        return int(pages.scalar_one()) * 4096


def _measure(folder: Path, url: str, chats: int) -> list[Row]:
    settings = {"OTVET_DATABASE_URL": url, "OTVET_MODE": "off", "OTVET_LANG": "ru"}
    with otvet(folder, PORT, **settings) as server, httpx2.Client(base_url=server.url, trust_env=False) as http:
        sent = {"name": "Olga", "password": PASSWORD}
        signed = http.post("/sign-in", data=sent, headers={"origin": server.url})
        cookie = signed.headers["set-cookie"].partition(";")[0]
        clients, ours = multiprocessing.Pipe()
        # In a process of its own: in this one it would wait for the pages rather than for the server.
        writing = multiprocessing.get_context("spawn").Process(target=_write, args=(clients, server, chats))
        writing.start()
        rows = _pages(http, cookie, chats)
        alone = server.memory_mb
        with _streams(server, cookie) as open_streams:
            time.sleep(20)
            rows.append(
                Row(f"{STREAMS} open streams, memory more than without", [server.memory_mb - alone], STREAMS_AIM, "MB")
            )
            assert open_streams() == STREAMS
        ours.send("enough")
        took: list[float] = ours.recv()
        writing.join()
    cuts = statistics.quantiles(took, n=100)
    p50, p95, p99 = (cuts[at] * 1000 for at in (49, 94, 98))
    webhook = Row(f"the webhook's 200, {WEBHOOKS_A_SECOND} a second all the while", [p50, p95, p99])
    return [*rows, webhook, Row("its p99", [p99], WEBHOOK_AIM)]


def _pages(http: httpx2.Client, cookie: str, chats: int) -> list[Row]:
    took: dict[str, list[float]] = {name: [] for name in ASKED}
    for number in range(ROUNDS + 2):
        for name, address in ASKED.items():
            chat = 1 + number * 7919 % chats
            began = time.perf_counter()
            answer = http.get(address.format(chat=chat, lead=FIRST_LEAD + chat), headers={"cookie": cookie})
            if number >= 2:  # the first ones load the templates
                took[name].append(time.perf_counter() - began)
            assert answer.status_code == 200, (address, answer.status_code)
    rows = []
    for name, seconds in took.items():
        cuts = statistics.quantiles(seconds, n=100)
        aim = None if address_reads_nothing(name) else PAGE_AIM
        rows.append(Row(name, [cuts[at] * 1000 for at in (49, 94, 98)], aim))
    return rows


def address_reads_nothing(name: str) -> bool:
    return ASKED[name] == "/health"


@contextmanager
def _streams(server: Running, cookie: str) -> Iterator[object]:
    """STREAMS browsers that show the list."""
    with ExitStack() as stack, httpx2.Client(trust_env=False, timeout=60) as http:
        limits = [
            stack.enter_context(http.stream("GET", f"{server.url}/live/inbox?box={box}", headers={"cookie": cookie}))
            for box in ("person", "all", "drafts", "waiting", "answered") * (STREAMS // 5)
        ]
        yield lambda: sum(one.status_code == 200 for one in limits)


def _write(enough: Connection, server: Running, chats: int) -> None:
    """Clients write, so many a second; sends back the seconds that each answer took."""
    enough.send(asyncio.run(_write_on(enough, server, chats)))


async def _write_on(enough: Connection, server: Running, chats: int) -> list[float]:
    took: list[float] = []
    tasks: set[asyncio.Task[None]] = set()
    address = f"{server.url}/webhook/amocrm/{SECRET}"
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:

        async def post(number: int) -> None:
            chat = 1 + number * 104_729 % chats
            about = {"lead_id": FIRST_LEAD + chat, "contact_id": chat, "chat_id": f"chat-{chat}"}
            body = incoming("Сколько стоит доставка?", message_id=f"new-{number}", created_at=int(time.time()), **about)
            began = time.perf_counter()
            answer = await http.post(address, content=body, headers=headers("1"))
            took.append(time.perf_counter() - began)
            answer.raise_for_status()

        began, number = time.perf_counter(), 0
        while not enough.poll():
            while number < (time.perf_counter() - began) * WEBHOOKS_A_SECOND:
                task = asyncio.create_task(post(number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
            await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)
    enough.recv()
    return took


def _table(rows: Sequence[Row]) -> str:
    return "\n".join(["| | p50 | p95 | p99 | aim for p95 |", "| --- | --- | --- | --- | --- |", *map(str, rows)])


if __name__ == "__main__":
    main()
