"""The type of a number in a text, with its unit and its possible values."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from otvet.guard import units
from otvet.guard.fact import Key


@dataclass(frozen=True, slots=True)
class Number:
    start: int
    end: int
    values: tuple[float, ...]
    spelled: bool = False
    currency: str = ""
    unit: tuple[units.Amount, ...] = ()
    factor: float = 1.0
    """The multiplier in its values: 1000 for "5 thousand"."""
    guess: bool = False
    """Whether its unit stands before it, as in "минут сорок"."""
    soft: bool = False
    """Whether its unit is taken from the next number and may not belong to this one."""
    joined: bool = False
    """Whether the next number belongs to it, as in a range or a size."""
    between: bool = False
    """Whether it only lies between its neighbours: "3, 4 or 5 days"."""

    @property
    def named(self) -> bool:
        return bool(self.currency or self.unit)


def amounts(value: float, unit: tuple[units.Amount, ...]) -> Iterator[Key]:
    for name, size in unit:
        amount = rounded(value * size)
        yield (name, amount)
        if name == "minute" and amount and amount % units.DAY == 0:  # 24 hours
            yield ("day", amount / units.DAY)


def values_of(written: str) -> tuple[float, ...]:
    """The possible values of a number: "1,500" is one and a half or a thousand and a half."""
    digits = re.match(r"[\d.,]*\d", written.replace(" ", ""))
    plain = digits[0] if digits else ""
    found = []
    if re.fullmatch(r"\d{1,3}(?:([.,])\d{3})(?:\1\d{3})*", plain):
        found.append(float(re.sub("[.,]", "", plain)))
    if re.fullmatch(r"\d+(?:[.,]\d+)?", plain):
        found.append(float(plain.replace(",", ".")))
    if not found:
        whole, _, part = re.sub(r"[.,](?=\d{3}(?!\d))", "", plain).replace(",", ".").rpartition(".")
        found.append(float(f"{whole or part}.{part if whole else 0}".replace("..", ".")))
    return tuple(dict.fromkeys(found))


def rounded(value: float) -> float:
    return round(value, 4)
