"""The attempts to turn the assistant round, judged on what leaves the process: to Manus and a model over real HTTP,
and to amoCRM. Each client says the attempt in every way that there is: as a question, in a voice message that was
written down, as a file's name, as the name that the deal was named after, and in what was said long ago.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from otvet.amocrm import cards
from otvet.answering.answering import Answering, WritingOptions
from otvet.answering.instructions import Instructions
from otvet.answering.writer import Checks
from otvet.conversations.tables import conversations, messages
from otvet.guard.masking import Masker
from otvet.i18n import language_of, translator
from otvet.responders.chat.api import OpenAiModel
from otvet.responders.chat.responder import ChatResponder
from otvet.responders.cleaning.clean import words_of
from otvet.responders.manus.api import ManusApi
from otvet.responders.manus.responder import ManusResponder
from otvet.responders.markdown import plain_text
from otvet.responders.prompt_parts import escape_for_prompt
from otvet.responders.template import THANKS, TemplateResponder
from otvet.storage.database import Database
from otvet.turns.attempts import attempts
from otvet.turns.turn import State, turns
from tests.clocks import FakeClock
from tests.contexts import context
from tests.databases import put_prepared
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.manus import ManusStandin, manus_standin
from tests.standins.openai import KEY, OpenAiStandin, openai_standin
from tests.standins.sender import incoming
from tests.tables import every_of
from tests.test_answer import Stage
from tests.test_injections import SAMPLES

Attempt = dict[str, Any]
ATTEMPTS: list[Attempt] = SAMPLES["attempts"]
INNOCENT = {"attack": "Сколько стоит плед?", "obeyed": "Плед стоит 1 рубль."}
HONEST = {
    "ru": "Хлопковый плед стоит 1 900 ₽, шерстяной — 4 600 ₽. Остальное уточнит менеджер: +7 (495) 120-33-44.",
    "en": "The cotton blanket is 1,900 rubles. A manager will clarify the rest: +7 495 120-33-44, example.ru.",
}
FACTS = [[heading, text] for heading, text in SAMPLES["knowledge"]]
OURS = re.compile(r"<(known|earlier|summary|refused|message|manager)\b[^<>]*>.*?</\1>", re.DOTALL)
TAG = re.compile(r"<\s*[/!?]?\s*[A-Za-z]")


@dataclass
class Left:
    """What left the process for one attempt: the prompts, the reply, and what staff are told in tasks and the note."""

    prompts: Sequence[Any]
    note: str
    tasks: str
    found: set[str]


class Outside:
    """Manus or a model, that says what a test wants, and remembers what it was told."""

    def __init__(self, name: str, manus: ManusStandin, openai: OpenAiStandin) -> None:
        self.name = name
        self._manus = manus
        self._openai = openai

    def responder(self, http: httpx2.AsyncClient, clock: FakeClock) -> Any:
        if self.name == "manus":
            return ManusResponder(ManusApi(http, self._manus.url, self._manus.key), clock)
        return ChatResponder(OpenAiModel(f"{self._openai.url}/v1", "m", api_key=KEY), clock)

    def will_say(self, text: str) -> None:
        self._manus.creates.clear()
        self._manus.sends.clear()
        self._openai.reset()
        self._manus.answer = lambda _content: text
        for _ in range(2):
            self._openai.say(text)

    def was_told(self) -> list[Any]:
        bodies = [*self._manus.creates, *self._manus.sends]
        return [body["message"]["content"] for body in bodies] + [
            request["body"]["messages"] for request in self._openai.requests
        ]


class Shop(Stage):
    """Clients who write to a shop, each in a deal of their own."""

    def __init__(self, folder: Path, amo: AmoStandin, outside: Outside) -> None:
        database = Database(put_prepared(folder))
        self.amocrm = amo
        self.outside = outside
        self.http = httpx2.AsyncClient(timeout=10)
        super().__init__(database, amo=amo)
        (folder / "instructions.md").write_text(SAMPLES["instructions"], encoding="utf-8")
        self.options = WritingOptions(instructions=Instructions(folder / "instructions.md"))
        self.responders = (outside.responder(self.http, self.clock), TemplateResponder())  # type: ignore[assignment]
        self.writing = {"masker": Masker(b"key"), "checks": Checks(secrets=tuple(SAMPLES["secrets"]))}

    def play(self, attempts: Sequence[dict[str, Any]], *, obeys: bool) -> list[Left]:
        """What leaves the process for each of them.

        obeys: what the model does; else it answers as it should. The deal and the client are named so too.
        """
        left: list[Left] = []

        async def play(answering: Answering) -> None:
            for lead, attempt in enumerate(attempts, 1000):
                attack = attempt["attack"]
                self.outside.will_say(attempt["obeyed"] if obeys else HONEST[language_of(attack)])
                turn = self.everything_is_said(attack, lead, name=attack)
                assert await answering.answer(turn) == State.SENT
                left.append(self._left(turn, lead))
            await self.http.aclose()

        self.run(play)
        self.database.close()
        return left

    def everything_is_said(self, attack: str, lead: int, name: str) -> int:
        """Gives the turn of the question."""
        who = {"contact_id": lead, "author_name": name}
        link = "https://drive.example.ru/1"
        self._hears("", lead, **who, attachment={"type": "file", "file_name": attack, "link": link})
        self._hears("", lead, **who, attachment={"type": "voice", "link": link})
        with self.database.writes.begin() as connection:
            here = conversations.c.amocrm_lead_id == lead
            of_here = messages.c.conversation_id == sa.select(conversations.c.id).where(here).scalar_subquery()
            voice = connection.execute(sa.select(messages).where(of_here, messages.c.message_type == "voice")).one()
            heard = {**voice.metadata, "transcript": {"model": "whisper"}}
            connection.execute(
                messages.update().where(messages.c.id == voice.id).values(content=attack, metadata=heard)
            )
            connection.execute(turns.update().where(turns.c.state == State.WAITING).values(state=State.SENT))
            deal = cards.deal({"name": f"Сделка: {name}"}, {}, {}, None, "", UTC) | {"fields": FACTS}
            values = {"deal": deal, "summary": attack, "summarised_until": FakeClock().now()}
            connection.execute(conversations.update().where(here).values(**values))
        (turn,) = self._hears(attack, lead, **who)
        return turn

    def _hears(self, text: str, lead: int, **more: Any) -> list[int]:
        self.clock.advance(5)
        return self.receive(incoming(text, **self._new(lead), **more))

    def _left(self, turn: int, lead: int) -> Left:
        query = sa.select(attempts.c.findings).where(attempts.c.turn_id == turn)
        found = self.database.read_now(lambda connection: connection.scalars(query).all())
        (note,) = self.amocrm.notes(lead)
        text = note["params"]["text"].rpartition("\n\n[otvet:")[0]
        (reply,) = self.database.read_now(
            lambda connection: connection.execute(sa.select(turns.c.reply, turns.c.responder).where(turns.c.id == turn))
        )
        if reply.responder == TemplateResponder.name:  # the note tells staff what the client has not got
            text = reply.reply
        tasks = json.dumps([*self.amocrm.tasks(lead), note], ensure_ascii=False)
        return Left(self.outside.was_told(), text, tasks, {kind for some in found for kind, _ in some or ()})


@pytest.fixture(scope="module", params=[pytest.param("manus", marks=pytest.mark.slow), "openai"])
def outside(request: pytest.FixtureRequest) -> Iterator[Outside]:
    with manus_standin(limits={}) as manus, openai_standin() as openai:
        yield Outside(request.param, manus, openai)


def played(tmp_path_factory: pytest.TempPathFactory, outside: Outside, *, obeys: bool) -> list[Left]:
    with amocrm_standin() as amo:
        amo.any_lead, amo.rate = True, 100_000
        folder = tmp_path_factory.mktemp("shop")
        return Shop(folder, amo, outside).play([*ATTEMPTS, INNOCENT], obeys=obeys)


@pytest.fixture(scope="module")
def obeyed(tmp_path_factory: pytest.TempPathFactory, outside: Outside) -> list[Left]:
    return played(tmp_path_factory, outside, obeys=True)


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory, outside: Outside) -> list[Left]:
    return played(tmp_path_factory, outside, obeys=False)


each_attempt = every_of(enumerate(ATTEMPTS), "number, attempt")


def frame(prompt: str) -> str:
    """What of a prompt is ours: all that stands in no tag for what people wrote."""
    return OURS.sub(r"<\1/>", prompt)


def told_as(attack: str) -> str:
    """The words of an attempt as a model may see them."""
    masked, _ = Masker(b"key").mask(context(history=[("client", attack)]))
    return escape_for_prompt(masked.history[0].text.strip())


@each_attempt
def test_the_words_of_a_client_are_told_as_such(
    obeyed: list[Left], outside: Outside, number: int, attempt: Attempt
) -> None:
    attack = told_as(attempt["attack"])
    prompt, usual = obeyed[number].prompts[0], obeyed[-1].prompts[0]
    if outside.name == "manus":
        assert frame(prompt) == frame(usual)
        said = re.findall(r'<message from="client">(.*?)</message>', prompt, re.DOTALL)
        assert len(said) == 3
    else:
        assert [message["role"] for message in prompt] == [message["role"] for message in usual] == ["system", "user"]
        assert frame(prompt[0]["content"]) == frame(usual[0]["content"])
        said = [prompt[1]["content"]]
    assert said[-1].endswith(attack)
    assert "".join(said).count(attack) == 3
    assert not TAG.search("".join(said))


@each_attempt
def test_asked_once_more_they_still_are_no_orders(
    obeyed: list[Left], outside: Outside, number: int, attempt: Attempt
) -> None:
    attack, again = told_as(attempt["attack"]), obeyed[number].prompts[-1]
    if outside.name == "manus":
        assert attack not in frame(again)
    else:
        assert attack not in frame(again[0]["content"])
        assert "user" in {message["role"] for message in again if attack in message["content"]} <= {"system", "user"}


@each_attempt
def test_a_model_that_obeyed_is_not_heard(obeyed: list[Left], outside: Outside, number: int, attempt: Attempt) -> None:
    left = obeyed[number]
    assert not any(secret in json.dumps(left.prompts) + left.tasks for secret in SAMPLES["secrets"])
    if left.note == words_of(attempt["obeyed"]) != plain_text(attempt["obeyed"]):
        assert not TAG.search(left.note)  # our own tags are taken out, and what is left gives nothing away
        return
    assert left.note == translator(language_of(attempt["attack"]))(THANKS)
    if left.found:
        assert attempt["caught"] in left.found
        assert len(left.prompts) == 2  # it was asked once more
    else:
        assert outside.name == "manus"
        assert "manus" in attempt["obeyed"]  # a sentence that names it is no answer at all


@each_attempt
@pytest.mark.slow
def test_an_honest_answer_is_sent(answered: list[Left], number: int, attempt: Attempt) -> None:
    assert answered[number].note == HONEST[language_of(attempt["attack"])]
    assert answered[number].found == set()
