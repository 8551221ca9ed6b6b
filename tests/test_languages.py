"""The languages of short texts, from ``evals/languages.json``; what libraries made of them stands in decisions.md."""

import json
from pathlib import Path

import pytest

from otvet.languages import language_in

TEXTS = json.loads((Path(__file__).parents[1] / "evals" / "languages.json").read_text("utf-8"))


@pytest.mark.parametrize(("part", "share"), [("texts", 0.98), ("later", 0.85)])
def test_the_language_of_a_short_text(part: str, share: float) -> None:
    told = [(language, language_in(text)) for language, text in TEXTS[part]]
    right = [given for given, found in told if given == {"translit": "ru", "": "ru"}.get(found, found)]
    assert len(right) >= share * len(told)


def test_names_and_numbers_have_no_language() -> None:
    assert [
        language_in(text) for text in ("", "1 900 ₽", "Samsung Galaxy S24", "https://example.ru/the-best", "👍")
    ] == [""] * 5
