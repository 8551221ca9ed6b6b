"""Tables of numbers in words, Russian and English, with their cases: also hours, ordinals, beginnings of words.

Everything is in lower case, and е matches ё too.
"""

import re
from collections.abc import Iterable
from functools import cache
from itertools import product

THOUSAND = 1000.0

_WORDS = {
    1: "один одна одно одного одной одну одному одним one",
    1.5: "полтора полторы полутора",
    2: "два две двух двум двумя двое двоих two",
    3: "три трех трем тремя трое троих three",
    4: "четыре четырех четырем четырьмя четверо четверых four",
    5: "пять пяти пятью пятеро five",
    6: "шесть шести шестью шестеро six",
    7: "семь семи семью семеро seven",
    8: "восемь восьми восемью восьмью eight",
    9: "девять девяти девятью nine",
    10: "десять десяти десятью ten",
    11: "одиннадцать одиннадцати eleven",
    12: "двенадцать двенадцати twelve",
    13: "тринадцать тринадцати thirteen",
    14: "четырнадцать четырнадцати fourteen",
    15: "пятнадцать пятнадцати fifteen",
    16: "шестнадцать шестнадцати sixteen",
    17: "семнадцать семнадцати seventeen",
    18: "восемнадцать восемнадцати eighteen",
    19: "девятнадцать девятнадцати nineteen",
    20: "двадцать двадцати twenty",
    30: "тридцать тридцати thirty",
    40: "сорок сорока forty",
    50: "пятьдесят пятидесяти полтинник fifty",
    60: "шестьдесят шестидесяти sixty",
    70: "семьдесят семидесяти seventy",
    80: "восемьдесят восьмидесяти eighty",
    90: "девяносто девяноста ninety",
    100: "сто ста",
    200: "двести двухсот",
    300: "триста трехсот",
    400: "четыреста четырехсот",
    500: "пятьсот пятисот",
    600: "шестьсот шестисот",
    700: "семьсот семисот",
    800: "восемьсот восьмисот",
    900: "девятьсот девятисот",
    1000: "тысяча тысячу",
    1_000_000: "миллион",
}
_NUMBERS = {word: float(value) for value, words in _WORDS.items() for word in words.split()}

MULTIPLIERS = {
    100.0: r"сот(?:ня|ни|ню|ен|ней|ням)|hundred",
    1_000.0: r"тыс(?:яч\w*|\.)?|thousand",
    1_000_000.0: r"млн\.?|миллион\w*|million",
    1_000_000_000.0: r"млрд\.?|миллиард\w*|billion",
}
_MULTIPLIER = re.compile("|".join(MULTIPLIERS.values()))
_ONE_OF_THEM = "сотня сотню hundred thousand million"

# Ordinals without their endings: перв-ого, двадцат-ое.
_STEMS = (
    "перв втор трет четверт пят шест седьм восьм девят десят одиннадцат двенадцат тринадцат четырнадцат пятнадцат"
    " шестнадцат семнадцат восемнадцат девятнадцат двадцат"
)
_ENGLISH_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth"
    " sixteenth seventeenth eighteenth nineteenth twentieth"
)
_ORDINALS = {stem: number for number, stem in enumerate(_STEMS.split(), 1)} | {"тридцат": 30}
_ENGLISH = {word: number for number, word in enumerate(_ENGLISH_ORDINALS.split(), 1)} | {"thirtieth": 30}

_HOURS_IN = (
    "два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать тринадцать четырнадцать пятнадцать"
    " шестнадцать семнадцать восемнадцать девятнадцать двадцать two three four five six seven eight nine ten eleven"
    " twelve"
)
_HOURS_FROM = (
    "часу двух двум трех трем четырех четырем пяти шести семи восьми девяти десяти одиннадцати двенадцати тринадцати"
    " четырнадцати пятнадцати шестнадцати семнадцати восемнадцати девятнадцати двадцати"
)

