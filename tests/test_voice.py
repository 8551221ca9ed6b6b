"""Voice messages written down: which files are fetched, what is taken for sound, and what the answer is given."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from otvet.amocrm.files import HOSTS, Files, NotFetched
from otvet.answering.answering import Answering
from otvet.answering.voice import Voice
from otvet.conversations.tables import messages
from otvet.responders.chat.transcription import NotTranscribed, Transcription, kind_of
from otvet.staff import erasure
from otvet.storage.database import Database
from otvet.turns.turn import State
from tests.clocks import FakeClock
from tests.standins.sender import incoming
from tests.standins.speech import OGG, SpeechStandin, speech_standin
from tests.test_answer import LEAD, Stage
from tests.test_chat import OF_OTHER_PROGRAMS

PUBLIC = "93.184.216.34"


@pytest.fixture
def speech() -> Iterator[SpeechStandin]:
    with speech_standin() as speech:
        yield speech


async def _public(_host: str) -> list[str]:
    return [PUBLIC]


def fetch(link: str, **options: Any) -> bytes:
    async def whole() -> bytes:
        async with httpx2.AsyncClient() as http:
            return await Files(http, **options).fetch(link)

    return asyncio.run(whole())


def from_standin(link: str, **more: Any) -> bytes:
    return fetch(link, **{"is_host": lambda host: host == "127.0.0.1", "resolve": _public, "scheme": "http", **more})


# Which files are fetched


@pytest.mark.parametrize(
    "host",
    ["amojo.amocrm.ru", "amojo.kommo.com", "drive-a.amocrm.ru", "drive-c.kommo.com", "drive-b.amocrm.com"],
)
def test_hosts_of_amocrms_files_are_known(host: str) -> None:
    assert HOSTS.fullmatch(host)


@pytest.mark.parametrize(
    "link",
    [
        "http://amojo.amocrm.ru/file.ogg",
        "https://example.com/file.ogg",
        "https://amojo.amocrm.ru.example.com/file.ogg",
        "https://evil-amojo.amocrm.ru/file.ogg",
        "https://amojo.amocrm.ru@127.0.0.1/file.ogg",
        "https://user@amojo.amocrm.ru/file.ogg",
        "https://amojo.amocrm.ru:8080/file.ogg",
        "https://127.0.0.1/file.ogg",
        "file:///etc/passwd",
        "https://[broken/file.ogg",
        "https://amojo.amocrm.ru\\@example.com/file.ogg",
        "https://amojo.amocrm.ru/a\tb.ogg",
        "https://amojo.amocrm.ru/a\x7fb.ogg",
        "https://amojo.amocrm.ru/\ud800.ogg",
        f"https://amojo.amocrm.ru/{'a' * 70_000}.ogg",
        "",
    ],
)
def test_nothing_is_asked_elsewhere(link: str) -> None:
    asked: list[str] = []

    async def resolve(host: str) -> list[str]:
        asked.append(host)
        return [PUBLIC]

    with pytest.raises(NotFetched, match="no"):
        fetch(link, resolve=resolve)
    assert asked == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1", "fd00::1"])
def test_a_host_inside_our_own_network_is_not_asked(speech: SpeechStandin, address: str) -> None:
    async def inside(_host: str) -> list[str]:
        return [PUBLIC, address]

    with pytest.raises(NotFetched, match="not on the internet"):
        from_standin(f"{speech.url}/files/voice.ogg", resolve=inside)
    assert speech.fetched == []


def test_a_file_is_fetched_without_any_token(speech: SpeechStandin) -> None:
    assert from_standin(f"{speech.url}/files/voice.ogg") == OGG
    (asked,) = speech.fetched
    assert "authorization" not in asked
    assert "cookie" not in asked


def test_a_redirect_is_followed_where_it_is_amocrms_own(speech: SpeechStandin) -> None:
    speech.redirects = {
        "moved.ogg": "/files/voice.ogg",
        "away.ogg": "http://localhost:1/voice.ogg",
        "round.ogg": "round.ogg",
        "odd.ogg": f"http://127.0.0.1/{'a' * 66_000}.ogg",
    }
    assert from_standin(f"{speech.url}/files/moved.ogg") == OGG
    with pytest.raises(NotFetched, match="not an address of amoCRM"):
        from_standin(f"{speech.url}/files/away.ogg")
    with pytest.raises(NotFetched, match="too many"):
        from_standin(f"{speech.url}/files/round.ogg")
    with pytest.raises(NotFetched, match="no address"):
        from_standin(f"{speech.url}/files/odd.ogg")


def test_limits_of_size_and_time(speech: SpeechStandin) -> None:
    with pytest.raises(NotFetched, match="too large"):
        from_standin(f"{speech.url}/files/voice.ogg", largest=100)
    with pytest.raises(NotFetched, match="404"):
        from_standin(f"{speech.url}/files/none.ogg")
    speech.app.plan(delay=30)
    with pytest.raises(NotFetched, match="too long"):
        from_standin(f"{speech.url}/files/voice.ogg", seconds=0.2)


# What is taken for sound


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (OGG, "ogg"),
        (bytes(4) + b"ftypM4A ", "m4a"),
        (b"ID3\x04", "mp3"),
        (b"\xff\xfb\x90\x00", "mp3"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "wav"),
        (b"\x1aE\xdf\xa3", "webm"),
        (b"<html><body>", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_the_content_says_what_it_is(content: bytes, kind: str | None) -> None:
    assert kind_of(content) == kind


# Where a recording goes


def transcribe(url: str, key: str | None = "key-of-the-tests") -> str:
    async def whole() -> str:
        transcription = Transcription(url, "whisper-1", key)
        try:
            return await transcription.text_of(OGG)
        finally:
            await transcription.aclose()

    return asyncio.run(whole())


def test_variables_meant_for_other_programs_change_nothing(
    speech: SpeechStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in OF_OTHER_PROGRAMS.items():
        monkeypatch.setenv(name, value)
    for key in ("key-of-the-tests", None):
        transcribe(f"{speech.url}/v1", key)
    assert [headers.get("authorization") for headers, _body in speech.heard] == ["Bearer key-of-the-tests", None]
    assert "their-" not in str([headers for headers, _body in speech.heard])


def test_a_recording_is_not_sent_on_to_another_address(speech: SpeechStandin) -> None:
    elsewhere = {"location": f"{speech.url}/v1/audio/transcriptions"}
    speech.app.plan(path="/elsewhere/*", status=307, headers=elsewhere, times=None)
    with pytest.raises(NotTranscribed):
        transcribe(f"{speech.url}/elsewhere")
    assert speech.heard == []


# What the answer is given


def listening(database: Database, speech: SpeechStandin, http: httpx2.AsyncClient) -> Voice:
    files = Files(http, is_host=lambda host: host == "127.0.0.1", resolve=_public, scheme="http")
    return Voice(database, files, Transcription(f"{speech.url}/v1", "whisper-1", "key-of-the-tests"))


def client_sends(stage: Stage, *links: str) -> int:
    """Voice messages with these files; gives their turn."""
    now = int(stage.clock.now().timestamp())
    for number, link in enumerate(links):
        attachment = {"type": "voice", "link": link, "file_name": link.rpartition("/")[2]}
        stage.receive(incoming("", message_id=f"m-{number}", attachment=attachment, created_at=now + number))
    return 1


def answer_voice(database: Database, speech: SpeechStandin, name: str = "voice.ogg") -> Stage:
    stage = Stage(database)
    turn = client_sends(stage, f"{speech.url}/files/{name}")

    async def play(answering: Answering) -> None:
        async with httpx2.AsyncClient() as http:
            voice = listening(database, speech, http)
            answering._voice = voice
            assert await answering.answer(turn) == State.KEPT
            await voice.aclose()

    stage.run(play)
    return stage


def test_what_was_said_is_the_messages_words(database: Database, speech: SpeechStandin) -> None:
    speech.files["voice.ogg"] = bytes(4) + b"ftypM4A " + bytes(100)  # as amoCRM serves it, under another name
    stage = answer_voice(database, speech)
    (context,) = stage.responders[0].asked
    assert context.question_text == "[voice message] How much is the delivery?"
    assert not context.nothing_to_read
    ((headers, body),) = speech.heard
    assert headers["authorization"] == "Bearer key-of-the-tests"
    assert b'filename="voice.m4a"' in body
    assert b"whisper-1" in body
    stored = database.read_now(lambda connection: connection.execute(sa.select(messages).limit(1)).one())
    assert stored.content == "How much is the delivery?"
    assert stored.metadata["transcript"] == {"model": "whisper-1"}
    assert stored.metadata["raw"]["attachment"]["file_name"] == "voice.ogg"


@pytest.mark.parametrize("wrong", ["file", "sound", "endpoint", "silence"])
def test_a_failure_leaves_the_message_as_it_was(database: Database, speech: SpeechStandin, wrong: str) -> None:
    if wrong == "sound":
        speech.files["voice.ogg"] = b"<html>Sign in</html>"
    elif wrong == "endpoint":
        speech.app.plan(path="/v1/*", status=500, times=None)
    elif wrong == "silence":
        speech.said = {"text": "  "}
    stage = answer_voice(database, speech, "none.ogg" if wrong == "file" else "voice.ogg")
    (context,) = stage.responders[0].asked
    assert context.question_text.startswith("[голосовое сообщение: ")  # no words to tell a language by
    assert "/files/" in context.question_text
    assert context.nothing_to_read
    assert len(speech.fetched) == 1


class SlowFiles:
    """One whose name says so never comes."""

    async def fetch(self, link: str) -> bytes:
        if "slow" in link:
            await asyncio.Event().wait()
        return OGG


class Words:
    """A transcription of any recording, at once."""

    model = "whisper-1"

    async def text_of(self, content: bytes) -> str:
        return "How much is it?"


def test_all_of_a_turn_are_heard_at_once_and_within_one_bound(database: Database) -> None:
    stage = Stage(database)
    turn = client_sends(stage, "slow-1.ogg", "voice.ogg", "slow-2.ogg")

    async def play(answering: Answering) -> None:
        answering._voice = Voice(database, SlowFiles(), Words(), seconds=1)  # type: ignore[arg-type]
        assert await answering.answer(turn) == State.KEPT

    stage.run(play)
    stored = database.read_now(
        lambda connection: connection.execute(sa.select(messages).order_by(messages.c.id).limit(3)).all()
    )
    assert [row.content for row in stored] == ["", "How much is it?", ""]
    assert [row.metadata["transcript"] for row in stored] == [
        {"failed": True},
        {"model": "whisper-1"},
        {"failed": True},
    ]


def play_voice(database: Database, files: Any, answer: Callable[[Answering, int], Awaitable[None]]) -> Stage:
    """A turn with a voice message whose file comes from ``files``; what is said in it is always the same."""
    stage = Stage(database)
    turn = client_sends(stage, "the client's")

    async def play(answering: Answering) -> None:
        answering._voice = Voice(database, files, Said())  # type: ignore[arg-type]
        await answer(answering, turn)

    stage.run(play)
    return stage


class Said:
    model = "whisper-1"

    async def text_of(self, _content: bytes) -> str:
        return "My card number is 4111"


def test_whatever_goes_wrong_does_not_hold_up_the_conversation(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        async def fetch(self, link: str) -> bytes:
            raise ZeroDivisionError(link)

    async def answer(answering: Answering, turn: int) -> None:
        assert await answering.answer(turn) == State.KEPT

    stage = play_voice(database, Broken(), answer)
    assert stage.responders[0].asked[0].nothing_to_read
    stored = database.read_now(lambda connection: connection.execute(sa.select(messages).limit(1)).one())
    assert stored.metadata["transcript"] == {"failed": True}
    logged = capsys.readouterr().out
    assert "ZeroDivisionError" in logged
    assert "the client's" not in logged


def test_what_was_erased_while_it_was_fetched_stays_erased(database: Database) -> None:
    class Slow:
        async def fetch(self, _link: str) -> bytes:
            await asyncio.to_thread(erase)
            return OGG

    def erase() -> None:
        with database.writes.begin() as connection:
            whose = erasure.find(connection, lead_id=LEAD)
            assert whose is not None
            erasure.erase(connection, whose, FakeClock().now())

    async def answer(answering: Answering, turn: int) -> None:
        await answering.answer(turn)

    stage = play_voice(database, Slow(), answer)
    assert stage.responders[0].asked == []
    stored = database.read_now(lambda connection: connection.execute(sa.select(messages).limit(1)).one())
    assert (stored.content, stored.message_type, stored.metadata) == ("", "erased", {})
