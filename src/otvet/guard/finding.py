"""The type of what a check found in a reply."""

from dataclasses import dataclass

KEY_KIND = "secret"
UNCLEAN = frozenset(("thoughts", "cut", "broken", "dialogue", "itself", "told"))
"""The kinds that responders.cleaning finds before a reply is made of a text."""

LEAKS = UNCLEAN | {"empty", "instructions", KEY_KIND, "placeholder", "tag", "alphabet", "language", "unseen", "deed"}
"""The kinds of findings with which a reply is never sent; all other kinds are unknown facts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A piece of a reply that does not belong there.

    kind: one of LEAKS, or the kind of a fact: quantity, price, percent, date, time, phone, link, email, code (promo),
        account (or card), or number if it has no known unit.
    text: the piece as it stands in the reply; for a secret only its kind.
    """

    kind: str
    text: str

    @property
    def is_leak(self) -> bool:
        """Whether the reply must not be sent, however strictly facts are checked."""
        return self.kind in LEAKS