_TENS = "двадцати тридцати сорока пятидесяти шестидесяти семидесяти восьмидесяти девяноста"
_ONES = "одно двух трех четырех пяти шести семи восьми девяти"
_OTHERS = (
    "полутора десяти одиннадцати двенадцати тринадцати четырнадцати пятнадцати шестнадцати семнадцати восемнадцати"
    " девятнадцати ста двухсот трехсот четырехсот пятисот"
)
_BEGINNINGS = (
    {"пол": 0.5, "полу": 0.5}
    | {word: _NUMBERS[word] for word in f"{_TENS} {_ONES} {_OTHERS}".split()}
    | {tens + ones: _NUMBERS[tens] + _NUMBERS[ones] for tens, ones in product(_TENS.split(), _ONES.split())}
)


def _any_of(words: Iterable[str]) -> str:
    """A pattern that matches any of the words, the longest first."""
    return "|".join(sorted(words, key=len, reverse=True)).replace("е", "[её]")


_word = _any_of((*_NUMBERS, *_ONE_OF_THEM.split()))
_more = rf"{_word}|{_MULTIPLIER.pattern}|с\sполовиной|and\sa\shalf"
SPELLED = re.compile(rf"\b(?:{_word})(?![a-zа-яё])(?:(?: |(?<=ty)-)(?:{_more})(?![a-zа-яё])){{0,7}}")
"""A number in words: "тысяча двести", "две с половиной тысячи", "twenty-five"."""

ORDINAL = (
    rf"(?:(?:двадцать|тридцать)\s)?(?:{_any_of(_ORDINALS)})(?:о(?:го|му|м|е)|ь?е(?:го|му|м)?|ь?им|ым)(?![а-яё])"
    rf"|(?:(?:twenty|thirty)[\s-])?(?:{'|'.join(_ENGLISH)})(?![a-z])"
)
"""A day of the month or an hour in words: "двадцать пятого", "third"."""

ORDINAL_FLOOR = re.compile(rf"\b(?:(?:{_any_of(_ORDINALS)})\w{{1,3}}\s(?=этаж)|(?:{'|'.join(_ENGLISH)})\s(?=floor))")

HOURS_IN = _any_of(_HOURS_IN.split())
"""Hours in words, as in "at seven"."""

HOURS_FROM = _any_of(_HOURS_FROM.split())
"""Hours in words in the Russian genitive and dative, as in "from seven", "until seven", "by seven"."""

BEGINNING = rf"\b(?:{_any_of(_BEGINNINGS)})"
"""A number that forms one word with the thing it counts: "двухдневный", "полкило"."""


@cache
def multiplier_of(written: str) -> float:
    """The value of a word such as "hundred" or "million"; a single letter means a thousand."""
    written = written.strip()
    found = (size for size, pattern in MULTIPLIERS.items() if re.fullmatch(rf"(?:{pattern})\.?", written))
    return next(found, THOUSAND)


def spelled_value(words: str) -> float:
    """The value of a run of number words."""
    total = group = 0.0
    for word in re.split(r"[ -]", words.replace("ё", "е")):
        value = _NUMBERS.get(word, 0.0)
        if value >= THOUSAND or (not value and _MULTIPLIER.fullmatch(word)):
            size = multiplier_of(word)
            if size < THOUSAND:
                group = (group or 1.0) * size
            else:
                total, group = total + (group or 1.0) * size, 0.0
        elif value >= 100 > group > 0:  # "five two hundred" is spoken for 5,200
            total, group = total + group * THOUSAND, value
        else:
            group += 0.5 if word in ("половиной", "half") else value
    return total + group


def factor_of(words: str) -> float:
    """The factor of the last number word, such as 1000 for "thousand"; 1 if it is no multiplier."""
    last = words.rpartition(" ")[2]
    return multiplier_of(last) if _MULTIPLIER.fullmatch(last) else 1.0


def beginning_value(word: str) -> float:
    """The value of a number at the beginning of a word."""
    return _BEGINNINGS[word.replace("ё", "е")]


def ordinal_value(words: str) -> int:
    """The value of an ordinal."""
    *before, last = re.split(r"[ -]", words.strip().replace("ё", "е"))
    known = _ORDINALS | _ENGLISH
    stem = max((stem for stem in known if last.startswith(stem)), key=len)
    return int(sum(_NUMBERS[word] for word in before)) + known[stem]
