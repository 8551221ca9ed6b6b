"""From what people write to what is searched: Russian and English words without their endings."""

import re

import Stemmer

from otvet.responders.stopwords import NEGATIONS, QUESTION_WORDS, STOPWORDS, WITHOUT_SUBJECT

_ADDRESS = re.compile(r"\bhttps?://\S+|(?<![\w.-])(?:[\w-]++\.)+[a-z]{2,}\b(?:/\S*)?")
_GREETING = re.compile(
    r"\b(?:добр\w+ (?:день|дня|утро|утра|вечер|вечера|ночи|времени суток)|меня зовут \w+"
    r"|good (?:morning|day|afternoon|evening)|my name is \w+)"
)
_WORD = re.compile(r"[^\W_]+")
_LATIN = re.compile(r"[a-z]+")
_NOT = re.compile(r"n['’]t\b")
_TIMES = re.compile(r"(?<=\d)[xх*](?=\d)")

_HOW_MUCH = re.compile(r"\b(?:how much|по чем)\b")

# Different words for one thing in every shop.
_SAME = (
    "цена цены стоит стоят стоимость почем price prices cost costs",
    "доставка привезти привезете привезут везете привозите",
    "возврат вернуть верну вернете возвращать",
    "оплата оплачивать платить заплатить",
    "заказ заказывать",
    "обмен обменять обменивать поменять",
    "отмена отменить отменять",
    "купить покупка приобрести",
    "забрать заберу забирать самовывоз",
    "адрес находитесь расположены",
    "покупатель клиент",
    "упаковка упаковать",
    "delivery deliver ship shipping",
)

# Snowball keeps доставк-, доставля- and достав- apart; cutting these endings brings them together.
# After т the к stays: открытк- is a postcard and открыт- is open.
_TAIL = re.compile(r"(?<=\w{4})(?:ыва|ива|ова|ичн|ийн|лен|ени|ля|ск|ен|ан|ик|(?<!т)(?:ок|ек|к)|л|а|я|и)$")

_russian = Stemmer.Stemmer("russian")
_english = Stemmer.Stemmer("english")


def words(text: str) -> list[str]:
    """The words that say what a text is about, in their order and folded to one spelling.

    "Not" becomes a part of its word: who writes that a parcel has not come does not ask how parcels come.
    """
    found = []
    negated = ""
    for word in _all_words(text):
        if word in NEGATIONS:
            negated = word
        elif word not in STOPWORDS:
            found.append(negated + word)
            negated = ""
    return [] if WITHOUT_SUBJECT.issuperset(found) else found


def question_words(text: str) -> list[str]:
    """Where, when, how: they do not say what is asked about, but tell two passages about it apart."""
    return [word for word in _all_words(text) if word in QUESTION_WORDS]


def stem(word: str) -> str:
    """A word without its ending."""
    return str((_english if _LATIN.fullmatch(word) else _russian).stemWord(word))


def family(stem: str) -> str:
    """One name for a stem and its nearest relatives."""
    root = _root(stem)
    return _FAMILIES.get(root, root)


def _all_words(text: str) -> list[str]:
    text = _ADDRESS.sub(" ", text.casefold().replace("ё", "е"))
    text = _NOT.sub(" not", _GREETING.sub(" ", text))
    return _WORD.findall(_TIMES.sub(" ", _HOW_MUCH.sub(" cost ", text)))


def _root(stem: str) -> str:
    return _TAIL.sub("", stem)


_FAMILIES = {_root(stem(word)): _root(stem(group.split()[0])) for group in _SAME for word in group.split()}
