"""The notation of OTVET_ANSWER_ONLY and OTVET_ANSWER_EXCEPT."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otvet.settings.deal_filter import CHANNEL, PIPELINE, STAGE, TAG, read, write


@pytest.mark.parametrize(
    ("text", "names_of"),
    [
        ("", {}),
        (" ; \n ", {}),
        (
            "pipeline: Sales, Repairs; tag: vip; channel: telegram; stage: New",
            {PIPELINE: ("Sales", "Repairs"), TAG: ("vip",), CHANNEL: ("telegram",), STAGE: ("New",)},
        ),
        (
            "Воронка: Опт, Розница\nэтапы = Новая заявка; ТЕГ: 5; канал: com.wazzup24.*;",
            {PIPELINE: ("Опт", "Розница"), STAGE: ("Новая заявка",), TAG: ("5",), CHANNEL: ("com.wazzup24.*",)},
        ),
        ("tag: a; stage: b; tag: c", {TAG: ("a", "c"), STAGE: ("b",)}),
        ("tags: a,, b,", {TAG: ("a", "b")}),
        ("stage: 'Call, wait', \"one; two\", «три, четыре»", {STAGE: ("Call, wait", "one; two", "три, четыре")}),
        (
            'stage: \'O\'\'Neil, Ltd\', O\'Neil, 5", "say ""yes"""',
            {STAGE: ("O'Neil, Ltd", "O'Neil", '5"', 'say "yes"')},
        ),
        ("stage: Step 1: call", {STAGE: ("Step 1: call",)}),
    ],
)
def test_what_is_understood(text: str, names_of: dict[str, tuple[str, ...]]) -> None:
    assert read(text) == names_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("vip", "vip"),
        ("tag: vip; Sales", "Sales"),
        ("colour: red", "colour: red"),
        ("tag:", "tag:"),
        ("tag: ; stage: New", "tag: ; stage: New"),
        ("stage: 'Call, wait", "'Call, wait"),
        ("stage: «Звонок» и «ожидание»", "«Звонок» и «ожидание»"),
    ],
)
def test_what_is_not_is_shown_with_an_example(text: str, shown: str) -> None:
    with pytest.raises(ValueError, match="is not understood") as error:
        read(text)
    assert str(error.value).startswith(f'"{shown}" is not understood; give pipeline:, stage:, tag: or channel:')
    example = str(error.value).partition("such as ")[2]
    assert read(example)[TAG] == ("vip, gold",)


@given(st.dictionaries(st.sampled_from((PIPELINE, STAGE, TAG, CHANNEL)), st.lists(st.text(min_size=1), min_size=1)))
def test_what_is_written_is_read(names_of: dict[str, list[str]]) -> None:
    stripped = {kind: tuple(filter(None, (name.strip() for name in names))) for kind, names in names_of.items()}
    assert read(write(stripped)) == {kind: names for kind, names in stripped.items() if names}
