"""Units, currencies and number words, Russian and English, with their cases and short forms. Tables only."""

import re
from functools import cache

Amount = tuple[str, float]
"""What is counted and how many of its smallest unit."""

_CURRENCIES = {
    "RUB": r"₽|руб(?:л\w+|\.)?|рубас\w*|р(?:\.(?!\s?\w\.))?|rub|rur|rou?bles?",
    "KOPECK": r"коп(?:\.|е\w+)?",
    "USD": r"\$|usd|долл(?:ар\w*|\.)?|бакс\w*|dollars?|bucks?",
    "EUR": r"€|eur|евро|euros?",
    "GBP": r"£|gbp|фунт\w*(?:\sстерл\w+)?|pounds?",
    "KZT": r"₸|kzt|тенге|тг",
    "BYN": r"byn|бел(?:\.|орусск\w+)\s?руб(?:л\w+|\.)?",
    "CNY": r"¥|cny|юан\w+|yuan",
    "UZS": r"uzs|сум(?:ов|а)?",
    "TRY": r"₺|лир\w?",
}

# What is counted, how many of its smallest unit one is, and how it is written.
_UNITS: tuple[tuple[str, float, str], ...] = (
    ("percent", 1, r"%|процент\w*|percent|per\scent|pct"),
    ("g", 0.001, r"мг|миллиграмм\w*|mg"),
    ("g", 1, r"г|гр|грамм\w*|g|grams?|grammes?"),
    ("g", 1000, r"кг|кило|килограмм\w*|kg|kgs|kilos?|kilograms?"),
    ("g", 1_000_000, r"т|тонн\w*|tons?|tonnes?"),
    ("lb", 1, r"lbs?|pounds?"),
    ("oz", 1, r"oz|ounces?|унци\w+"),
    ("mm", 0.001, r"мкм"),
    ("mm", 1, r"мм|миллиметр\w*|mm|millimet(?:er|re)s?"),
    ("mm", 10, r"см|сантиметр\w*|cm|centimet(?:er|re)s?"),
    ("mm", 100, r"дм|дециметр\w*"),
    ("mm", 1000, r"м|метр\w*|пог(?:\.|онн\w+)\s?м\w*|m|met(?:er|re)s?"),
    ("mm", 1_000_000, r"км|километр\w*|km|kms|kilomet(?:er|re)s?"),
    ("inch", 1, r"дюйм\w*|inch(?:es)?"),
    ("foot", 1, r"фут\w*|ft|feet|foot"),
    ("mile", 1, r"мил(?:я|и|ь|ю|ях)|miles?"),
    ("m2", 1, r"м²|м2|кв\.?\s?м(?:етр\w*)?|квадрат\w*(?:\sметр\w*)?|m²|m2|sq\.?\s?m|square\smet\w+"),
    ("m2", 100, r"сот(?:ок|к\w)"),
    ("m2", 10_000, r"га|гектар\w*|hectares?"),
    ("l", 0.001, r"мл|миллилитр\w*|ml|millilit(?:er|re)s?"),
    ("l", 1, r"л|литр\w*|l|lit(?:er|re)s?"),
    ("l", 1000, r"м³|м3|куб\.?\s?м\w*|кубометр\w*|куб(?:а|ов|ах)?|m³|m3|cubic\smet\w+"),
    ("minute", 1 / 60, r"сек|секунд\w*|sec|secs|seconds?"),
    ("minute", 1, r"мин|минут\w*|min|mins|minutes?"),
    ("minute", 60, r"ч|час|часа|часов|часу|часам|часами|часах|часов\w+|h|hr|hrs|hours?"),
    ("minute", 1440, r"сут|сутк\w+|суток|суточн\w+"),
    ("day", 1, r"дн|дня|день|дней|дню|дням|днями|днях|дневн\w+|day|days|сут|сутк\w+|суток|суточн\w+"),
    ("day", 7, r"нед|недел\w+|weeks?|wks?"),
    ("month", 1, r"мес|месяц\w*|месячн\w*|months?"),
    ("month", 3, r"квартал\w*"),
    ("month", 12, r"год|года|годы|году|годом|годов\w*|лет|летн\w+|летий|years?|yrs?"),
    ("night", 1, r"ноч\w+|nights?"),
    ("time", 1, r"раз|раза|times"),
    ("piece", 1, r"шт|штук\w*|pcs|pieces?|ед|items?"),
    (
        "person",
        1,
        r"чел|человек\w*|персон\w*|гост\w+|взросл\w+|дет(?:ей|и|ям)|people|persons?|guests?|adults?|children",
    ),
    ("lesson", 1, r"урок\w*|заняти\w+|lessons?|classes"),
    ("session", 1, r"процедур\w*|сеанс\w*|визит\w*|sessions?|visits?"),
    ("floor", 1, r"этаж\w*|floors?"),
    ("module", 1, r"модул\w+|modules?"),
    ("set", 1, r"комплект\w*|набор\w*|sets?"),
    ("pack", 1, r"упак(?:\.|ов\w+)|пач\w+|короб\w+|мешк\w+|мешок|рулон\w*|packs?|boxe?s?|bags?"),
    ("bottle", 1, r"бутыл\w+|bottles?"),
    ("portion", 1, r"порци\w+|portions?|servings?"),
    ("pair", 1, r"пара|пары|паре|pairs?"),
    ("seat", 1, r"мест|места|местн\w+|seats?"),
    ("room", 1, r"комнат\w*|rooms?|bedrooms?"),
    ("bonus", 1, r"бонус\w*|балл\w*|points?"),
    ("star", 1, r"зв[её]зд\w*|stars?"),
    ("page", 1, r"стр|страниц\w*|pages?"),
    ("degree", 1, r"°\s?[cс]?|градус\w*|degrees?"),
    ("kcal", 1, r"ккал|килокалори\w+|kcal|calories"),
    ("watt", 1, r"вт|ватт\w*|w|watts?"),
    ("watt", 1000, r"квт|киловатт\w*|kw"),
    ("mah", 1, r"мач|мa·ч|mah"),
    ("mb", 1, r"мб|мегабайт\w*|mb"),
    ("mb", 1000, r"гб|гигабайт\w*|gb"),
    ("mb", 1_000_000, r"тб|терабайт\w*|tb"),
    ("mbit", 1, r"мбит(?:/с)?|мегабит\w*|mbps|mbit(?:/s)?"),
    ("km/h", 1, r"км/ч\w*|km/h|kmh"),
    ("hertz", 1, r"гц|герц\w*|hz"),
)

