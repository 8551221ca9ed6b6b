"""Tables of numbers in words with their cases: Russian, Ukrainian, Kazakh, English; slang, hours, ordinals.

Everything is in lower case, and е matches ё too.
"""

import re
from collections.abc import Iterable
from functools import cache
from itertools import product

THOUSAND = 1000.0

_WORDS = {
    1: "один одна одно одного одной одну одному одним one одне однієї",
    1.5: "полтора полторы полутора півтора півтори",
    2: "два две двух двум двумя двое двоих two дві двох двома двом",
    3: "три трех трем тремя трое троих three трьох трьома трьом",
    4: "четыре четырех четырем четырьмя четверо четверых four чотири чотирьох чотирьом чотирма",
    5: "пять пяти пятью пятеро пятерых five п'ять п'яти п'ятьма п'ятьох",
    6: "шесть шести шестью шестеро шестерых six шість шістьох шістьма",
    7: "семь семи семью семеро семерых seven сім сімох сьома",
    8: "восемь восьми восемью восьмью восьмеро eight вісім восьми вісьмома",
    9: "девять девяти девятью nine дев'ять дев'яти дев'ятьма",
    10: "десять десяти десятью десяток десятка чирик чирика червонец червонца ten",
    11: "одиннадцать одиннадцати одиннадцатью eleven одинадцять одинадцяти",
    12: "двенадцать двенадцати двенадцатью дюжина дюжину дюжины twelve dozen дванадцять дванадцяти",
    13: "тринадцать тринадцати тринадцатью thirteen тринадцять тринадцяти",
    14: "четырнадцать четырнадцати четырнадцатью fourteen чотирнадцять чотирнадцяти",
    15: "пятнадцать пятнадцати пятнадцатью fifteen п'ятнадцять п'ятнадцяти",
    16: "шестнадцать шестнадцати шестнадцатью sixteen шістнадцять шістнадцяти",
    17: "семнадцать семнадцати семнадцатью seventeen сімнадцять сімнадцяти",
    18: "восемнадцать восемнадцати восемнадцатью eighteen вісімнадцять вісімнадцяти",
    19: "девятнадцать девятнадцати девятнадцатью nineteen дев'ятнадцять дев'ятнадцяти",
    20: "двадцать двадцати двадцатью twenty двадцять двадцяти",
    30: "тридцать тридцати тридцатью thirty тридцять тридцяти",
    40: "сорок сорока forty",
    50: "пятьдесят пятидесяти пятьюдесятью полтинник полтинника полтос полтоса fifty п'ятдесят п'ятдесяти",
    60: "шестьдесят шестидесяти шестьюдесятью sixty шістдесят шістдесяти",
    70: "семьдесят семидесяти семьюдесятью seventy сімдесят сімдесяти",
    80: "восемьдесят восьмидесяти восемьюдесятью eighty вісімдесят вісімдесяти",
    90: "девяносто девяноста ninety дев'яносто дев'яноста",
    100: "сто ста стольник стольника сотка сотку соткой",
    200: "двести двухсот двумстам двумястами двухстах двісті двохсот",
    300: "триста трехсот тремстам тремястами трехстах трьохсот",
    400: "четыреста четырехсот четыремстам четырьмястами четырехстах чотириста чотирьохсот",
    500: "пятьсот пятисот пятистам пятьюстами пятистах пятихатка пятихатку пятихатки пятихатке пятихаткой пятисотка"
    " пятисотку пятисотки пятихаточку п'ятсот п'ятисот",
    600: "шестьсот шестисот шестистам шестьюстами шестистах шістсот шестисот",
    700: "семьсот семисот семистам семьюстами семистах сімсот семисот",
    800: "восемьсот восьмисот восьмистам восемьюстами восьмистах вісімсот восьмисот",
    900: "девятьсот девятисот девятистам девятьюстами девятистах дев'ятсот дев'ятисот",
    1000: "тысяча тысячу тысячей тысячью тыща тыщу тыщей тыще косарь косаря косарик косарём тисяча тисячу",
    1_000_000: "миллион мільйон лям",
}
_MONEY = "чирик червон полтинник полтос стольник сотка сотку соткой пятихат пятисотк косар лям"
"""The beginnings of the slang words that count roubles and nothing else."""

_SLANG = {1.5: "полторашк", 3: "тр[её]шк", 5: "пят[её]рк", 10: "десятк", 15: "пятнашк", 20: "двадцатк", 30: "тридцатк"}
SLANG = re.compile(
    rf"(?:(?<=\bза\s)|(?<=[:=]\s)|(?<=-\s)|(?<=,\s)|(?<=\bпо\s)|(?<=залог\s)|(?<=стоит\s)|(?<=цена\s)|\A|(?<=[.!?\n]\s)|(?<=\A))"
    rf"(?:{'|'.join(_SLANG.values())})(?:а|у|и|ой|е)(?![а-яё])"
    rf"(?:(?<=\bза \w{{6}})|(?<=\bза \w{{7}})|(?<=\bза \w{{8}})|(?<=\bза \w{{9}})"
    rf"|(?=\s*(?:[.,!?;\n]|\Z|залог|сдела|отда|устро|договор)))"
)
"""A round sum in slang, in roubles or thousands of them: "за двадцатку", "залог - трёшка"."""

