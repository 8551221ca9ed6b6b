"""Finds what a reply must not contain: instructions, keys, tags, blanks, foreign alphabets. No I/O."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence, Set
from datetime import UTC, datetime

from otvet.guard import spoken, unseen
from otvet.guard.fact import visible
from otvet.guard.finding import KEY_KIND, Finding
from otvet.guard.masking import placeholders
from otvet.responders.base import Context, Line
from otvet.responders.prompt import write_prompt
from otvet.responders.sentences import cut

LONG_RUN = 12
"""The number of words in a row from the instructions that is a leak."""

SHORT_RUN = 5
"""The words of the shortest run that counts towards LEAKED: a leak may have other words in between."""

_Gram = tuple[str, ...]

LEAKED = 18
"""The number of words in short runs that is a leak; for short instructions, half of their words."""

_SHOWN = 60  # characters of a leaked piece that are kept with the reply
_SECRET_LENGTH = 6  # a shorter configured secret may be a word

_WORD = re.compile(r"[^\W_]+")
_QUOTED = re.compile(r"«[^»]*»|“[^”]*”|\"[^\"\n]*\"")

_KEY_SHAPES = re.compile(
    r"(?<!\w)(?:sk|pk|rk)[-_][\w-]{16,}"
    r"|\bBearer\s+[\w.~+/=-]{12,}"
    r"|\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?"
    r"|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[abprs]-[\w-]{10,}"
    r"|\bAKIA[0-9A-Z]{12,}|\bAIza[\w-]{20,}|\bAQVN[\w-]{20,}|\bt1\.[\w-]{30,}"
    r"|(?<!\d)\d{8,10}:[\w-]{30,}"
    r"|\b[a-z][a-z0-9+]{1,20}://[^\s/@:]{1,80}:[^\s/@]{1,80}@"
    r"|\b[A-Z][A-Z0-9]{0,30}(?:_[A-Z0-9]{1,30}){0,5}_(?:SECRET|TOKEN|KEY|PASSWORD)\s?[=:]\s?\S{6,}"
    r"|-----BEGIN [A-Z ]+-----"
)
_TAG = re.compile(
    r"[<‹]\s*/?\s*(?:message|question|conversation|instructions?|knowledge|known|summary|earlier|refused|draft|review"
    r"|manager|findings?|history|system|assistant|passage|context)\b[^<>]{0,80}>?",
    re.IGNORECASE,
)
# Words that name what belongs into a blank. A bracket that begins with one of the first ones is never for a client.
_FILL_IN = (
    r"ваше?|имя|название|укажите|указать|вставьте|вставить|номер|дата|адрес|ссылка|сумма|цена|клиент"
    r"|your|name|insert|company|link|date|address|number|price|amount|client"
)
_SLOT_WORDS = (
    rf"{_FILL_IN}|име|фамили\w|отчеств\w|фио|ваш\w*|клиент\w*|покупател\w|менеджер\w*|оператор\w*|сотрудник\w*|компани\w"
    r"|магазин\w*|организаци\w|названи\w|товар\w*|услуг\w|продукт\w*|номер\w*|адрес\w*|город\w*|дат[уы]|день|врем\w+"
    r"|час\w*|срок\w*|сумм\w|цен\w|стоимост\w|[сc]сылк\w|сайт\w*|промокод\w*|подпис\w+|вставь\w*|введ\w+|ввести"
    r"|заполн\w+|здесь|текст[ау]?"
    r"|names|customer|user|product|item|service|shop|store|manager|agent|city|time|day|sum|url|website|signature|here|text"
)
# A blank that a model left to be filled in. ``always``: a leak even if the conversation or the knowledge has it.
_BLANK = re.compile(
    rf"(?P<always>\{{\{{[^{{}}\n]{{1,40}}\}}\}}|\$?\{{[a-z_]{{2,30}}\}}|\[(?:{_FILL_IN})(?![^\W_])[^\[\]\n]{{0,40}}\])"
    rf"|\[(?=[^\[\]]*(?<![^\W_])(?:{_SLOT_WORDS})(?![^\W_]))[^\W\d][^\[\]\n\d,]{{1,40}}\](?!\()"
    r"|[{<‹][а-яё][а-яё _-]{1,40}[}>›]|%[a-zа-яё_]{2,30}%|\$\{[\w.]{2,30}\}|(?<![\w$])\$[a-z]\w{2,30}"
    r"|(?<![^\W_])(?:[XХ]{3,}|\[[XХ]{2,}\])(?![^\W_])|_{3,}",
    re.IGNORECASE,
)
# Marks that programs and models write to each other.
_MACHINE = re.compile(
    r"<\|[\w ]{1,40}\|>|\[/?INST\]|<<?/?SYS>>?|</?think(?:ing)?>|```"
    r"|^\s*(?:assistant|system|user|ассистент)\s*:|^\s*[{\[]\s*\"[^\"\n]{1,60}\"\s*[:,\]]"
    r"|^Traceback \(most recent|\b(?:Internal Server Error|Bad Gateway|Service Unavailable|Too Many Requests)\b",
    re.IGNORECASE | re.MULTILINE,
)
_NOTHING = frozenset(("null", "none", "nil", "undefined", "nan", "true", "false", "n/a", "{}", "[]", '""'))
"""Texts that programs write for "no text"."""

_NOBODY = Line("client", "", datetime(2000, 1, 1, tzinfo=UTC), unseen=True)
_FRAME = re.sub(r"<[^>]*>", " . ", write_prompt(Context(0, 0, 0, (), (_NOBODY,), "en", "")))
"""The prompt's own words, without a conversation."""

