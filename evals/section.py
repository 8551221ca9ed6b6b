"""A part of the page on answer quality: what a measurement found."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """``text`` is Markdown by language ("en", "ru"), from its own ``##`` heading on; ``failures`` are aims missed."""

    text: Mapping[str, str]
    failures: tuple[str, ...] = ()


def percent(value: float | None) -> str:
    """A share, as the page shows it: with one decimal, so that nothing is rounded up to an aim."""
    return "–" if value is None else f"{100 * value:.1f} %"
