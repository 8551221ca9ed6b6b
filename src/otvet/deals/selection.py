"""Which deals are answered, according to the settings. No I/O.

An unknown value excludes nothing: it is better to answer a client than to leave them without a word.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from otvet.amocrm.cards import plain
from otvet.settings import deal_filter

PIPELINE, STAGE, TAGS, CHANNEL = "pipeline_left_out", "stage_left_out", "tags_left_out", "channel_left_out"


@dataclass(frozen=True, slots=True)
class Choice:
    """Names and ids to include (empty: all) and to exclude, in the form in which they are compared."""

    only: frozenset[str] = frozenset()
    exception: frozenset[str] = frozenset()

    @classmethod
    def of(cls, only: Iterable[str] = (), exception: Iterable[str] = ()) -> "Choice":
        """Make a choice of names and ids as the user wrote them."""
        return cls(frozenset(map(plain, only)), frozenset(map(plain, exception)))

    @property
    def is_set(self) -> bool:
        return bool(self.only or self.exception)

    def leaves_out(self, names: Collection[Any] | None) -> bool:
        """Whether the choice excludes a thing. names: its name and id, or those of all tags; None: not known."""
        if names is None:
            return False
        given = {plain(name) for name in names if name is not None}
        return bool(self.exception & given) or (bool(self.only) and not self.only & given)


@dataclass(frozen=True, slots=True)
class Selection:
    """The choices in the settings."""

    pipelines: Choice = field(default_factory=Choice)
    stages: Choice = field(default_factory=Choice)
    tags: Choice = field(default_factory=Choice)
    channels: Choice = field(default_factory=Choice)

    @classmethod
    def of(cls, only: str, exception: str) -> "Selection":
        """Read both settings, in the syntax of settings.deal_filter."""
        wanted, unwanted = deal_filter.read(only), deal_filter.read(exception)
        kinds = (deal_filter.PIPELINE, deal_filter.STAGE, deal_filter.TAG, deal_filter.CHANNEL)
        return cls(*(Choice.of(wanted.get(kind, ()), unwanted.get(kind, ())) for kind in kinds))

    @property
    def is_set(self) -> bool:
        return self.looks_at_the_deal or self.channels.is_set

    @property
    def looks_at_the_deal(self) -> bool:
        return self.pipelines.is_set or self.stages.is_set or self.tags.is_set

    def leaves_out(self, deal: Mapping[str, Any] | None, channel: str | None) -> str | None:
        """Why the settings leave a deal or a channel out; None if they do not.

        deal: as amocrm.cards.deal returns it. channel: amoCRM's ``origin`` of the message. None: not known.
        """
        if self.channels.leaves_out(None if not channel else self._channel(channel)):
            return CHANNEL
        if deal is None:
            return None
        if self.pipelines.leaves_out(_name_and_id(deal, "pipeline", self.pipelines)):
            return PIPELINE
        if self.stages.leaves_out(_name_and_id(deal, "stage", self.stages)):
            return STAGE
        if self.tags.leaves_out([*deal["tags"], *deal["tag_ids"]]):
            return TAGS
        return None

    def _channel(self, channel: str) -> list[str]:
        """The channel's name, and the patterns such as ``com.wazzup24.*`` that match it."""
        patterns = self.channels.only | self.channels.exception
        return [channel, *(pattern for pattern in patterns if fnmatchcase(plain(channel), pattern))]


def _name_and_id(deal: Mapping[str, Any], kind: str, choice: Choice) -> list[Any] | None:
    """The name and id of a pipeline or stage; None if they cannot be compared with the settings."""
    name, id_ = deal[kind], deal[f"{kind}_id"]
    chosen = choice.only | choice.exception
    if name is None and str(id_) not in chosen and not all(text.isdigit() for text in chosen):
        return None
    return [name, id_]
