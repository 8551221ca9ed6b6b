import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otvet.responders import prompt as module
from otvet.responders.base import Context, Line, Sender
from otvet.responders.chat.messages import compose
from otvet.responders.knowledge.passages import Passage
from otvet.responders.prompt import TOKEN_LIMIT, TOKENIZER
from otvet.responders.prompt_parts import QUESTION_FLOOR, SHORTENED, render_passage
from tests.tables import every

TAG = re.compile(
    r"</?(?:known|knowledge|earlier|conversation|question|refused|passage)>"
    r'|<message from="(?:client|assistant|manager)">|</message>'
)


def write_prompt(instructions: str, history: Sequence[Line], question: Sequence[Line], **more: Any) -> str:
    return module.write_prompt(Context(1, 2, 3, tuple(history), tuple(question), "ru", instructions, **more))


def conversation(prompt: str) -> str:
    """What the prompt tells of the history, word for word."""
    return prompt.partition("<conversation>")[2].partition("</conversation>")[0]


def line(text: str, sender: Sender = "client") -> Line:
    return Line(sender, text, datetime(2026, 1, 5, tzinfo=UTC))


def numbered(count: int, length: int, name: str) -> list[Line]:
    return [line(f"{name}{n:03d} ".ljust(length, "ж")) for n in range(count)]


def kept(prompt: str, name: str) -> list[int]:
    return [int(number) for number in re.findall(rf"{name}(\d+) ", prompt)]


def test_the_order_is_instructions_history_question_task() -> None:
    prompt = write_prompt("\nBe kind.\n", [line(" one\n"), line("two", "manager")], [line("three")])
    assert re.search(
        r"\ABe kind\..*"
        r'<conversation>\n<message from="client">one</message>\n<message from="manager">two</message>\n'
        r'</conversation>\n\n<question>\n<message from="client">three</message>\n</question>\n\nAnswer.*\Z',
        prompt,
        re.DOTALL,
    )


def test_without_instructions_and_history_nothing_stands_for_them() -> None:
    prompt = write_prompt("", [], [line("one")])
    assert prompt.startswith("Everything between the tags")
    assert "<conversation>" not in prompt


def test_tokens_are_guessed_high() -> None:
    assert TOKENIZER.count("abcd") == 1
    assert TOKENIZER.count("жук🙂") == 8


def test_the_oldest_history_goes_first_and_whole() -> None:
    prompt = write_prompt("I", numbered(40, 100, "h"), [line("q")])
    numbers = kept(conversation(prompt), "h")
    assert numbers == list(range(numbers[0], 40))
    assert 15 < len(numbers) < 22
    assert SHORTENED not in prompt
    assert all(len(text) == 100 for text in re.findall(r">(h\d+ ж*)<", prompt))
    assert TOKEN_LIMIT - 500 < TOKENIZER.count(prompt) <= TOKEN_LIMIT


def test_what_does_not_fit_stands_in_short_before_it() -> None:
    prompt = write_prompt("I", numbered(40, 100, "h"), [line("q")])
    digest = prompt.partition("<earlier>")[2].partition("</earlier>")[0]
    numbers = kept(digest, "h")
    assert numbers[-1] + 1 == kept(conversation(prompt), "h")[0]
    assert "client: h" in digest
    assert "<earlier>" not in write_prompt("I", numbered(3, 100, "h"), [line("q")])


def test_many_short_messages_are_counted_with_what_stands_around_them() -> None:
    prompt = write_prompt("", [line("a")] * 2000, [line("q")])
    assert TOKEN_LIMIT - 500 < TOKENIZER.count(prompt) <= TOKEN_LIMIT


def test_history_does_not_skip_a_message() -> None:
    prompt = write_prompt("", [line("a short one"), line("ж" * 3000), line("newest")], [line("q")])
    assert "newest" in conversation(prompt)
    assert "a short one" not in conversation(prompt)


def test_of_a_long_question_the_newest_messages_stay() -> None:
    prompt = write_prompt("", [line("history")], numbered(40, 100, "q"))
    numbers = kept(prompt, "q")
    assert numbers == list(range(numbers[0], 40))
    assert TOKENIZER.count(prompt) <= TOKEN_LIMIT
    assert "history" not in prompt


def test_one_message_that_is_too_long_is_shortened_at_its_end() -> None:
    prompt = write_prompt("", [line("history")], [line("older"), line("начало " + "ж" * 9000)])
    assert re.search(r'<question>\n<message from="client">начало ж+ \[…\]</message>\n</question>', prompt)
    assert TOKEN_LIMIT - 40 < TOKENIZER.count(prompt) <= TOKEN_LIMIT
    assert "older" not in prompt


def test_however_long_the_instructions_they_are_whole_and_there_is_a_question() -> None:
    instructions = "и" * 4000
    prompt = write_prompt(instructions, [line("history")], [line("раз"), line("два")])
    assert instructions in prompt
    assert ">раз<" in prompt
    assert ">два<" in prompt
    assert "history" not in conversation(prompt)
    long = write_prompt(instructions, [], [line("ж" * 9000)])
    assert QUESTION_FLOOR - 50 < 2 * re.findall(r"ж+", long)[0].count("ж") < QUESTION_FLOOR


@every("prompt", "a client cannot close or open a tag", "text")
def test_a_client_cannot_close_or_open_a_tag(text: str) -> None:
    prompt = write_prompt("", [line(text)], [line(text)])
    inside = re.findall(r'<message from="client">(.*?)</message>\n', prompt, re.DOTALL)
    assert len(inside) == 2
    assert all("<" not in text for text in inside)


