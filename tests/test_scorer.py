"""What learned weights tell: wordings that nobody listed, why, and that the stored weights are of the sentences."""

import json
from pathlib import Path

import pytest
from evals import fit, meaning

from otvet.meaning import person
from otvet.meaning.person import asks_for_person
from otvet.meaning.promises import Promise, promise_of
from otvet.meaning.scorer import BUCKETS, UNIT, Scorer, buckets_of
from otvet.meaning.temper import is_angry
from tests.tables import every


@every("scorer", "asks", "text")
def test_who_asks_for_a_person_in_words_that_no_sentence_has_is_heard(text: str) -> None:
    assert asks_for_person(text)


@every("scorer", "others", "text")
def test_the_same_words_about_other_things_are_no_wish_for_one(text: str) -> None:
    assert not asks_for_person(text)


@every("scorer", "angry", "text")
def test_a_complaint_about_anything_is_noticed(text: str) -> None:
    assert is_angry(text)


@every("scorer", "calm", "text")
def test_a_question_about_the_same_is_no_complaint(text: str) -> None:
    assert not is_angry(text)


@every("scorer", "promises", "draft, right")
def test_a_deed_a_hand_off_and_a_fact_are_told_apart(draft: str, right: str) -> None:
    assert promise_of(draft) is Promise(right)


def test_what_one_of_several_sentences_says_is_not_thinned() -> None:
    around = "Здравствуйте. Плед серый, 140 на 200, хлопок. Доставка до двери. Оплата картой при получении. "
    ask = f"{around}Пусть портной мне перезвонит. {around}"
    assert person.SCORER.highest(ask) > person.SCORER.score(ask)
    assert asks_for_person(ask)
    assert not asks_for_person(around)


def test_what_decided_can_be_told() -> None:
    reasons = dict(person.SCORER.reasons("соедините с живым мастером"))
    assert reasons["#CONNECT"] > 0
    assert len(reasons) == 5


def test_weights_part_what_they_are_fitted_to(tmp_path: Path) -> None:
    lexicon = person.SCORER.lexicon
    told = {"красный": True, "красная": True, "синий": False, "синяя": False}
    stored = fit.fit([(buckets_of(text, lexicon), has) for text, has in told.items()])
    assert len(stored) == BUCKETS
    file = tmp_path / "colour.weights"
    file.write_bytes(stored)
    scorer = Scorer(lexicon, file)
    assert all((scorer.score(text) > 0) is has for text, has in told.items())
    assert scorer.score("красного") > 0 > scorer.score("синего"), "a form that was never seen"
    assert scorer.reasons("x", most=1)[0][1] % UNIT == 0


@pytest.mark.parametrize(
    "task",
    [pytest.param(task, marks=[pytest.mark.slow] if task.meaning != "refuse" else []) for task in fit.TASKS],
    ids=lambda task: task.meaning,
)
def test_the_stored_weights_are_those_of_the_sentences(task: fit.Task) -> None:
    assert fit.weights(task) == task.scorer.file.read_bytes(), "run: make weights"


def test_an_author_is_judged_by_weights_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {
        "one": {"handoff": ["Спрошу и отвечу."], "refuse": ["Записал вас."], "fine": ["Цена 5 ₽."]},
        "other": {"handoff": ["Цена 5 ₽."], "refuse": ["Записал вас."], "fine": ["Спрошу и отвечу."]},
    }
    (tmp_path / "promises.json").write_text(json.dumps({"sets": sets}), "utf-8")
    monkeypatch.setattr(meaning, "FOLDER", tmp_path)
    monkeypatch.setattr(fit, "KINDS", [kind for kind in meaning.KINDS if kind.name == "promises"])
    try:
        counts = {author: count for _kind, author, count in fit.left_out()}
    finally:
        for task in fit.TASKS:
            task.scorer.load(task.scorer.file.read_bytes())
    assert [(count.caught, count.alarms) for count in counts.values()] == [(1, 1), (1, 1)]
