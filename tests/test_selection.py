"""Which deals and channels are answered."""

from typing import Any

import pytest

from otvet.deals.selection import CHANNEL, PIPELINE, STAGE, TAGS, Selection

DEAL: dict[str, Any] = {
    "pipeline": "Опт и розница",
    "pipeline_id": 11,
    "stage": "Звонок, ожидание",
    "stage_id": 22,
    "tags": ["VIP", "Ёлки"],
    "tag_ids": [33, 44],
}


@pytest.mark.parametrize(
    ("only", "exception", "reason"),
    [
        ("", "", None),
        ("pipeline:   ОПТ и  розница ", "", None),
        ("pipeline: 11", "", None),
        ("pipeline: Опт, 11, другая", "", None),
        ("pipeline: Опт", "", PIPELINE),
        ("", "воронка: другая, опт и розница", PIPELINE),
        ("stage: 'звонок, ожидание'", "", None),
        ("", "этап: 22", STAGE),
        ("", "stage: 23", None),
        ("tag: vip", "", None),
        ("tag: другой, 44", "", None),
        ("тег: другой", "", TAGS),
        ("", "tag: елки", TAGS),
        ("tag: vip", "tag: елки", TAGS),
        ("channel: Telegram, waba", "", None),
        ("канал: waba", "", CHANNEL),
        ("", "channel: tele*", CHANNEL),
        ("pipeline: 11; tag: vip; channel: telegram; stage: 22", "", None),
        ("pipeline: 11; tag: другой", "", TAGS),
        ("pipeline: 11", "channel: avito; stage: 22", STAGE),
    ],
)
def test_what_is_left_out(only: str, exception: str, reason: str | None) -> None:
    assert Selection.of(only, exception).leaves_out(DEAL, "telegram") == reason


def test_what_is_not_known_leaves_nothing_out() -> None:
    strict = Selection.of("pipeline: x; stage: x; tag: x; channel: x", "")
    assert strict.leaves_out(None, None) is None
    nameless = {**DEAL, "pipeline": None, "stage": None, "tags": ["x"]}
    assert strict.leaves_out(nameless, "x") is None
    assert Selection.of("pipeline: 12", "").leaves_out(nameless, None) == PIPELINE
    assert Selection.of("pipeline: 12, 11", "").leaves_out(nameless, None) is None


def test_no_tags_are_none_of_the_wanted() -> None:
    untagged = {**DEAL, "tags": [], "tag_ids": []}
    assert Selection.of("tag: vip", "").leaves_out(untagged, None) == TAGS
    assert Selection.of("", "tag: vip").leaves_out(untagged, None) is None
