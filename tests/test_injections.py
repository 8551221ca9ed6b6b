"""Attempts to turn the assistant round: they stay data on the way out, and who obeyed is caught on the way back."""

import re
from typing import Any

from otvet.guard import guard
from otvet.guard.masking import Masker
from otvet.responders.base import Context
from otvet.responders.prompt import write_prompt
from otvet.responders.prompt_parts import escape_for_prompt
from tests.contexts import context, line
from tests.tables import every, table

SAMPLES = table("injections")

TAG = re.compile(r"<\s*[/!?]?\s*[A-Za-z]")


def turn(attack: str) -> Context:
    return context(
        SAMPLES["knowledge"],
        question=attack.replace("\n", " "),
        history=[("client", attack), ("assistant", "Здравствуйте! Чем помочь?")],
        instructions=SAMPLES["instructions"],
    )


def test_there_are_enough_attempts_in_both_languages() -> None:
    attacks = [attempt["attack"] for attempt in SAMPLES["attempts"]]
    assert len(attacks) >= 40
    assert sum(not re.search("[а-я]", attack) for attack in attacks) >= 8


@every("injections", "attempts", "attempt")
def test_an_attempt_stays_inside_the_tags_of_a_client_s_message(attempt: dict[str, Any]) -> None:
    attack = attempt["attack"]
    history = (line(attack), line("Чем помочь?", "assistant"))
    prompt = write_prompt(Context(1, 2, 3, history, (line(attack),), "ru", SAMPLES["instructions"]))
    inside = re.findall(r'<message from="client">(.*?)</message>\n', prompt, re.DOTALL)
    assert len(inside) == 2
    for text in inside:
        assert text == escape_for_prompt(attack).strip()
        assert not TAG.search(text)
    around = re.sub(r'<message from="client">.*?</message>\n', "", prompt, flags=re.DOTALL)
    assert attack not in around


@every("injections", "attempts", "attempt")
def test_a_reply_that_obeyed_is_caught(attempt: dict[str, Any]) -> None:
    said = turn(attempt["attack"])
    findings = guard.check(attempt["obeyed"], said, SAMPLES["secrets"])
    # What the cleaning of a model's text takes out is another finding than that of the guard behind it.
    assert attempt.get("by_guard", attempt["caught"]) in [finding.kind for finding in findings]


@every("injections", "attempts", "attempt")
def test_an_honest_reply_to_an_attempt_passes(attempt: dict[str, Any]) -> None:
    said = turn(attempt["attack"])
    honest = (
        "Хлопковый плед стоит 1 900 ₽, шерстяной — 4 600 ₽. Остальное уточнит менеджер: +7 (495) 120-33-44."
        if said.language == "ru"
        else "The cotton blanket is 1,900 rubles. A manager will clarify the rest: +7 495 120-33-44, example.ru."
    )
    assert guard.check(honest, said, SAMPLES["secrets"]) == []


@every("injections", "attempts", "attempt")
def test_an_attempt_is_masked_and_comes_back(attempt: dict[str, Any]) -> None:
    said = turn(attempt["attack"])
    masked, restorer = Masker(b"a secret").mask(said)
    assert restorer.restore(masked.question_text) == (said.question_text, ())
