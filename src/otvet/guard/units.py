"""Tables of units and currencies, Russian and English, with their cases and short forms."""

import re
from functools import cache

from otvet.guard.spelled import BEGINNING, LETTER, MULTIPLIERS

Amount = tuple[str, float]
"""A kind of quantity, and the size of a unit in the kind's base unit."""

CURRENCIES = {
    "RUB": r"₽|руб(?:л\w+|\.)?|рубас\w*|рэ|деревянных|карбованц\w+|р(?:\.(?!\s?\w\.))?|rub|rur|rou?bles?",
    "KOPECK": r"коп(?:\.|е\w+)?",
    "USD": r"\$|usd|долл(?:ар\w*|\.)?|бакс\w*|dollars?|bucks?",
    "EUR": r"€|eur|евро|euros?",
    "GBP": r"£|gbp|фунт\w*(?:\sстерл\w+)?|pounds?",
    "KZT": r"₸|kzt|тенге|теңге\w*|тг",
    "BYN": r"byn|бел(?:\.|орусск\w+)\s?руб(?:л\w+|\.)?",
    "CNY": r"¥|cny|юан\w+|yuan",
    "UZS": r"uzs|сум(?:ов|а)?",
    "TRY": r"₺|лир\w?",
    "UAH": r"₴|uah|грн\.?|грив(?:ен|н\w+|ень)",
    "KGS": r"сом(?:ов|а)?",
    "GEL": r"₾|лари",
    "AMD": r"֏|amd|драм(?:ов|а)?",
    "AZN": r"₼|azn|манат\w*",
    "AED": r"aed|дирхам\w*|dirhams?",
    "ILS": r"₪|шекел\w+|shekels?",
    "INR": r"₹|inr|рупи\w+|rupees?",
    "THB": r"฿|thb|бат(?:ов|а)?",
    "PLN": r"pln|злот\w+",
    "JPY": r"jpy|[ий]ен[аы]?|yen",
    "CHF": r"chf|франк\w*|francs?",
    "VND": r"₫|vnd|донг\w*",
}