_COUNTED = "night time piece person lesson session floor module set pack bottle portion pair seat room bonus star page"
COUNTED = frozenset(_COUNTED.split())
"""Things that a text often names otherwise than a reply does, so that the number alone may stand for them."""

_MULTIPLIERS = {
    1_000.0: r"тыс(?:яч\w*|\.)?|thousand|т(?=\.?\s?р(?:\b|уб))|т\.(?=\s?р)",
    1_000_000.0: r"млн\.?|миллион\w*|million",
}
_GLUED_THOUSAND = r"[кk]\b"

_ADJECTIVE = (
    r"(?:(?!кажд|люб|следующ|ближайш|этот)[а-яё]{3,}(?:ых|их|ый|ий|ой|ого|его|ая|ую|ые|ие|ое)"
    r"|business|working|calendar|full|whole|academic|more|раб\.|кал\.)\s"
)

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
    50: "пятьдесят пятидесяти fifty",
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
}
THOUSAND = 1000.0
_ORDINALS = {
    1: "перв",
    2: "втор",
    3: "трет",
    4: "четверт",
    5: "пят",
    6: "шест",
    7: "седьм",
    8: "восьм",
    9: "девят",
    10: "десят",
}
NUMBER_WORDS = {word: float(value) for value, words in _WORDS.items() for word in words.split()}
_word = "|".join(sorted(NUMBER_WORDS, key=len, reverse=True)).replace("е", "[её]")
SPELLED = re.compile(rf"\b(?:{_word})(?:(?: |(?<=ty)-)(?:{_word})){{0,5}}\b(?:\s(?:с\sполовиной|and\sa\shalf))?")
ORDINAL_FLOOR = re.compile(
    rf"\b({'|'.join(_ORDINALS.values())})\w{{1,3}}\s(?=этаж)|\b(first|second|third|fourth|fifth)\s(?=floor)".replace(
        "е", "[её]"
    )
)
_ENGLISH_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}

CURRENCY_BEFORE = re.compile(r"(?:(usd|\$)|(eur|€)|(gbp|£)|(₽)|(rub)|(¥))\s?\Z")
_BEFORE_CODES = ("USD", "EUR", "GBP", "RUB", "RUB", "CNY")

_currency = "|".join(_CURRENCIES.values())
_unit = "|".join(pattern for _, _, pattern in _UNITS)
_multiplier = "|".join(_MULTIPLIERS.values())
# The letters after a short form decide: "5 м" is a length, "5 мячей" is not.
AFTER_NUMBER = re.compile(
    rf"(?P<multiplier>(?:\s?(?:{_multiplier})(?![a-zа-яё])|{_GLUED_THOUSAND})\.?)?"
    rf"(?:\s?(?P<currency>(?:{_currency})(?![a-zа-яё]))"
    rf"|[\s-]?(?:{_ADJECTIVE})??(?P<unit>(?:{_unit})(?![a-zа-яё0-9²³])))?"
)


@cache
def currency_of(written: str) -> str:
    """The code of a currency as it is written, in lower case."""
    return next(code for code, pattern in _CURRENCIES.items() if re.fullmatch(pattern, written))


@cache
def amounts_of(written: str) -> tuple[Amount, ...]:
    """What a unit may mean; most mean one thing."""
    return tuple((name, size) for name, size, pattern in _UNITS if re.fullmatch(pattern, written))


@cache
def multiplier_of(written: str) -> float:
    """A thousand or a million."""
    written = written.strip().rstrip(".")
    return 1_000_000.0 if written.startswith(("млн", "милл", "mill")) else 1_000.0


def currency_before(match: re.Match[str]) -> str:
    """The code of a currency whose sign stands before the number."""
    return next(code for code, group in zip(_BEFORE_CODES, match.groups(), strict=True) if group)


def spelled_value(words: str) -> float:
    """The number that a run of number words is: hundreds, tens and ones add up."""
    half = 0.5 if words.endswith(("половиной", "half")) else 0.0
    total = 0.0
    for word in re.split(r"[ -]", words.replace("ё", "е")):
        value = NUMBER_WORDS.get(word, 0.0)
        total = total * value if value == THOUSAND and total else total + value
    return total + half


def ordinal_value(match: re.Match[str]) -> float:
    """The number that an ordinal is."""
    if match[2]:
        return float(_ENGLISH_ORDINALS[match[2]])
    stem = match[1].replace("ё", "е")
    return float(next(value for value, word in _ORDINALS.items() if word == stem))
