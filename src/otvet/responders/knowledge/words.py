"""From what people write to what is searched: Russian and English words without their endings."""

import re
from collections.abc import Iterator

import Stemmer

from otvet.responders.knowledge.stopwords import ASKED_AS, NEGATIONS, QUESTION_WORDS, STOPWORDS, WITHOUT_SUBJECT
from otvet.responders.knowledge.synonyms import BROADER, SAME

_ADDRESS = re.compile(r"\bhttps?://\S+|(?<![\w.-])(?:[\w-]++\.)+[a-z]{2,}\b(?:/\S*)?")
_GREETING = re.compile(
    r"\b(?:добр\w+ (?:день|дня|утро|утра|вечер|вечера|ночи|времени суток)|меня зовут \w+"
    r"|good (?:morning|day|afternoon|evening)|my name is \w+)"
)
_WORD = re.compile(r"[^\W_]+")
_TWO_ALPHABETS = re.compile(r"\b(?=\w*[а-я])(?=\w*[a-z])\w+")
_LOOK_ALIKE = str.maketrans("abcehkmoptxy", "авсенкмортху")
_LATIN = re.compile(r"[a-z]+")
_NOT = re.compile(r"n['’]t\b")
_TIMES = re.compile(r"(?<=\d)[xх*](?=\d)")

_AMOUNT = re.compile(r"\b(\d{1,3}(?:[ \u00a0\u202f]\d{3})+)(?=\s*(?:₽|руб|р\b))")

# What is said in two words and is one thing; the words apart mean something else.
_PHRASES = tuple(
    (re.compile(rf"\b(?:{said})\b"), meant)
    for said, meant in (
        ("how much|по чем", "cost"),
        ("(?:возьмете|берете|возьмут|берут) (?=за\\b)", "стоит"),
        ("наличк\\w+|налик\\w*|налом|кэш\\w*", "наличные"),
        ("день в день", "сегодня"),
        ("(?:нов\\w+|нг) год\\w*|новогодн\\w+|8 марта|23 февраля|майски\\w+", "праздники"),
        ("за (?:рубеж|границ)\\w*", "заграница"),
        ("вас найти", "адрес"),
        ("юр\\w* лиц\\w*", "юрлицо"),
        ("не (?:то|тот|та|ту|те|того|той)", "перепутали"),
    )
)

# Snowball keeps доставк-, доставля- and достав- apart; cutting these endings brings them together.
# After т the к stays: открытк- is a postcard and открыт- is open.
_TAIL = re.compile(r"(?<=\w{4})(?:ыва|ива|ова|ичн|ийн|лен|ени|ля|ск|ен|ан|ик|(?<!т)(?:ок|ек|к)|л|а|я|и)$")

_russian = Stemmer.Stemmer("russian")
_english = Stemmer.Stemmer("english")


def words(text: str, *, price_alone: bool = False) -> list[str]:
    """The words that say what a text is about, in their order and folded to one spelling.

    "Not" becomes a part of its word: who writes that a parcel has not come does not ask how parcels come.
    What asks for nothing but a price has none, unless ``price_alone``: it is about something said earlier.
    """
    found = [negation + word for negation, word in _with_negations(text)]
    return [] if not price_alone and WITHOUT_SUBJECT.issuperset(found) else found


def denied(text: str) -> list[str]:
    """Of ``words`` those that "not" is a part of."""
    return [negation + word for negation, word in _with_negations(text) if negation]


def _with_negations(text: str) -> Iterator[tuple[str, str]]:
    negation = ""
    for word in _all_words(text):
        if word in NEGATIONS:
            negation = word
        elif word not in STOPWORDS:
            yield negation, word
            negation = ""


def question_words(text: str) -> list[str]:
    """Where, when, how: they do not say what is asked about, but tell two passages about it apart."""
    return [ASKED_AS.get(word, word) for word in _all_words(text) if word in QUESTION_WORDS]


def folded(text: str) -> str:
    """The text in one spelling: small letters, е for ё, and no Latin letter inside a Russian word."""
    text = text.casefold().replace("ё", "е")
    return _TWO_ALPHABETS.sub(lambda word: word[0].translate(_LOOK_ALIKE), text)


def stem(word: str) -> str:
    """A word without its ending."""
    return str((_english if _LATIN.fullmatch(word) else _russian).stemWord(word))


def family(stem: str) -> str:
    """One name for a stem and its nearest relatives."""
    root = _root(stem)
    if root.startswith("не") and root[2:] in _FAMILIES:  # as words() joins it
        return "не" + _FAMILIES[root[2:]]
    return _FAMILIES.get(root, root)


def broader(family: str) -> tuple[str, ...]:
    """What else may be meant by a word that no passage holds, the nearest first."""
    return _BROADER.get(family, ())


def _all_words(text: str) -> list[str]:
    text = _ADDRESS.sub(" ", folded(text))
    text = _NOT.sub(" not", _GREETING.sub(" ", text))
    text = _AMOUNT.sub(lambda amount: "".join(amount[1].split()), _TIMES.sub(" ", text))
    for said, meant in _PHRASES:
        text = said.sub(f" {meant} ", text)
    return _WORD.findall(text)


def _root(stem: str) -> str:
    return _TAIL.sub("", stem)


_FAMILIES = {_root(stem(word)): _root(stem(group.split()[0])) for group in SAME for word in group.split()}
_BROADER = {family(stem(word)): tuple(family(stem(each)) for each in meant) for word, meant in BROADER.items()}
