"""What a text gives away free of charge, and whether the company gives the same away. No I/O."""

import re
from collections.abc import Iterable, Iterator

from otvet.guard.denied import clause_around, is_denied
from otvet.guard.fact import Fact, Key, Keys
from otvet.responders.knowledge.words import family, words

_FREE = re.compile(
    r"\b(?<!не\s)(?:бесплатн\w+|задаром|даром(?!\s\w*обл)|безкоштовн\w+|безоплатн\w+|тегін|free\sof\scharge|for\sfree|complimentary"
    r"|(?:is|are|be|totally|absolutely)\sfree(?!\s(?:of|from|to|time))|free\s(?=deliver|shipping|return|trial|consult|parking|breakfast|install|fitting|lesson"
    r"|class|visit|gift|wi-?fi|sample))"
)
_PROOF = re.compile(
    rf"{_FREE.pattern}|\b(?:0|ноль)\s?(?:₽|руб\w*|р\b|тенге|грн)|\bв\sподарок|\bвключен\w*\sв\s(?:стоимость|цену)|\bбез\s(?:доплат\w*|оплаты)|\bfree\b|\bincluded\b"
)
_NEAR = 300  # characters
_ROOT = 4  # letters that two words of one family share: cancel, cancellation
KEY: Key = ("free", "")
_BRINGS = re.compile(r"\b(?:при|до|за|от)?(?:вез|воз)(?:[её]м|ут|ите|им|ят|ти|ить)\b")
_CHILD = re.compile(
    r"\b(?:реб[её]н\w+|ребят\w+|малыш\w*|детск\w+|детей|детям|\w+летн(?:ий|яя|ие|их|ему|его)|діт\w+|дит\w+|бала\w*|child|kids?|toddlers?)\b"
)
_SENTENCE = re.compile(r"[.!?;\n]+")
_NO_SUBJECT = frozenset(
    family(stem)
    for word in ("бесплатно бесплатный free безкоштовно тегін подарок", "включен стоимость цена")
    for stem in words(word)
)


def read(text: str) -> Iterator[Fact]:
    """The facts "free" of a text in lower case; what is denied gives nothing away."""
    for match in _FREE.finditer(text):
        free: Keys = frozenset({KEY})
        denied = is_denied(text, match.start(), match.end())
        yield Fact("price", match.start(), match.end(), () if denied else (free,), free)


def implied(text: str) -> Iterator[Key]:
    """The key of "free" for a text in lower case that says it in any words."""
    if _PROOF.search(text):
        yield KEY


def is_known(text: str, fact: Fact, question: str, sources: Iterable[tuple[str, str]]) -> bool:
    """Whether the company gives away what a fact of a reply does: one word of the subject is enough.

    The subject stands in the fact's clause, or in what was said before it or asked.
    sources: (heading, text) of the company's texts.
    """
    clause = clause_around(text, fact.start, fact.end)
    about = subject(text[max(0, fact.start - _NEAR) : fact.start]) | subject(clause[1]) | subject(question)
    for heading, told in sources:
        for sentence in _SENTENCE.split(told):
            if _PROOF.search(sentence.lower()):
                given = subject(f"{heading} {sentence}") if subject(sentence) else subject(f"{heading} {told}")
                if not about or overlap(about, given):
                    return True
    return False


def overlap(about: set[str], given: set[str]) -> bool:
    """Whether two subjects share a word."""
    return any(one[:_ROOT] == other[:_ROOT] for one in about for other in given)


def subject(text: str) -> set[str]:
    """The words that a text is about, each as its family."""
    text = _CHILD.sub("дети", _BRINGS.sub("доставка", text.lower()))
    return {family(stem) for stem in words(text, price_alone=True) if not stem.isdigit()} - _NO_SUBJECT
