"""The pages beside a long history: how long the list, a chat and a search take while webhooks come in.

Run: make bench, or python -m benchmarks.pages [MESSAGES CHATS [sqlite|postgresql]]. The exit code is 1 if an aim is
missed; on a machine that has other work to do, most are. So the processor's time of each page is measured too, and
``/health``, which reads nothing, is asked in the same round: what it takes is what the machine takes.
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
MOST_AT_ONCE = 64  # webhooks that wait for their 200; on a machine that cannot keep up, fewer a second are sent
PORT = 8396
ROUNDS, PROCESSOR_ROUNDS = 60, 20
STREAMS_SECONDS = 20
WEBHOOKS_A_SECOND, DEALS = 200, 500
STREAMS = 50
PAGE_AIM, NUMBERS_AIM, WEBHOOK_AIM, STREAMS_AIM = 100, 300, 50, 50  # ms, ms, ms, MB

THE_MACHINE = "the machine: /health, which reads nothing"
NUMBERS = "the numbers of 90 days"
ASKED = {
    THE_MACHINE: "/health",
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
    NUMBERS: "/numbers?days=90",
}


@dataclass(frozen=True)
class Row:
    """A line of the table: what the cells say, and whether an aim was missed."""

    name: str
    cells: Sequence[str]
    missed: bool = False

    def __str__(self) -> str:
        return f"| {self.name} | {' | '.join(self.cells)} |"


def _in_ms(name: str, seconds: Sequence[float], aim: str, missed: bool, processor: float | None = None) -> Row:
    cuts = statistics.quantiles(seconds, n=100)
    wall = [f"{cuts[at] * 1000:.0f}" for at in (49, 94, 98)]
    return Row(name, ["" if processor is None else f"{processor * 1000:.0f}", *wall, aim], missed)


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
        f"The index takes {size / done:.0f} bytes a message: {100 * size / before:.0f}% of the database without it, "
        f"for messages of {text / done:.0f} letters on average. Indexing took {took / done * 1e6:.0f} µs a message, "
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
    with (
        otvet(folder, PORT, **settings) as server,
        httpx2.Client(base_url=server.url, trust_env=False, timeout=60) as http,
    ):
        signed = http.post("/sign-in", data={"name": "Olga", "password": PASSWORD}, headers={"origin": server.url})
        http.headers["cookie"] = signed.headers["set-cookie"].partition(";")[0]
        ask = _Asker(http, chats)
        processor = {name: ask.processor(server, name) for name in ASKED}
        clients, ours = multiprocessing.Pipe()
        # In a process of its own: in this one it would wait for the pages rather than for the server.
        writing = multiprocessing.get_context("spawn").Process(target=_write, args=(clients, server, chats))
        writing.start()
        beside: dict[str, list[float]] = {name: [] for name in ASKED}
        for _ in range(ROUNDS):
            for name in ASKED:
                beside[name].append(ask(name))
        alone = server.memory_mb
        with _streams(server, http.headers["cookie"]) as streams:
            time.sleep(STREAMS_SECONDS)
            assert [one.status_code for one in streams] == [200] * STREAMS
            more = server.memory_mb - alone
        ours.send("enough")
        took: list[float]
        took, a_second, refused = ours.recv()
        writing.join()
    rows = []
    for name, seconds in beside.items():
        most = NUMBERS_AIM if name == NUMBERS else PAGE_AIM
        missed = name != THE_MACHINE and _p(95, seconds) >= most
        aim = "" if name == THE_MACHINE else f"p95 under {most} ms"
        rows.append(_in_ms(name, seconds, aim, missed, processor[name]))
    webhook = f"the webhook's 200, {a_second:.0f} a second all the while; {refused} others"
    rows.append(_in_ms(webhook, took, f"p99 under {WEBHOOK_AIM} ms", _p(99, took) >= WEBHOOK_AIM))
    memory = ["", f"{more:.0f} MB", "", "", f"under {STREAMS_AIM} MB"]
    return [*rows, Row(f"{STREAMS} open streams, memory more than without", memory, more >= STREAMS_AIM)]


def _p(percent: int, seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=100)[percent - 1] * 1000


class _Asker:
    """Somebody who is signed in and asks for one page after the other."""

    def __init__(self, http: httpx2.Client, chats: int) -> None:
        self._http = http
        self._chats = chats
        self._asked = 0

    def __call__(self, name: str) -> float:
        """Seconds to the whole page."""
        self._asked += 1
        chat = 1 + self._asked * 7919 % self._chats
        address = ASKED[name].format(chat=chat, lead=FIRST_LEAD + chat)
        began = time.perf_counter()
        self._http.get(address).raise_for_status()
        return time.perf_counter() - began

    def processor(self, server: Running, name: str) -> float:
        """Seconds of the processor that a page costs the server's process, without webhooks."""
        self(name)  # the first one loads the templates
        before = _processor_seconds(server)
        for _ in range(PROCESSOR_ROUNDS):
            self(name)
        return (_processor_seconds(server) - before) / PROCESSOR_ROUNDS


def _processor_seconds(server: Running) -> float:
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _streams(server: Running, cookie: str) -> Iterator[list[httpx2.Response]]:
    """STREAMS browsers that show the list."""
    limits = httpx2.Limits(max_connections=STREAMS)
    with ExitStack() as stack, httpx2.Client(trust_env=False, timeout=60, limits=limits) as http:
        boxes = ("person", "all", "drafts", "waiting", "answered") * (STREAMS // 5)
        addresses = (f"{server.url}/live/inbox?box={box}" for box in boxes)
        yield [stack.enter_context(http.stream("GET", one, headers={"cookie": cookie})) for one in addresses]


def _write(enough: Connection, server: Running, chats: int) -> None:
    """Clients write; sends back the seconds that each answer took, how many a second there were, and
    how many had another answer than 200."""
    enough.send(asyncio.run(_write_on(enough, server, chats)))


async def _write_on(enough: Connection, server: Running, chats: int) -> tuple[list[float], float, int]:
    took: list[float] = []
    refused: list[int] = []
    tasks: set[asyncio.Task[None]] = set()
    address = f"{server.url}/webhook/amocrm/{SECRET}"
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:

        async def post(number: int) -> None:
            chat = chats - number % DEALS
            about = {"lead_id": FIRST_LEAD + chat, "contact_id": chat, "chat_id": f"chat-{chat}"}
            body = incoming("Сколько стоит доставка?", message_id=f"new-{number}", created_at=int(time.time()), **about)
            began = time.perf_counter()
            answer = await http.post(address, content=body, headers=headers("1"))
            if answer.status_code == 200:
                took.append(time.perf_counter() - began)
            else:
                refused.append(number)

        began, number = time.perf_counter(), 0
        while not enough.poll():
            while number < (time.perf_counter() - began) * WEBHOOKS_A_SECOND and len(tasks) < MOST_AT_ONCE:
                task = asyncio.create_task(post(number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
            await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)
    enough.recv()
    return took, len(took) / (time.perf_counter() - began), len(refused)


def _table(rows: Sequence[Row]) -> str:
    head = ["| | processor, ms | p50, ms | p95, ms | p99, ms | aim |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *map(str, rows)])


if __name__ == "__main__":
    main()
