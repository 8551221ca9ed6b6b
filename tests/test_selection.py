"""Which deals and channels are answered."""

from typing import Any

import pytest

from otvet.deals.selection import CHANNEL, PIPELINE, STAGE, TAGS, Choice, Selection

DEAL: dict[str, Any] = {
    "pipeline": "Опт и розница",
    "pipeline_id": 11,
    "stage": "Звонок, ожидание",
    "stage_id": 22,
    "tags": ["VIP", "Ёлки"],
    "tag_ids": [33, 44],
}


def only(value: str) -> Choice:
    return Choice.of(value, "")


def besides(value: str) -> Choice:
    return Choice.of("", value)


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        (Selection(), None),
        (Selection(pipelines=only("  ОПТ и  розница ")), None),
        (Selection(pipelines=only("11")), None),
        (Selection(pipelines=only("Опт; 11; другая")), None),
        (Selection(pipelines=only("Опт")), PIPELINE),
        (Selection(pipelines=besides("другая, опт и розница")), PIPELINE),
        (Selection(stages=only("звонок, ожидание;")), None),
        (Selection(stages=besides("22")), STAGE),
        (Selection(stages=besides("23")), None),
        (Selection(tags=only("vip")), None),
        (Selection(tags=only("другой;44")), None),
        (Selection(tags=only("другой")), TAGS),
        (Selection(tags=besides("елки")), TAGS),
        (Selection(tags=Choice.of("vip", "елки")), TAGS),
        (Selection(channels=only("Telegram, waba")), None),
        (Selection(channels=only("waba")), CHANNEL),
        (Selection(channels=besides("tele*")), CHANNEL),
    ],
)
def test_what_is_left_out(selection: Selection, reason: str | None) -> None:
    assert selection.leaves_out(DEAL, "telegram") == reason


def test_what_is_not_known_leaves_nothing_out() -> None:
    strict = Selection(only("x"), only("x"), only("x"), only("x"))
    assert strict.leaves_out(None, None) is None
    nameless = {**DEAL, "pipeline": None, "stage": None, "tags": ["x"]}
    assert strict.leaves_out(nameless, "x") is None
    assert Selection(pipelines=only("12")).leaves_out(nameless, None) == PIPELINE
    assert Selection(pipelines=only("12; 11")).leaves_out(nameless, None) is None


def test_no_tags_are_none_of_the_wanted() -> None:
    untagged = {**DEAL, "tags": [], "tag_ids": []}
    assert Selection(tags=only("vip")).leaves_out(untagged, None) == TAGS
    assert Selection(tags=besides("vip")).leaves_out(untagged, None) is None