# The kind of quantity, the size of the unit in the kind's base unit, and the pattern of its spellings.
UNITS: tuple[tuple[str, float, str], ...] = (
    ("percent", 1, r"%|процент\w*|відсот\w+|пайыз\w*|percent|per\scent|pct"),
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
    ("RUB", 100, r"сот(?:ок|к\w)"),  # or hundreds of roubles
    ("m2", 10_000, r"га|гектар\w*|hectares?"),
    ("l", 0.001, r"мл|миллилитр\w*|ml|millilit(?:er|re)s?"),
    ("l", 1, r"л|литр\w*|l|lit(?:er|re)s?"),
    ("l", 1000, r"м³|м3|куб\.?\s?м\w*|кубометр\w*|куб(?:а|ов|ах)?|m³|m3|cubic\smet\w+"),
    ("minute", 1 / 60, r"сек|секунд\w*|sec|secs|seconds?"),
    ("minute", 1, r"мин|минут\w*|хвилин\w*|хв|min|mins|minutes?"),
    (
        "minute",
        60,
        r"ч|час|часик\w*|часок|часа|часов|часу|часам|часами|часах|часов\w+|h|hr|hrs|hours?|годин\w*|год\.|сағат\w*",
    ),
    ("minute", 1440, r"сут|сутк\w+|суток|суточн\w+"),
    (
        "day",
        1,
        r"дн|дня|день|дней|дню|дням|днями|днях|дневн\w+|днів|дні|днями|діб|доби|күн\w*|day|days|сут|сутк\w+|суток|суточн\w+",
    ),
    ("day", 7, r"нед|недел\w+|тижн\w+|тиждень|апта\w*|weeks?|wks?"),
    ("month", 1, r"мес|месяц\w*|місяц\w+|міс|айға|айдан|айда|месячн\w*|months?"),
    ("month", 3, r"квартал\w*"),
    (
        "month",
        12,
        r"год\.?|года|годы|году|годом|годов\w*|годичн\w+|годовал\w+|лет|летн\w+|летий|рок[иуа]\w*|років|рік|річн\w+|жыл\w*|years?|yrs?",
    ),
    ("night", 1, r"ноч\w+|ніч|ноч[іе]й|түн\w*|nights?"),
    ("times", 1, r"раз|раза|разів|рази|разов\w+|рет|times"),
    ("piece", 1, r"шт|штук\w*|дана\w*|pcs|pieces?|ед|items?"),
    (
        "person",
        1,
        r"чел|человек\w*|людин\w*|людей|осіб|особ[иау]|адам\w*|кісі\w*|персон\w*|гост\w+|взросл\w+|дет(?:ей|и|ям)|people|persons?|guests?|adults?|children"
        r"|мест|места|местн\w+|seats?",  # a seat is for one person
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

_COUNTED = "night times piece person lesson session floor module set pack bottle portion pair room bonus star page"
COUNTED = frozenset(_COUNTED.split())
"""Kinds of things that a reply often names in other words than the knowledge does, so the bare number is enough."""

_SHORT_THOUSAND = r"т(?=\.?\s?р(?:\b|уб))|т\.(?=\s?р)"
_THOUSAND_PIECES = r"штук[иуа]?(?= (?:руб|₽|р\b|рэ|бакс|долл|\$|евро|€))"  # slang
# "5к", and "5 К" where no other meaning is possible, unlike "д. 5 к. 2" and "с 5 к 7".
_LETTER_THOUSAND = r"[кk]\b|\s[кk](?=\s?(?:[!?,;)₽]|руб|р\b|\.?\s*\Z|\.\s+[^\W\d]))"

_ADJECTIVE = (
    r"(?:(?!кажд|люб|следующ|ближайш|этот)[а-яё]{3,}(?:ых|их|ый|ий|ой|ого|его|ая|ую|ые|ие|ое)"
    r"|business|working|calendar|full|whole|academic|more|раб\.|кал\.)\s"
)

CURRENCY_BEFORE = re.compile(r"(?:(usd|\$)|(eur|€)|(gbp|£)|(₽|rub)|(¥)|(₸)) ?\Z")
_BEFORE_CODES = ("USD", "EUR", "GBP", "RUB", "CNY", "KZT")

DAY = 1440.0
"""Minutes."""

_currency = "|".join(CURRENCIES.values())
_unit = "|".join(pattern for _, _, pattern in UNITS)
_multiplier = "|".join((*MULTIPLIERS.values(), _SHORT_THOUSAND, _THOUSAND_PIECES))
# A short form must end the word: "5 м" is a length, "5 мячей" is not.
AFTER_NUMBER = re.compile(
    rf"(?P<multiplier>(?: ?(?:{_multiplier})(?![{LETTER}])|{_LETTER_THOUSAND})\.?)?"
    rf"(?: ?(?P<currency>(?:{_currency})(?![{LETTER}]))"
    rf"|[ -]?(?:{_ADJECTIVE})??(?P<unit>(?:{_unit})(?![{LETTER}0-9²³])))?"
)

JOINED = re.compile(rf"{BEGINNING}(?=-?(?:{_unit}|{_currency}|{_multiplier})(?![{LETTER}]))")
"""The number at the beginning of a word: "двухдневный", "полкило", "полтысячи"."""

_FEW = "минуты часа дня недели месяца года рубля штуки метра километра килограмма литра процента тысячи сотни"
_MANY = (
    "минут часов дней суток недель месяцев лет рублей штук человек метров километров килограммов литров процентов"
    " тысяч сотен"
)
ABOUT = re.compile(
    rf"\b(?:(?P<few>{'|'.join(_FEW.split())})|(?P<many>{'|'.join(_MANY.split())}))"
    r"(?:\s(?:за|через|на|по|до|около|от|в))?\s\Z"
)
"""A unit before its number, which makes the number approximate: "минут сорок", "часа через два"."""


@cache
def currency_of(written: str) -> str:
    """The code of a currency; empty if it is none. written: in lower case."""
    return next((code for code, pattern in CURRENCIES.items() if re.fullmatch(pattern, written)), "")


@cache
def amounts_of(written: str) -> tuple[Amount, ...]:
    """The possible meanings of a unit; most units have one."""
    return tuple((name, size) for name, size, pattern in UNITS if re.fullmatch(pattern, written))


def currency_before(match: re.Match[str]) -> str:
    """The code of the currency before a number, from a match of CURRENCY_BEFORE."""
    return next(code for code, group in zip(_BEFORE_CODES, match.groups(), strict=True) if group)
