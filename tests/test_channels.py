"""Which way a reply goes by channel, and where a long one is cut."""

import pytest

from otvet.app.wiring import wire
from otvet.delivery.channels import LIMITS, SHOWN_AT_ONCE, limit_of, split
from otvet.errors import SettingsError
from otvet.settings.by_channel import way_for, ways_in
from otvet.settings.loading import load_settings


def test_one_way_for_all_or_one_for_each_channel() -> None:
    assert ways_in("salesbot") == {"*": "salesbot"}
    ways = ways_in("Telegram=salesbot, waba = talk, instagram*=widget, *=note")
    assert [way_for(ways, origin) for origin in ("telegram", "waba", "instagram_business", "vk", "")] == [
        "salesbot",
        "talk",
        "widget",
        "note",
        "note",
    ]
    assert way_for({"telegram": "talk"}, "vk") == "note"


@pytest.mark.parametrize("text", ["pigeon", "telegram=", "=note", "telegram=note, telegram=talk", ",", "a=b=c"])
def test_what_is_no_way_is_said_at_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="OTVET_REPLY_VIA: give one of note, salesbot, widget, talk"):
        load_settings(reply_via=text)


@pytest.mark.parametrize(
    ("via", "lacks"), [("salesbot", "OTVET_SALESBOT_ID"), ("vk=widget", "OTVET_AMOCRM_CLIENT_SECRET")]
)
def test_a_way_that_lacks_something_does_not_start(via: str, lacks: str) -> None:
    with pytest.raises(SettingsError, match=lacks):
        wire(load_settings(reply_via=via))


def test_every_channel_has_a_limit() -> None:
    assert limit_of("telegram") == 4096
    assert limit_of("instagram_business") == LIMITS["instagram*"].characters
    assert limit_of("com.wazzup24.wz") == LIMITS["*"].characters


def test_a_text_is_cut_after_sentences_and_nothing_is_lost() -> None:
    text = "Доставка стоит 300 руб. по городу. Самовывоз — бесплатно, ул. Садовая, д. 5!\n\nЖдём вас?"
    assert split(text, 1000) == [text]
    pieces = split(text, SHOWN_AT_ONCE)
    assert pieces == [
        "Доставка стоит 300 руб. по городу. Самовывоз — бесплатно, ул. Садовая, д. 5!",
        "Ждём вас?",
    ]
    assert split("", 80) == []


def test_a_word_that_is_longer_than_a_message_is_cut_too() -> None:
    pieces = split("x" * 205, 80)
    assert [len(piece) for piece in pieces] == [80, 80, 45]
