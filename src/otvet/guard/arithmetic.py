"""Sums, products and shares of known prices: "2 пледа — 3 800 ₽, с доставкой 4 150 ₽" invents nothing. No I/O."""

import re
from collections.abc import Iterable, Mapping
from itertools import combinations

_MOST_COUNTED = 1000
_ALL = 100.0  # percent
_KOPECK = 0.005
_FEW = 4  # known prices; of more, some pair makes nearly any sum, so the reply has to state one of its terms
_TOTAL = re.compile(
    r"итог|всего|вместе|сумм|получ|выйдет|выход|обойд|общ|разом|плюс"
    r"|\bс\s(?:учетом|учётом|доставк|подъ|сборк|установк)|заказ\s|за\sвс[её]|\+|="
    r"|total|together|altogether|in all|comes to|sum\b|including|plus\b|with delivery"
    r"|загалом|всього|барлығы|жалпы|қосқанда"
)


class Sums:
    """What can be reckoned from prices of one currency that are known.

    prices: the company's. counts: the numbers that count something in the reply or the question.
    percents: the company's discounts and prepayments, if the reply or the question speaks of one.
    named: the prices of what the reply or the question names, each with the words that name it.
    """

    def __init__(
        self,
        prices: Iterable[float],
        counts: Iterable[float],
        percents: Iterable[float],
        named: Mapping[float, frozenset[str]],
    ) -> None:
        self._prices = {price for price in prices if price > 0}
        self._percents = {share for share in percents if 0 < share < _ALL}
        self._named = {price: words for price, words in named.items() if price in self._prices}
        self._counts = {count for count in counts if 1 < count <= _MOST_COUNTED}
        self._stated: dict[float, str] = {}

    def state(self, price: float) -> None:
        """Add a number that the reply states, if it is a known price or was reckoned."""
        if price in self._prices:
            self._stated.setdefault(price, _written(price))

    def working_of(self, price: float, before: str) -> str:
        """How a price is reckoned, such as "2 × 1900 + 350"; empty if it cannot be. It counts as stated from now on.

        before: the reply up to and with the price, in lower case.
        """
        products = self._products()
        working = products.get(price, "") or self._share(price)
        if not working and (self._named or _TOTAL.search(before)):
            working = self._sum(price, products, total=bool(_TOTAL.search(before)))
        if working:
            self._stated[price] = working
        return working

    def _products(self) -> dict[float, str]:
        return {
            round(count * price, 4): f"{_written(count)} × {_written(price)}"
            for price in sorted(self._prices | self._stated.keys())
            for count in sorted(self._counts)
        }

    def _share(self, price: float) -> str:
        for one in sorted(self._bases()):
            for percent in self._percents:
                for share in (percent, _ALL - percent):
                    if abs(one * share / _ALL - price) < _KOPECK:
                        return f"{_written(one)} × {_written(share)} %"
        return ""

    def _apart(self, one: float, rest: float) -> bool:
        """Whether different words name two prices; "oil" names the oil and its change, and nobody asked for both."""
        first, second = self._named.get(one, frozenset()), self._named.get(rest, frozenset())
        return one in self._stated or not (first and second) or not (first <= second or second <= first)

    def _bases(self) -> set[float]:
        """The prices that a reply may reckon with: those it states or names, and all if they are few."""
        return self._named.keys() | self._stated.keys() | (self._prices if len(self._prices) <= _FEW else set())

    def _sum(self, price: float, products: dict[float, str], *, total: bool) -> str:
        bases = self._bases() if total else self._named.keys()
        known = {one: _written(one) for one in self._prices if total or one in bases} | self._stated
        of_bases = {one: how for one, how in products.items() if float(how.split(" × ")[1]) in bases}
        begun = self._stated | {one: _written(one) for one in bases if one in self._prices} | of_bases
        others = known | of_bases

        def both_counted(one: float, rest: float) -> bool:
            return not any(term in bases or term in self._stated for term in (one, rest))

        for one in sorted(begun):
            rest = round(price - one, 4)
            if rest in others and rest != one and self._apart(one, rest) and not both_counted(one, rest):
                return f"{begun[one]} + {others[rest]}"
        for count in (3, 4):
            for several in combinations(sorted(self._stated), count):
                if round(sum(several), 4) == price:
                    return " + ".join(self._stated[one] for one in several)
        return ""


def _written(value: float) -> str:
    return f"{value:g}" if value < 1e6 else f"{value:.0f}"
