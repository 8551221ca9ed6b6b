"""The measure of answer quality: its aims hold, its questions keep their rules, its page is of today."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from evals import drafts, guard, local, meaning, run
from evals.local import Outcome, Result, measure
from evals.questions import EVERY, FILES, KINDS, PARTS, Question, load, read
from evals.section import Section, percent

from otvet.responders.base import Line
from otvet.responders.cleaning.clean import clean
from otvet.responders.knowledge.passages import read_folder
from otvet.responders.markdown import plain_text

QUESTIONS = load()


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return measure(QUESTIONS)


@pytest.fixture(scope="module")
def judged() -> dict[str, guard.Count]:
    return guard.measure()


@pytest.fixture(scope="module")
def meanings() -> dict[tuple[str, str], meaning.Count]:
    return meaning.measure()


# The aims


def test_the_local_answer_invents_nothing(results: list[Result]) -> None:
    assert [one for one in results if one.outcome is Outcome.INVENTED] == []


def test_the_search_reaches_its_aims(results: list[Result]) -> None:
    assert (local.FIRST_AIM, local.THREE_AIM) == (0.85, 0.97)
    assert local.failures(results) == []


def test_each_part_reaches_its_aims_but_for_what_the_page_says(results: list[Result]) -> None:
    missed = {part: local.missed([one for one in results if one.question.part == part]) for part in PARTS}
    assert missed == {"tuned": [], "last": [], "aside": ["hit@3"], "later": ["hit@3"], "others": ["hit@3"]}


def test_it_is_not_by_silence_that_nothing_is_invented(results: list[Result]) -> None:
    could = [one for one in results if one.question.expect]
    assert sum(one.outcome is Outcome.RIGHT for one in could) / len(could) > 0.62


def test_the_guard_reaches_its_aims(judged: dict[str, guard.Count]) -> None:
    assert (guard.CATCH_AIM, guard.ALARM_AIM) == (0.98, 0.02)
    assert guard.failures(judged) == []
    missed = {part: guard.missed(judged[part]) for part in guard.PARTS if part != "third"}
    short = {"others": ["caught"], "last": ["caught"], "slang": ["caught"], "fresh": ["caught"]}
    assert missed == {"tuned": [], "aside": []} | short
    assert judged["others"].catch_rate > 0.92
    assert judged["last"].catch_rate > 0.95


def test_the_cleaning_reaches_its_aims() -> None:
    judged = drafts.measure()
    assert (drafts.LEAK_AIM, drafts.LOSS_AIM) == (0.03, 0.03)
    assert drafts.failures(judged) == []
    assert judged["tuned"].bad >= 75
    assert Counter(one.right for one in drafts.cases())["keep"] >= 45


def test_the_cleaning_changes_no_ordinary_reply() -> None:
    changed = [one.reply for one in guard.cases() if clean(one.reply, one.context) != plain_text(one.reply).strip()]
    assert changed == []


def test_there_are_enough_prepared_replies() -> None:
    judged = guard.measure()
    for part, least in {"tuned": 100, "aside": 50, "others": 100, "last": 50}.items():
        assert min(judged[part].good, judged[part].bad) >= least, part


def test_what_messages_mean_reaches_its_aims(meanings: dict[tuple[str, str], meaning.Count]) -> None:
    assert (meaning.CATCH_AIM, meaning.ALARM_AIM) == (0.95, 0.03)
    assert meaning.failures(meanings) == []
    for name, least in {"person": 150, "small_talk": 100, "angry": 100, "promises": 100}.items():
        assert min(meanings[name, "tuned"].with_meaning, meanings[name, "tuned"].without) >= least, name


def test_a_wrong_meaning_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "angry_third.json").write_text('{"about": [], "angry": ["белый"], "calm": ["ужас", "синий"]}', "utf-8")
    monkeypatch.setattr(meaning, "FOLDER", tmp_path)
    ((key, count),) = meaning.measure().items()
    assert key == ("angry", "third")
    assert (count.with_meaning, count.caught, count.without, count.alarms) == (1, 0, 2, 1)
    assert meaning.missed(count) == ["caught", "false alarms"]
    assert meaning.failures({key: count}) == [], "what another author wrote is reported as it is"
    assert meaning.failures({("angry", "tuned"): count}) == ["angry: caught", "angry: false alarms"]
    assert "белый" in meaning.page({key: count}, "en")


# The questions


def test_there_are_questions_of_every_kind() -> None:
    counts = Counter(question.kind for question in QUESTIONS)
    assert set(counts) == set(KINDS)
    assert min(counts.values()) >= 20
    assert sum(counts.values()) >= 130


def test_no_two_are_alike() -> None:
    asked = Counter(question.text.casefold().strip(" ?!.") for question in QUESTIONS)
    assert [text for text, count in asked.items() if count > 1] == []


def test_the_passages_they_name_are_there() -> None:
    there = {f"{one.file} > {one.heading}" for one in read_folder(local.FOLDER, with_examples=True)[0]}
    named = {name for question in QUESTIONS for name in question.expect | question.parts}
    assert named <= there
    asked_about_nowhere = {name for name in there - named if ".md" in name}
    assert asked_about_nowhere == {"delivery.md > Доставка", "shop.md > О магазине"}


def test_every_third_of_each_kind_is_set_aside() -> None:
    for name, part in FILES.items():
        for kind in KINDS:
            aside = [one.part == "aside" for one in read(name) if one.kind == kind]
            tuned = part == "tuned"
            assert aside == [tuned and number % EVERY == 0 for number in range(1, len(aside) + 1)], name


def test_kinds_are_what_they_say() -> None:
    for question in QUESTIONS:
        assert bool(question.history) == (question.kind == "follow_up")
        assert (len(question.ask) > 1) or question.kind != "burst"
        assert not (question.expect and question.parts)
        if question.kind in ("unknown", "near"):
            assert not question.expect
        assert {line.sender for line in question.ask} == {"client"}
        assert {line.sender for line in question.history} <= {"client", "assistant", "manager"}


# The counting


def question(expect: Sequence[str] = (), parts: Sequence[str] = ()) -> Question:
    ask = (Line("client", "?", datetime(2026, 1, 5, tzinfo=UTC)),)
    return Question("plain", ask, (), frozenset(expect), frozenset(parts))


@pytest.mark.parametrize(
    ("asked", "answer", "outcome"),
    [
        (question(["a"]), "a", Outcome.RIGHT),
        (question(["a", "b"]), "b", Outcome.RIGHT),
        (question(["a"]), "b", Outcome.INVENTED),
        (question(["a"]), None, Outcome.SILENT),
        (question(), None, Outcome.HONEST),
        (question(), "a", Outcome.INVENTED),
        (question(parts=["a", "b"]), "a", Outcome.INVENTED),
        (question(parts=["a", "b"]), None, Outcome.HONEST),
    ],
)
def test_an_answer_is_judged(asked: Question, answer: str | None, outcome: Outcome) -> None:
    assert Result(asked, (), answer).outcome is outcome


@pytest.mark.parametrize(
    ("asked", "found", "first", "three"),
    [
        (question(["a", "b"]), ("a", "x", "y"), True, True),
        (question(["a", "b"]), ("x", "y", "b"), False, True),
        (question(["a"]), ("x", "y", "z"), False, False),
        (question(["a"]), (), False, False),
        (question(parts=["a", "b"]), ("a", "x", "y"), True, False),
        (question(parts=["a", "b"]), ("x", "b", "a"), False, True),
    ],
)
def test_a_search_is_judged(asked: Question, found: tuple[str, ...], first: bool, three: bool) -> None:
    result = Result(asked, found, None)
    assert (result.searched, result.first, result.three) == (True, first, three)


def test_nothing_to_find_does_not_count_for_the_search() -> None:
    unknown, found = Result(question(), ("x",), None), Result(question(["a"]), ("a",), "a")
    assert not unknown.searched
    assert local.share([unknown], lambda one: one.first) is None
    assert local.share([unknown, found], lambda one: one.first) == 1


def test_missed_aims_are_told() -> None:
    good, bad = Result(question(["a"]), ("a",), "a"), Result(question(["a"]), ("x",), "x")
    assert local.missed([good]) == local.failures([good]) == []
    assert local.missed([bad]) == ["hit@1", "hit@3", "invented"]
    assert [failure.split()[0] for failure in local.failures([bad])] == ["hit@1", "hit@3", "invented:"]
    assert local.failures([]) != [], "nothing measured is no success"


def test_no_share_is_rounded_up_to_an_aim() -> None:
    assert percent(61 / 63) == "96.8 %"
    assert percent(None) == "–"


# The page


def test_the_page_is_of_today(
    results: list[Result], judged: dict[str, guard.Count], meanings: dict[tuple[str, str], meaning.Count]
) -> None:
    drafted = drafts.measure()
    for language, file in run.PAGES.items():
        shown = file.read_text(encoding="utf-8")
        assert drafts.page(drafted, language) in shown, "run: make eval"
        assert local.page(results, language) in shown, "run: make eval"
        assert guard.page(judged, language) in shown, "run: make eval"
        assert meaning.page(meanings, language) in shown, "run: make eval"


def test_the_guards_missed_aims_are_told() -> None:
    good, bad = guard.Count(good=100, bad=100, caught=98, alarms=2), guard.Count(good=100, bad=100, caught=97, alarms=3)
    assert guard.missed(good) == []
    assert guard.missed(bad) == ["caught", "false alarms"]
    assert guard.missed(guard.Count()) == ["caught", "false alarms"], "nothing measured is no success"
    assert guard.failures({"tuned": good, "aside": bad, "others": bad}) == ["caught: aside", "false alarms: aside"]
    assert guard.section().failures == ()


def test_every_measurement_lands_on_both_pages_and_can_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = {"en": tmp_path / "en.md", "ru": tmp_path / "ru.md"}
    one, two = (
        Section({"en": "## One\n", "ru": "## Раз\n"}),
        Section({"en": "## Two\n", "ru": "## Два\n"}, ("too few",)),
    )
    monkeypatch.setattr(run, "PAGES", pages)
    monkeypatch.setattr(run, "MEASUREMENTS", (lambda: one,))
    assert run.main() == 0
    monkeypatch.setattr(run, "MEASUREMENTS", (lambda: one, lambda: two))
    assert run.main() == 1
    assert pages["en"].read_text().endswith("\n\n## One\n\n## Two\n")
    assert pages["ru"].read_text().endswith("\n\n## Раз\n\n## Два\n")
    assert "missed: too few" in capsys.readouterr().out
