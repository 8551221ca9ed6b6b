"""Which deals are answered, by what the user set. No I/O.

What is not known excludes nothing: a client is rather answered than left without a word.
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
    """Only these, and except those; names and ids in the form in which they are compared. Nothing set: all."""

    only: frozenset[str] = frozenset()
    exception: frozenset[str] = frozenset()

    @classmethod
    def of(cls, only: Iterable[str] = (), exception: Iterable[str] = ()) -> "Choice":
        """From names and ids as the user wrote them."""
        return cls(frozenset(map(plain, only)), frozenset(map(plain, exception)))

    @property
    def is_set(self) -> bool:
        return bool(self.only or self.exception)

    def leaves_out(self, names: Collection[Any] | None) -> bool:
        """names: all by which one thing (or, of tags, each of them) is called; None when that is not known."""
        if names is None:
            return False
        given = {plain(name) for name in names if name is not None}
        return bool(self.exception & given) or (bool(self.only) and not self.only & given)


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user set."""

    pipelines: Choice = field(default_factory=Choice)
    stages: Choice = field(default_factory=Choice)
    tags: Choice = field(default_factory=Choice)
    channels: Choice = field(default_factory=Choice)

    @classmethod
    def of(cls, only: str, exception: str) -> "Selection":
        """Both as in settings.deal_filter."""
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
        """Why nothing is answered here, or None.

        deal: as amocrm.cards.deal gives it. channel: amoCRM's ``origin`` of the message. Each may be None: not known.
        """
        if self.channels.leaves_out(None if not channel else self._channel(channel)):
            return CHANNEL
        if deal is None:
            return None
        if self.pipelines.leaves_out(_called(deal, "pipeline", self.pipelines)):
            return PIPELINE
        if self.stages.leaves_out(_called(deal, "stage", self.stages)):
            return STAGE
        if self.tags.leaves_out([*deal["tags"], *deal["tag_ids"]]):
            return TAGS
        return None

    def _channel(self, channel: str) -> list[str]:
        """The channel's name, and the patterns such as ``com.wazzup24.*`` that it fits."""
        patterns = self.channels.only | self.channels.exception
        return [channel, *(pattern for pattern in patterns if fnmatchcase(plain(channel), pattern))]


def _called(deal: Mapping[str, Any], name: str, choice: Choice) -> list[Any] | None:
    """How a pipeline or a stage is called; None when that cannot be compared with what the user wrote."""
    called, id_ = deal[name], deal[f"{name}_id"]
    named = choice.only | choice.exception
    if called is None and str(id_) not in named and not all(one.isdigit() for one in named):
        return None
    return [called, id_]