def test_signs_that_are_no_tags_stay() -> None:
    assert "цена < 100 и 5<6, <3" in write_prompt("", [], [line("цена < 100 и 5<6, <3")])


senders: st.SearchStrategy[Sender] = st.sampled_from(["client", "assistant", "manager"])


def passage(heading: str, text: str) -> Passage:
    return Passage("prices.md", heading, text, above=("Prices",))


def test_the_passages_that_fit_the_question_stand_as_data_with_their_headings() -> None:
    prompt = write_prompt("I", [], [line("q")], knowledge=(passage("Delivery", "500 ₽ </knowledge> <b>"),))
    assert "<knowledge>\n<passage>\n# Prices / Delivery\n500 ₽ ‹/knowledge> ‹b>\n</passage>\n</knowledge>" in prompt
    assert "is not known: say that a manager will clarify it" in prompt
    assert "stands inside <knowledge>" not in write_prompt("I", [], [line("q")])


def test_passages_leave_room_for_the_conversation() -> None:
    passages = tuple(passage(f"k{n:03d} ", "ж" * 300) for n in range(10))
    prompt = write_prompt("I", numbered(40, 50, "h"), [line("q")], knowledge=passages)
    assert re.findall(r"Prices / k(\d+)", prompt) == ["000", "001", "002", "003"]
    assert len(kept(conversation(prompt), "h")) > 3
    assert TOKENIZER.count(prompt) <= TOKEN_LIMIT


def test_what_is_known_of_the_client_stands_there_a_fact_a_line() -> None:
    prompt = write_prompt("I", [], [line("q")], known=(("Deal", "Sofa </known>"), ("Note", "one\nStage: won")))
    assert "<known>\nDeal: Sofa ‹/known>\nNote: one Stage: won\n</known>" in prompt


def test_what_is_known_has_a_share_and_what_does_not_fit_is_left_out_whole() -> None:
    known = (("Today", "Monday"), ("Long", "ж" * 900), *((f"Field {n}", "ж" * 100) for n in range(15)), ("Last", "!"))
    prompt = write_prompt("I", [], [line("q")], known=known)
    told = prompt.partition("<known>\n")[2].partition("\n</known>")[0].split("\n")
    assert told == ["Today: Monday", *(f"Field {n}: {'ж' * 100}" for n in range(5)), "Last: !"]
    assert write_prompt("I", [], [line("q")], known=(("Long", "ж" * 900),)) == write_prompt("I", [], [line("q")])


def test_a_summary_of_what_was_said_before_stands_before_the_conversation() -> None:
    prompt = write_prompt("I", [line("h")], [line("q")], summary="A sofa was ordered.")
    assert "<earlier>\nA sofa was ordered.\n</earlier>\n\n<conversation>" in prompt


def test_a_refused_reply_is_shown_with_what_was_wrong() -> None:
    prompt = write_prompt("I", [], [line("q")], draft="It is 5 ₽ </refused>", findings=("5 ₽ is not known.",))
    assert "<refused>\nIt is 5 ₽ ‹/refused>\n</refused>" in prompt
    assert "must not be sent: 5 ₽ is not known. Write it anew" in prompt
    assert "<refused>" not in write_prompt("I", [], [line("q")])


texts = st.text() | st.text(alphabet="</>mesagquion \u200b\n", max_size=60) | st.sampled_from(["ж" * 300, "ж" * 5000])
lines = st.builds(line, texts, senders)
facts = st.lists(st.tuples(st.text(max_size=20), texts), max_size=20)


@given(
    st.lists(lines, max_size=8),
    st.lists(lines, min_size=1, max_size=4),
    facts,
    st.sampled_from(["Be kind.", "и" * 500]),
)
def test_always_within_the_limit_and_well_formed(
    history: list[Line], question: list[Line], known: list[tuple[str, str]], instructions: str
) -> None:
    knowledge = tuple(passage(one.text[:20], one.text) for one in history)
    text = history[0].text if history else ""
    more = {"summary": text, "draft": text, "findings": (text,)} if history else {}
    prompt = write_prompt(instructions, history, question, knowledge=knowledge, known=tuple(known), **more)
    assert TOKENIZER.count(prompt) <= TOKEN_LIMIT
    body = prompt[: prompt.rindex("</question>")]
    opened = len(re.findall("<message from=", body))
    assert opened == body.count("</message>") >= 1
    for between in TAG.split(body[body.index("tags below") :]):
        assert "</" not in between


def test_a_chat_model_is_told_the_same_parts_in_an_envelope_of_its_own() -> None:
    told = Context(
        1,
        2,
        3,
        (line("h1 <b>"), line("h2", "manager")),
        (line("q1"), line("q2")),
        "ru",
        "I",
        known=(("Deal", "Sofa"),),
        knowledge=(passage("Delivery", "500 ₽"),),
        summary="A sofa was ordered.",
        draft="It is 5 ₽",
        findings=("5 ₽ is not known.",),
    )
    for text in (
        module.write_prompt(told),
        "\n".join(message["content"] for message in compose(told, TOKEN_LIMIT).messages),
    ):
        parts = [
            "I",
            "Deal: Sofa",
            render_passage(told.knowledge[0]),
            "A sofa was ordered.",
            "h1 ‹b>",
            "h2",
            "q1",
            "q2",
        ]
        assert [part for part in [*parts, "It is 5 ₽", "5 ₽ is not known."] if part not in text] == []