_LOOK_ALIKE = {"GREEK": 3, "ARMENIAN": 3, "CYRILLIC": 2}
"""The letters in a row that make a word; fewer may be a symbol or a typing error."""

_SCRIPTS = (
    "CYRILLIC GREEK ARMENIAN GEORGIAN CJK HIRAGANA KATAKANA HANGUL BOPOMOFO ARABIC HEBREW SYRIAC THAI LAO KHMER MYANMAR"
    " TIBETAN DEVANAGARI BENGALI GURMUKHI GUJARATI TAMIL TELUGU KANNADA MALAYALAM SINHALA ETHIOPIC MONGOLIAN"
)
_ALPHABETS = frozenset(_SCRIPTS.split())


def check(text: str, context: Context, secrets: Iterable[str] = ()) -> list[Finding]:
    """The leaks of a text, each once.

    secrets: keys and passwords of this installation. A finding names a secret's kind, never the secret.
    """
    text = visible(text)
    if not _says_something(text):
        return [Finding("empty", text.strip())]
    found = [
        *_instructions(text, context),
        *_secrets(text, secrets),
        *(Finding("placeholder", piece) for piece in _blanks(text, context)),
        *(Finding("tag", piece) for piece in _tags(text, context)),
        *(list(spoken.check(text, context)) or _alphabets(text, context)),
        *unseen.check(text, context),
    ]
    return list(dict.fromkeys(found))


