"""The writing of a reply: who is asked, what is shown to whom, and what may leave."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from otvet.answering.writer import HIDDEN, Checks, ReplyWriter, Written
from otvet.app import wiring
from otvet.errors import StorageError
from otvet.guard.finding import Finding
from otvet.guard.masking import Masker
from otvet.responders.base import Attempt, Context, Line, Reply, ResponderError
from otvet.responders.chat.models import from_settings
from otvet.responders.template import NOTHING_TO_READ, TemplateResponder
from otvet.settings.settings import Settings
from otvet.storage.database import Database
from tests.attempts import Book
from tests.clocks import FakeClock
from tests.contexts import THEN, context, line

PHONE = "+7 912 345-67-89"
KNOWN = "Delivery in town costs 300 ₽."
INVENTED = "The delivery costs 777 ₽."
ASKED = context(KNOWN, question="How much is the delivery?")


class Writer:
    """A responder that writes one text after the other, the last one again and again; an exception is raised."""

    def __init__(self, name: str, *texts: str | BaseException, outside: bool = True, **details: Any) -> None:
        self.name = name
        self.outside = outside
        self.texts = list(texts)
        self.details = details
        self.told: list[Context] = []

    async def reply(self, told: Context, attempt: Attempt) -> Reply:
        self.told.append(told)
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        if isinstance(text, BaseException):
            raise text
        return Reply(text, self.name, details=self.details)


class Short:
    """A summariser that keeps what it was shown."""

    def __init__(self, text: str | Exception, name: str = "openai", **details: Any) -> None:
        self.name = name
        self.text = text
        self.details = details
        self.shown: list[tuple[Sequence[Line], str]] = []

    async def summarise(self, lines: Sequence[Line], before: str, language: str) -> Reply:
        self.shown.append((lines, before))
        if isinstance(self.text, Exception):
            raise self.text
        return Reply(self.text, self.name, details=self.details)


def write(*responders: Writer, told: Context = ASKED, book: Book | None = None, **how: Any) -> Written:
    """The reply of these responders, the template being the last; ``how`` is for ReplyWriter."""
    writing = ReplyWriter(responders, TemplateResponder(), **how)
    return asyncio.run(writing.write(told, book or Book()))


def test_the_first_that_has_a_reply_wins() -> None:
    book, second = Book(), Writer("openai", "second")
    written = write(Writer("manus", "The first one."), second, book=book)
    assert (written.reply.text, written.reply.responder) == ("The first one.", "manus")
    assert second.told == []
    assert book.outcomes == {("manus", 0): "replied"}


def test_the_next_is_asked_when_one_fails_and_the_reason_is_kept() -> None:
    book = Book()
    written = write(Writer("manus", ResponderError("no credits")), Writer("openai", "Gladly."), book=book)
    assert written.reply.responder == "openai"
    assert book.outcomes == {("manus", 0): "no credits", ("openai", 0): "replied"}


def test_who_has_spent_enough_is_passed_by_with_the_reason_kept() -> None:
    book, manus = Book(closed={("manus", 0): "spent"}), Writer("manus", "first")
    written = write(manus, Writer("openai", "Gladly."), book=book)
    assert written.reply.responder == "openai"
    assert manus.told == []
    assert book.outcomes[("manus", 0)] == "spent"


def test_who_has_spent_enough_by_its_first_writing_does_not_write_once_more() -> None:
    book, manus = Book(closed={("manus", 1): "spent"}), Writer("manus", INVENTED)
    written = write(manus, book=book)
    assert len(manus.told) == 1
    assert (written.draft, written.doubts) == (INVENTED, (Finding("price", "777 ₽"),))
    assert book.outcomes[("manus", 1)] == "spent"


def test_when_nobody_has_a_reply_the_template_has_one_and_nothing_was_doubted() -> None:
    written = write(Writer("manus", ResponderError("down")))
    assert (written.reply.responder, written.draft, written.doubts) == ("template", "", ())


def test_a_bug_in_a_responder_costs_its_own_reply_only() -> None:
    book = Book()
    written = write(Writer("manus", ZeroDivisionError("client's words")), Writer("openai", "Gladly."), book=book)
    assert written.reply.responder == "openai"
    assert book.outcomes[("manus", 0)] == "unexpected: ZeroDivisionError"


def test_a_database_that_fails_is_not_the_responders_fault() -> None:
    with pytest.raises(StorageError):
        write(Writer("manus", StorageError("full")), Writer("openai", "Gladly."))


def test_voice_alone_is_no_question_for_an_ai() -> None:
    manus = Writer("manus", "I heard it.")
    told = context(question="[voice message]")
    silent = Context(**{**_fields(told), "question": (Line("client", "[voice message]", THEN, words=False),)})
    assert write(manus, told=silent).reply.text == NOTHING_TO_READ
    assert manus.told == []


def _fields(told: Context) -> dict[str, Any]:
    return {name: getattr(told, name) for name in Context.__dataclass_fields__}


# Personal data


def test_outside_responders_see_no_personal_data_and_the_client_gets_it_back() -> None:
    class Echo(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            await super().reply(told, attempt)
            return Reply(f"Is it {told.question_text.split()[-1]}?", self.name)

    told = context(question=f"Call me: {PHONE}", history=[("client", f"I am {PHONE}"), ("assistant", "Good.")])
    echo = Echo("manus", "")
    written = write(echo, told=told, masker=Masker(b"key"))
    (seen,) = echo.told
    assert "345" not in repr(seen)
    assert "[PHONE_" in seen.question_text
    assert written.reply.text == f"Is it {PHONE}?"


@pytest.mark.parametrize("changed", ["[ТЕЛЕФОН_{code}]", "ТЕЛЕФОН_{code}", "[номер {code}]", "[PHONE{code}]", "{code}"])
def test_a_placeholder_in_a_model_s_own_words_is_put_back_too(changed: str) -> None:
    class Translator(Writer):
        async def reply(self, told: Context, attempt: Attempt) -> Reply:
            code = told.question_text.split()[-1].strip("[]").partition("_")[2]
            return Reply(f"Позвоним на {changed.format(code=code)}.", self.name)

    told = context(question=f"Мой номер {PHONE}")
    assert write(Translator("openai", ""), told=told, masker=Masker(b"key")).reply.text == f"Позвоним на {PHONE}."


def test_what_is_left_of_a_placeholder_does_not_leave() -> None:
    openai = Writer("openai", "Позвоним на [ТЕЛЕФОН].", "Позвоним.")
    written = write(openai, told=context(question=f"Мой номер {PHONE}"), masker=Masker(b"key"))
    assert written.reply.text == "Позвоним."
    assert len(openai.told) == 2


def test_a_local_responder_sees_it_plain() -> None:
    local = Writer("knowledge", "Good.", outside=False)
    write(local, told=context(question=f"Call me: {PHONE}"), masker=Masker(b"key"))
    assert PHONE in local.told[0].question_text


def test_without_a_masker_everybody_sees_it() -> None:
    manus = Writer("manus", "Good.")
    write(manus, told=context(question=f"Call me: {PHONE}"))
    assert PHONE in manus.told[0].question_text


def test_a_refused_draft_is_masked_again_when_it_is_shown() -> None:
    manus = Writer("manus", f"Call {PHONE}, it costs 777 ₽.", "Gladly.")
    write(manus, told=context(KNOWN, question=f"My number is {PHONE}. How much?"), masker=Masker(b"key"))
    again = manus.told[1]
    assert "777" in again.draft
    assert "345" not in repr(again)


# Facts


def test_an_invented_price_is_written_once_more_with_the_finding_and_the_draft() -> None:
    book, manus = Book(), Writer("manus", INVENTED, "The delivery costs 300 ₽.", credits=3)
    written = write(manus, book=book)
    assert written.reply.text == "The delivery costs 300 ₽."
    assert written.doubts == ()
    first, again = manus.told
    assert (first.draft, first.findings) == ("", ())
    assert again.draft == INVENTED
    assert "777 ₽" in again.findings[0]
    assert book.outcomes == {("manus", 0): "refused", ("manus", 1): "replied"}
    assert book.of("manus", 0).findings == (Finding("price", "777 ₽"),)
    assert [book.of("manus", writing).spent for writing in (0, 1)] == [3, 3]


def test_then_the_next_responder_is_asked_without_the_draft() -> None:
    manus, openai = Writer("manus", INVENTED), Writer("openai", "The delivery costs 300 ₽.")
    written = write(manus, openai)
    assert written.reply.responder == "openai"
    assert written.doubts == ()
    assert len(manus.told) == 2
    assert (openai.told[0].draft, openai.told[0].findings) == ("", ())


def test_in_the_end_the_template_answers_and_a_person_is_told_what_was_doubted() -> None:
    written = write(Writer("manus", INVENTED, "It costs 888 ₽."), Writer("openai", ResponderError("down")))
    assert written.reply.responder == "template"
    assert (written.draft, written.doubts) == ("It costs 888 ₽.", (Finding("price", "888 ₽"),))


def test_one_that_fails_when_it_writes_once_more_leaves_its_first_draft_to_the_person() -> None:
    written = write(Writer("manus", INVENTED, ResponderError("down")))
    assert (written.draft, written.doubts) == (INVENTED, (Finding("price", "777 ₽"),))


def test_a_draft_refused_before_a_crash_is_written_once_more_and_not_twice() -> None:
    book, manus = Book(), Writer("manus", "It costs 888 ₽.")
    asyncio.run(book.of("manus", 0).refuse(INVENTED, [Finding("price", "777 ₽")]))
    write(manus, book=book)
    assert [told.draft for told in manus.told] == [INVENTED]


def test_what_another_process_wrote_and_lost_is_written_again() -> None:
    book = Book()
    book.of("manus", 0).end("replied")
    assert write(Writer("manus", "Gladly."), book=book).reply.text == "Gladly."


def test_in_note_mode_it_is_sent_and_noted() -> None:
    manus = Writer("manus", INVENTED)
    written = write(manus, checks=Checks(guard="note"))
    assert written.reply.text == INVENTED
    assert written.reply.details["findings"] == [["price", "777 ₽"]]
    assert len(manus.told) == 1


def test_switched_off_it_is_sent_without_a_word() -> None:
    written = write(Writer("manus", INVENTED), checks=Checks(guard="off"))
    assert written.reply.text == INVENTED
    assert "findings" not in written.reply.details


def test_the_folders_own_words_are_not_doubted() -> None:
    assert write(Writer("knowledge", INVENTED, outside=False)).reply.responder == "knowledge"


# What gives something away

INSTRUCTIONS = (
    "You are the assistant of a shop for lamps. Be friendly, write short sentences, never speak about competitors, and"
    " offer the customer a visit to the showroom whenever that is possible at all."
)
LEAKS = {
    "instructions": f"My instructions are: {INSTRUCTIONS}",
    "secret": "The key is sk-live-0123456789abcdefgh.",
    "placeholder": "We will call [PHONE_Q1W2E3].",
    "tag": "Gladly. </question>",
    "empty": "…",
}


@pytest.mark.parametrize("guard", ["strict", "note", "off"])
@pytest.mark.parametrize("kind", LEAKS)
def test_what_gives_something_away_never_leaves(kind: str, guard: Any) -> None:
    told = context(KNOWN, question="How much?", instructions=INSTRUCTIONS)
    book, manus = Book(), Writer("manus", LEAKS[kind], "Gladly.")
    written = write(manus, told=told, book=book, checks=Checks(guard=guard), masker=Masker(b"key"))
    assert written.reply.text == "Gladly."
    assert kind in {finding.kind for finding in book.of("manus", 0).findings}
    assert "Write only words for the client" in " ".join(manus.told[1].findings)


def test_a_key_of_ours_is_neither_sent_nor_kept_nor_told_again() -> None:
    book, manus = Book(), Writer("manus", "It is hush-hush-hush.")
    written = write(manus, book=book, checks=Checks(secrets=("hush-hush-hush",)))
    assert written.reply.responder == "template"
    assert (written.draft, book.of("manus", 1).refused, manus.told[1].draft) == (HIDDEN,) * 3
    assert "hush" not in repr((written, [vars(one) for one in book.attempts], manus.told))


def test_the_finding_of_a_fact_and_of_a_leak_are_told_each_in_its_own_words() -> None:
    manus = Writer("manus", f"{INVENTED} </question>", "Gladly.")
    write(manus)
    facts, leaks = manus.told[1].findings
    assert "777 ₽" in facts
    assert "question" not in facts
    assert "777" not in leaks


def test_a_long_reply_is_cut_at_the_end_of_a_sentence() -> None:
    written = write(Writer("manus", f"  {'Yes, gladly. ' * 20}"), checks=Checks(limit=100))
    assert written.reply.text == ("Yes, gladly. " * 7).strip()


@pytest.mark.parametrize("sign", ["\ud83d", "\x00", "\x1b", "\r"])
def test_what_no_database_and_no_terminal_takes_is_left_out(sign: str) -> None:
    assert write(Writer("manus", f"Yes,{sign}\ngladly 🙂{sign}.")).reply.text == "Yes,\ngladly 🙂."
    assert summarise(Short(f"Short{sign}.")) == "Short."


# What a reply rests on


def test_a_reply_names_the_passages_that_were_told() -> None:
    written = write(Writer("manus", "Gladly.", seconds=1))
    assert written.reply.details == {"seconds": 1, "passages": [{"file": "file.md", "heading": "Passage"}]}


def test_who_had_no_room_for_a_passage_says_so_itself() -> None:
    assert write(Writer("openai", "Gladly.", passages=[])).reply.details["passages"] == []


class Failing(Writer):
    """Has no reply, remembers this, and says that it cost so much."""

    async def reply(self, told: Context, attempt: Attempt) -> Reply:
        await attempt.remember(**self.details["facts"])
        error = ResponderError("no reply")
        error.spent = self.details.get("spent", 0)
        raise error


@pytest.mark.parametrize(
    ("name", "facts", "spent", "counted"),
    [
        ("manus", {"task": "t-1", "credits": 7}, 0, 7),
        ("manus", {"task": "t-1"}, 0, None),  # it was asked, and nobody knows what that cost
        ("manus", {"asking": "create", "task": None}, 0, None),
        ("manus", {"asking": None, "task": None, "round": "x"}, 0, 0),  # it was not taken
        ("openai", {}, 0, 0),
        ("openai", {}, 5000, 5000),
    ],
)
def test_what_a_question_without_a_reply_cost(
    name: str, facts: dict[str, Any], spent: int, counted: int | None
) -> None:
    book = Book()
    write(Failing(name, "", facts=facts, spent=spent), book=book)
    assert book.of(name, 0).spent == counted


def test_what_a_reply_cost_is_not_known_where_nobody_tells() -> None:
    book = Book()
    write(Writer("manus", "Gladly.", seconds=1), book=book)
    assert book.of("manus", 0).spent is None
    write(Writer("openai", ZeroDivisionError()), book=book)
    assert book.of("openai", 0).spent is None


# Summaries


def summarise(
    summariser: Short | None = None, before: str = "", masker: Masker | None = None, book: Book | None = None
) -> str:
    writing = ReplyWriter([], TemplateResponder(), summariser=summariser, masker=masker)
    return asyncio.run(writing.summarise([line(f"My number is {PHONE}")], before, "en", book or Book()))


def test_a_summariser_sees_masked_words_and_its_summary_has_them_plain() -> None:
    class Echo(Short):
        async def summarise(self, lines: Sequence[Line], before: str, language: str) -> Reply:
            await super().summarise(lines, before, language)
            return Reply(f"{before} / {lines[0].text}", self.name)

    echo = Echo("")
    summary = summarise(echo, before=f"Called from {PHONE}", masker=Masker(b"key"))
    assert "345" not in repr(echo.shown)
    assert summary == f"Called from {PHONE} / My number is {PHONE}"


DIGEST = f"Before.\nclient: My number is {PHONE}"


@pytest.mark.parametrize("text", [ResponderError("down"), KeyError("client's words"), "", " \n"])
def test_without_a_summary_a_digest_stands_for_it(text: str | Exception) -> None:
    assert summarise(before="Before.") == DIGEST
    assert summarise(Short(text), before="Before.") == DIGEST


def test_a_summary_is_within_the_ceiling_and_its_cost_is_kept() -> None:
    closed, book = Book(closed={("openai", 0): "spent"}), Book()
    short = Short("In short.", tokens=70)
    assert summarise(short, before="Before.", book=closed) == DIGEST
    assert (short.shown, closed.outcomes) == ([], {("openai", 0): "spent"})
    assert summarise(short, book=book) == "In short."
    assert book.outcomes == {("openai", 0): "replied"}
    assert book.of("openai").spent == 70


@pytest.mark.parametrize("garbled", ["He left [PHONE_7K3Q9M].", "Он оставил [ТЕЛЕФОН].", "He left PHONE_7K3Q."])
def test_a_summary_with_a_placeholder_that_stands_for_nothing_is_not_kept(garbled: str) -> None:
    book = Book()
    assert summarise(Short(garbled, tokens=70), masker=Masker(b"key"), book=book) == f"client: My number is {PHONE}"
    assert book.of("openai").spent == 70


def settings(folder: Path, **more: Any) -> Settings:
    fields = {"knowledge_dir": folder, "openai_base_url": "http://127.0.0.1:9", "openai_model": "m", **more}
    return Settings(_env_file=None, **fields)


@pytest.mark.parametrize(
    ("responders", "summariser"),
    [
        ("manus,openai,knowledge", "openai"),
        ("openai", "openai"),
        ("manus,knowledge", None),
    ],
)
def test_the_model_writes_summaries_through_its_own_circuit_where_it_is_among_the_responders(
    tmp_path: Path, database: Database, responders: str, summariser: str | None
) -> None:
    async def writing() -> ReplyWriter:
        chosen, clock = settings(tmp_path, responders=responders, manus_api_key="key"), FakeClock()
        async with httpx2.AsyncClient() as http:
            return wiring.writers(chosen, clock, http, database, from_settings(chosen, clock)).writer

    made = asyncio.run(writing())
    assert [one.name for one in made.responders] == responders.split(",")
    assert made._summariser is {one.name: one for one in made.responders}.get(summariser)
