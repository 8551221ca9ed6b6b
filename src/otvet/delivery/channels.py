"""What a channel takes in one message, and where a longer reply is cut. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

from otvet.responders.sentences import cut
from otvet.settings.by_channel import of_channel


@dataclass(frozen=True, slots=True)
class Limit:
    """The most characters of one message, and the source. Whether amoCRM passes as many on is not verified."""

    characters: int
    source: str


UNVERIFIED = "not verified; a cautious number"
# By amoCRM's ``origin`` of a message. https://www.amocrm.ru/developers/content/crm_platform/talks-api names some.
LIMITS: Mapping[str, Limit] = {
    "telegram": Limit(4096, "https://core.telegram.org/bots/api#sendmessage"),
    "waba": Limit(4096, "https://developers.facebook.com/docs/whatsapp/cloud-api/messages/text-messages"),
    "whatsapp": Limit(4096, UNVERIFIED),
    "facebook": Limit(2000, "https://developers.facebook.com/docs/messenger-platform/reference/send-api"),
    # Its pages say 1,000 bytes in one place and 1,000 characters in another; a Cyrillic letter takes two bytes.
    "instagram*": Limit(500, "https://developers.facebook.com/docs/messenger-platform/instagram/features/send-message"),
    "vk": Limit(4096, "https://dev.vk.com/ru/method/messages.send"),
    "viber": Limit(7000, "https://developers.viber.com/docs/api/rest-bot-api/#text-message"),
    "onlinechat": Limit(4000, UNVERIFIED),
    "*": Limit(1000, UNVERIFIED),
}
SHOWN_AT_ONCE = 80
"""The most characters of a Salesbot's ``show``.

Source: https://developers.kommo.com/reference/salesbot-widget-block-execution-confirmation
"""


def limit_of(origin: str) -> int:
    """The most characters of one message in the channel. origin: amoCRM's name of the channel."""
    limit = of_channel(LIMITS, origin)
    assert limit is not None
    return limit.characters


def split(text: str, limit: int) -> list[str]:
    """The text in pieces of at most ``limit`` characters, cut after sentences where that is possible."""
    pieces = []
    rest = text.strip()
    while rest:
        piece = cut(rest, limit)
        pieces.append(piece.strip())
        rest = rest[len(piece) :].lstrip()
    return pieces