def tidy(text: str, limit: int) -> str:
    """The text without space around it and within ``limit`` characters: cut after a sentence, nothing added.

    Unpaired surrogates and control characters, which a model may write, are left out: no database takes all of them.
    """
    kept = (char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"))
    return cut("".join(kept).strip(), limit)


def _says_something(text: str) -> bool:
    if text.strip().strip(".").casefold() in _NOTHING:
        return False
    return any(unicodedata.category(char)[0] in "LNS" for char in text)


def _blanks(text: str, context: Context) -> Iterator[str]:
    """The blanks of a text."""
    known = "\n".join(_all_texts(context)).casefold()
    yield from placeholders(text)
    blanks = _BLANK.finditer(text)
    yield from (match[0] for match in blanks if match["always"] or match[0].casefold() not in known)


def _tags(text: str, context: Context) -> Iterator[str]:
    asked = context.question_text.casefold()
    yield from _matches(_TAG, text)
    yield from (piece.strip() for piece in _matches(_MACHINE, text) if piece.casefold().strip() not in asked)


def _instructions(text: str, context: Context) -> Iterator[Finding]:
    """Long quotations from the instructions and from the prompt's own words around them."""
    said = _words(text)
    public = _grams(_words("\n".join(_public(context))))
    for source in (context.instructions, _FRAME):
        # Words between quotation marks in the instructions are meant for clients.
        secret = _words(_QUOTED.sub(" . ", source))
        runs = _runs(said, _grams(secret) - public)
        longest = max(runs, key=len, default=[])
        enough = max(LONG_RUN, min(LEAKED, len(secret) // 2))
        if len(longest) >= LONG_RUN or sum(map(len, runs)) >= enough:
            yield Finding("instructions", " ".join(longest)[:_SHOWN])


def _runs(said: Sequence[str], secret: Set[_Gram]) -> list[list[str]]:
    """The pieces of a text that consist of the secret's runs of words, in any order."""
    runs: list[list[str]] = []
    end = 0
    for start in range(len(said) - SHORT_RUN + 1):
        if tuple(said[start : start + SHORT_RUN]) in secret:
            if start >= end:
                runs.append([])
            runs[-1] += said[max(start, end) : start + SHORT_RUN]
            end = start + SHORT_RUN
    return runs


def _grams(words: Sequence[str]) -> set[_Gram]:
    return {tuple(words[start : start + SHORT_RUN]) for start in range(len(words) - SHORT_RUN + 1)}


def _public(context: Context) -> Iterator[str]:
    """The texts that a reply may quote."""
    for passage in context.knowledge:
        yield from (passage.heading, passage.text)
    yield from (value for _, value in context.known)
    yield from (line.text for line in (*context.history, *context.question) if line.sender != "client")


def _secrets(text: str, secrets: Iterable[str]) -> Iterator[Finding]:
    closed = _closed(text)
    if any(len(_closed(secret)) >= _SECRET_LENGTH and _closed(secret) in closed for secret in secrets):
        yield Finding(KEY_KIND, "***")
    for piece in _matches(_KEY_SHAPES, text):
        yield Finding(KEY_KIND, f"{piece[:4]}***")


def _closed(text: str) -> str:
    """Only the letters and digits, in lower case, so that no characters in between hide a secret."""
    return re.sub(r"[\W_]", "", text).casefold()


def _alphabets(text: str, context: Context) -> Iterator[Finding]:
    """Words in an alphabet that the conversation does not use."""
    foreign = _written_in(text)
    if foreign:
        used = {
            *_written_in("\n".join(_all_texts(context))),
            *(["CYRILLIC"] if spoken.languages(context) - {"en"} else []),
        }
        for alphabet, words in foreign.items():
            if alphabet not in used:
                yield Finding("alphabet", words[0])


def _written_in(text: str) -> dict[str, list[str]]:
    """The alphabets of a text other than Latin, each with its runs of letters that are long enough to be a word."""
    found: dict[str, list[str]] = {}
    run, last = "", ""
    for char in f"{text} ":
        alphabet = "" if char.isascii() else _alphabet(char)
        if alphabet != last:
            if last and len(run) >= _LOOK_ALIKE.get(last, 1):
                found.setdefault(last, []).append(run)
            run, last = "", alphabet
        run += char
    return found


def _alphabet(char: str) -> str:
    if not char.isalpha():
        return ""
    name = unicodedata.name(char, "").partition(" ")[0]
    return name if name in _ALPHABETS else ""


def _all_texts(context: Context) -> Iterator[str]:
    yield context.instructions
    yield from (line.text for line in (*context.history, *context.question))
    yield from (value for _, value in context.known)
    for passage in context.knowledge:
        yield from (*passage.above, passage.heading, passage.text)


def _words(text: str) -> list[str]:
    return _WORD.findall(_folded(text))


def _folded(text: str) -> str:
    return visible(text).casefold().replace("ё", "е")


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    return (match[0] for match in pattern.finditer(text))
