"""What a text gives away free of charge, and whether the company gives the same away. No I/O."""

import re
from collections.abc import Iterable, Iterator

from otvet.guard.denied import is_denied
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
_ROOT = 4  # letters that two words of one family share: cancel, cancellation
KEY: Key = ("free", "")
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


def is_known(said: str, question: str, sources: Iterable[tuple[str, str]]) -> bool:
    """Whether the company gives away what is talked about: one word of the subject is enough.

    said: the reply, up to and with the sentence. sources: (heading, text) of the company's texts.
    """
    about = _subject(said) | _subject(question)
    for heading, text in sources:
        for sentence in _SENTENCE.split(text):
            if _PROOF.search(sentence.lower()) and _overlap(about, _subject(f"{heading} {sentence}")):
                return True
    return False


def up_to_sentence(text: str, end: int) -> str:
    """A text up to the end of the sentence that holds a place."""
    return text[:end] + _SENTENCE.split(text[end:])[0]


def _overlap(about: set[str], given: set[str]) -> bool:
    return any(one[:_ROOT] == other[:_ROOT] for one in about for other in given)


def _subject(text: str) -> set[str]:
    return {family(stem) for stem in words(text, price_alone=True)} - _NO_SUBJECT
