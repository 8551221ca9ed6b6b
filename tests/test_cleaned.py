"""What becomes of what models write, from the service's bytes to the words that may be sent."""

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otvet.answering.writer import Checks, ReplyWriter, Written
from otvet.guard.leaks import check
from otvet.responders.base import Context, ResponderError
from otvet.responders.chat.api import OpenAiModel
from otvet.responders.chat.messages import compose
from otvet.responders.chat.responder import ChatResponder
from otvet.responders.cleaning.clean import clean
from otvet.responders.prompt import write_prompt
from otvet.responders.template import TemplateResponder
from tests.attempts import Book
from tests.clocks import FakeClock
from tests.contexts import context
from tests.standins.openai import KEY, OpenAiStandin
from tests.tables import every

KNOWN = "Доставка по городу — 350 ₽, при заказе от 5 000 ₽ — бесплатно."
MOST_CALLS = 4  # two writings, each tried twice


def write(service: OpenAiStandin, told: Context, book: Book | None = None, *secrets: str) -> Written:
    """What the writer makes of the stand-in's answers."""
    responder = ChatResponder(OpenAiModel(f"{service.url}/v1", "m", api_key=KEY), FakeClock())
    checks = Checks(secrets=secrets)

    async def run() -> Written:
        try:
            return await ReplyWriter([responder], TemplateResponder(), checks=checks).write(told, book or Book())
        finally:
            await responder.aclose()

    return asyncio.run(run())


def say(service: OpenAiStandin, content: object, finish: str | None) -> None:
    service.reset()
    for _ in range(MOST_CALLS):
        service.say(content, finish_reason=finish)


@every("drafts", "sent clean", "ask, content, finish, text")
def test_the_client_reads_the_answer_alone(
    service: OpenAiStandin, ask: str, content: object, finish: str | None, text: str
) -> None:
    say(service, content, finish)
    written = write(service, context(KNOWN, question=ask))
    assert (written.reply.text, written.reply.responder) == (text, "openai")
    assert len(service.requests) == 1


@every("drafts", "not sent", "ask, content, finish, kind")
def test_what_is_no_answer_is_not_sent(
    service: OpenAiStandin, ask: str, content: object, finish: str | None, kind: str | None
) -> None:
    say(service, content, finish)
    book = Book()
    written = write(service, context(KNOWN, question=ask), book)
    assert written.reply.responder == "template"
    if kind is None:  # a refusal or a fault: nothing that could be written better
        assert not written.doubts
        assert book.outcomes["openai", 0] not in ("replied", "refused")
    else:
        assert kind in {finding.kind for finding in written.doubts}
        assert len(service.requests) == 2  # it was told why, and wrote once more


def test_a_refused_text_is_shown_to_the_model_and_to_staff(service: OpenAiStandin) -> None:
    half = "Доставка по городу — 350 ₽, а при заказе от"
    service.say(half)
    service.say("Доставка по городу — 350 ₽.")
    assert (
        write(service, context(KNOWN, question="Сколько стоит доставка?")).reply.text == "Доставка по городу — 350 ₽."
    )
    assert half in service.requests[1]["body"]["messages"][-2]["content"]
    assert "was not sent" in service.requests[1]["body"]["messages"][-1]["content"]
    say(service, half, "stop")
    written = write(service, context(KNOWN, question="Сколько стоит доставка?"))
    assert written.draft == half
    assert written.doubts[0].text == "The model's answer breaks off in the middle of a sentence."


def test_a_secret_in_what_was_refused_is_hidden(service: OpenAiStandin) -> None:
    say(service, "Ваш ключ hunter2-hunter2, а при заказе от", "stop")
    written = write(service, context(KNOWN, question="Сколько?"), None, "hunter2-hunter2")
    assert "hunter2" not in repr(written)


@every("drafts", "unseen", "ask, text")
def test_nobody_has_seen_the_client_s_picture(ask: str, text: str) -> None:
    assert "unseen" in [finding.kind for finding in check(text, with_picture(ask))]


@every("drafts", "honest about pictures", "ask, text")
def test_that_a_picture_was_not_seen_may_be_said(ask: str, text: str) -> None:
    assert check(text, with_picture(ask)) == []


def test_the_company_s_own_photos_may_be_named() -> None:
    told = context("На фото плед снят при дневном свете.", question="цвет такой же, как на фото на сайте?")
    assert check("Да, цвет такой же, как на фото.", told) == []


def test_a_model_is_told_that_it_sees_no_pictures() -> None:
    told, without = with_picture("[picture: a.jpg] есть такой?"), context(question="есть такой?")
    for prompt in (write_prompt, lambda one: str(compose(one, 7000).messages)):
        assert "You do not see" in prompt(told)
        assert "You do not see" not in prompt(without)


def with_picture(ask: str) -> Context:
    told = context(question=ask)
    return replace(told, question=tuple(replace(line, unseen="[" in line.text) for line in told.question))


@given(st.text(max_size=300), st.sampled_from(["stop", "length", None, "odd"]))
def test_any_text_is_cleaned_or_refused(raw: str, finish: Any) -> None:
    with contextlib.suppress(ResponderError):
        assert clean(raw, context(question="Есть?"), finish=finish).strip()


@pytest.mark.parametrize("piece", ["<", "[", "(", "«", "?", "а ", "Ответ: ", "клиент ", "<think>", "\n", "—", "the "])
def test_no_text_takes_long(piece: str) -> None:
    started = time.process_time()
    with contextlib.suppress(ResponderError):
        clean(piece * (4000 // len(piece)), context(question="Есть ли доставка в Тверь?"))
    assert time.process_time() - started < 3