_KAZAKH = "бір екі үш төрт бес алты жеті сегіз тоғыз он жиырма отыз қырық елу алпыс жетпіс сексен тоқсан"
_KAZAKH_VALUES = (*range(1, 11), *range(20, 100, 10))
_KAZAKH_CASES = ("", *"ден дан тен тан нен нан ге ға ке қа де да те та дің тің".split())  # noqa: SIM905
_NUMBERS = {word: float(value) for value, words in _WORDS.items() for word in words.split()} | {
    word + case: float(value)
    for word, value in zip(_KAZAKH.split(), _KAZAKH_VALUES, strict=True)
    for case in _KAZAKH_CASES
}

MULTIPLIERS = {
    100.0: r"сот(?:ня|ни|ню|ен|ней|ням)|hundred|жүз(?:ден|ге|де)?",
    1_000.0: r"тыс(?:яч\w*|\.)?|thousand"
    r"|тыщ\w*|тисяч\w*|кос(?:арь|ар[яеюё]\w*|арик\w*)|тыр(?!\w)|мың(?:нан|ға|да|ның)?",
    1_000_000.0: r"млн\.?|миллион\w*|million|мільйон\w*|лям(?:а|ов)?(?!\w)",
    1_000_000_000.0: r"млрд\.?|миллиард\w*|billion",
}
_MULTIPLIER = re.compile("|".join(MULTIPLIERS.values()))
_ONE_OF_THEM = "сотня сотню hundred thousand million жүз мың мыңға мыңнан"

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


KAZAKH_HOUR = rf"(?:\d{{1,2}}(?!\d)|(?:(?:он|жиырма)\s)?(?:{'|'.join(_KAZAKH.split())})(?=[дтнгқк\s]))"
"""An hour in Kazakh, in figures or words, before its ending."""


def _any_of(words: Iterable[str]) -> str:
    """A pattern that matches any of the words, the longest first."""
    return "|".join(sorted(words, key=len, reverse=True)).replace("е", "[её]")


LETTER = "a-zа-яёіїєґәғқңөұүһ'"
"""What a word may go on with, for a class of a pattern."""

_OTHER_SENSES = frozenset("он онда онға оны бес беске беста бесте десятка сьома дің".split())  # noqa: SIM905
"""Words that mean a number only beside another number word: "он" is ten in Kazakh and "he" in Russian."""

_BEFORE_ONE = "от до около более менее свыше порядка больше меньше из від понад"
_GENITIVE = "|".join(rf"(?<=\b{before}\s)" for before in _BEFORE_ONE.split())
_OF_ONE = rf"(?:{_GENITIVE})(?:тысячи|тыщи|тисячі|сотни|миллиона)"
_more = rf"{_any_of((*_NUMBERS, *_ONE_OF_THEM.split()))}|{_MULTIPLIER.pattern}|с\sполовиной|and\sa\shalf|жарым"
_word = _any_of((*(_NUMBERS.keys() - _OTHER_SENSES), *_ONE_OF_THEM.split()))
_beside = (
    rf"(?:{_any_of(_OTHER_SENSES)})(?= (?:{_any_of(_KAZAKH.split())}|мың|жүз|теңге|тг|күн|сағат|минут|дана|адам|пайыз))"
)
SPELLED = re.compile(
    rf"\b(?:{_word}|{_beside}|{_OF_ONE})(?![{LETTER}])"
    rf"(?:(?: |(?<=ty)-|(?<=hundred) and |(?<=thousand) and )(?:{_more})(?![{LETTER}])){{0,7}}"
)
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
        elif group and value < THOUSAND and is_money(word):  # "two five-hundreds" are a thousand
            group *= value
        elif value >= 100 > group > 0:  # "five two hundred" is spoken for 5,200
            total, group = total + group * THOUSAND, value
        else:
            group += 0.5 if word in ("половиной", "half", "жарым") else value
    return total + group


def slang_values(word: str) -> tuple[float, ...]:
    """What a word of slang may stand for: "двадцатка" is 20 or 20,000."""
    value = next(value for value, stem in _SLANG.items() if re.match(stem, word))
    return (value, value * THOUSAND)


def is_money(words: str) -> bool:
    """Whether a number is said in words that count only roubles: "две пятихатки", "косарь"."""
    return any(word.startswith(tuple(_MONEY.split())) for word in words.split())


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
