"""Turns a text into tags, so that one pattern stands for many wordings: "позовите менеджера" is "CALL STAFF". No I/O.

The words of a tag and the patterns stand in a TOML file beside the module that asks. Words may be misspelt, and Russian
may be written in Latin letters or with the keyboard in the wrong layout.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path

from otvet.responders.knowledge.typos import sound_of

_POLITE = "POLITE"
OTHER = "x"
"""The tag of a word that no list has."""
IMPERATIVE = "IMP"
"""The tag of such a word if it has the ending of a polite imperative: "попросите"."""

_LEAST_FOR_SLIPS = 7  # sounds; a slip in a shorter word makes another word
_LEAST_FOR_SOUND = 4  # sounds of a stem in Latin letters

_LETTERS = str.maketrans("ёйәғқңөұүһіїєґэ", "еиагкноуухииеге")
_ADDRESS = re.compile(
    r"(?:https?://|www\.)\S+|\b[\w.+-]+@[\w-]+\.\w+|\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,6}\b(?:/\S*)?", re.I
)
_APOSTROPHES = re.compile(r"(?<=\w)['’ʼ`](?=\w)")
_LOOK_ALIKE = str.maketrans("abcehikmoptxy", "авсенікмортху")
_TWO_ALPHABETS = re.compile(r"\b(?=\w*[а-яіїєґ])(?=\w*[a-z])[^\W\d_]+")
_SPACES = re.compile(" {2,}")
_STRETCHED = re.compile(r"([^\W\d])\1{2,}")
_APART = re.compile(r"(?<!\w)[^\W\d]([ .*_-])(?:[^\W\d]\1){2,}[^\W\d](?!\w)")
_TOKEN = re.compile(r"\d[\d.,]*|[^\W\d_]+(?:-[^\W\d_]+)*|[,—–:()]|\s-\s")
_SENTENCE = re.compile(r"[.!…;\n]+|\?+")
_WORD = re.compile(r"\d[\d., -]*|[^\W\d_]+|[?!]")
_CYRILLIC = re.compile(r"[а-я]")
_ENGLISH = re.compile(
    r"\b(?:the|is|are|you|for|does|can|my|how|what|there|of|and|this|with|have|want|need|get|let|it|was|your|please|not|dont"
    r"|talk|speak|human|person|real|someone|in|at|or|from|any|has|will|would|could|when|where|which|who|an|am|on|be|im)\b"
)
"""What tells English from Russian in Latin letters."""

_NUMBER, _LONG_NUMBER = "n", "N"
_LEAST_FOR_LONG = 7  # digits
_ORDERS = re.compile(r"[^\W\d_]{2}(?:ите|аите|ьте|уите|еите|yite|aite|ite)(?:сь)?\Z")
_EDGES = {
    "^": r"(?:\A|(?<=,\s))",
    "$": r"(?=[,?]\s|\Z)",
    "^^": r"\A",
    "$$": r"(?:\?\s)?\Z",
    "?": r"\?\s",
}
"""The edges of a clause and of a sentence, and the question mark."""

_DIGRAPHS = "shch:щ sch:щ zh:ж ch:ч sh:ш kh:х ts:ц tz:ц ya:я ja:я yu:ю ju:ю yo:е jo:е iy:ий iu:ю"
_TRANSLIT = dict(pair.split(":") for pair in _DIGRAPHS.split()) | dict(
    zip("abvwgdezijklmnopqrstufhxcy", "абввгдезижклмнопкрстуфххцы", strict=True)
)
_LATIN_PIECE = re.compile("|".join(sorted(_TRANSLIT, key=len, reverse=True)))
_DIGIT_LETTER = re.compile(r"(?<![\w])[46](?=[a-z]{2})|(?<=[a-z])[46](?=[a-z])")
_KEYS = str.maketrans("qwertyuiop[]asdfghjkl;'zxcvbnm,.`", "йцукенгшщзхъфывапролджэячсмитьбюё")


def plain(text: str) -> str:
    """The text in one spelling: lower case, one letter for several that sound alike, one alphabet in a word."""
    text = _APOSTROPHES.sub("", text.casefold())
    text = _TWO_ALPHABETS.sub(lambda word: word[0].translate(_LOOK_ALIKE), text)
    text = _APART.sub(lambda spaced: spaced[0].replace(spaced[1], ""), text)
    return _STRETCHED.sub(r"\1", text.translate(_LETTERS))


def in_cyrillic(word: str) -> str:
    """A word in Latin letters as Russian would write it."""
    return _LATIN_PIECE.sub(lambda piece: _TRANSLIT[piece[0]], word)


def other_layout(text: str) -> str:
    """What was meant by somebody who typed Russian with the English layout on."""
    return text.casefold().translate(_KEYS)


def spelled(text: str) -> str:
    """The words of a text in one spelling and, but for English, in Cyrillic; with "?" and "!", a space around each."""
    text, russian = _one_spelling(text)
    text = in_cyrillic(text) if russian and not _CYRILLIC.search(text) else text
    return f" {' '.join('0' if word[0].isdigit() else word for word in _WORD.findall(text))} "


def _one_spelling(text: str) -> tuple[str, bool]:
    """The text without addresses in one spelling, and whether it is to be read as Russian."""
    text = plain(_ADDRESS.sub(" ", text))
    russian = bool(_CYRILLIC.search(text)) or not _ENGLISH.search(text)
    if russian:
        text = _DIGIT_LETTER.sub(lambda digit: "ch" if digit[0] == "4" else "sh", text)
    return text, russian


class Lexicon:
    """Words by tag, and patterns over tags, of one TOML file."""

    def __init__(self, file: Path) -> None:
        self._told = tomllib.loads(file.read_text(encoding="utf-8"))
        self._exact: dict[str, str] = {}
        self._stems: dict[str, str] = {}
        self._slips: dict[str, str] = {}
        for tag, words in self._told["words"].items():
            for word in words.split():
                kind = {"*": self._stems, "~": self._slips}.get(word[-1], self._exact)
                kind[plain(word.rstrip("*~"))] = tag
        self._stems |= self._slips
        self._by_sound = {sound_of(word): tag for word, tag in self._exact.items() if len(word) > 2}
        self._stems_by_sound = {
            sound: tag for stem, tag in self._stems.items() if len(sound := sound_of(stem)) >= _LEAST_FOR_SOUND
        }
        self._slips_by_sound = {
            sound: tag for stem, tag in self._slips.items() if len(sound := sound_of(stem)) >= _LEAST_FOR_SLIPS
        }
        self._phrases = [
            (re.compile(rf"\b(?:{phrase.translate(_LETTERS)})\b"), plain(words))
            for phrase, words in self._told.get("phrases", {}).items()
        ]
        self.tag_of = lru_cache(maxsize=4096)(self._tag_of)

    def patterns(self, name: str) -> re.Pattern[str]:
        """The patterns of that name as one expression over what ``read`` gives."""
        return re.compile("|".join(rf"(?<!\S){self._expression(one)}" for one in self._told["patterns"][name]))

    def read(self, text: str) -> Iterator[str]:
        """Each sentence as its tags, with a space after each, and "? " at the end of a question."""
        text, russian = _one_spelling(text)
        for pattern, words in self._phrases:
            text = _SPACES.sub(" ", pattern.sub(f" {words} ", text))
        start = 0
        for end in [*_SENTENCE.finditer(text), None]:
            sentence = text[start : end.start() if end else len(text)]
            tags = self._with_commas(_TOKEN.findall(sentence), russian=russian)
            if tags:
                yield "".join(f"{tag} " for tag in tags) + ("? " if end and "?" in end[0] else "")
            start = end.end() if end else len(text)

    def _with_commas(self, tokens: Iterable[str], *, russian: bool) -> list[str]:
        """The tags, with one "," for what stands between clauses; polite words go, with their commas."""
        tags: list[str] = []
        polite = False
        for token in tokens:
            if token[0].isalpha():
                found = self.tag_of(token, russian)
                polite = found == (_POLITE,)
                if not polite:
                    tags += found
                elif tags[-1:] == [","]:
                    tags.pop()
            elif token[0].isdigit():
                tags.append(_LONG_NUMBER if len(token) >= _LEAST_FOR_LONG else _NUMBER)
            elif tags and tags[-1] != "," and not polite:
                tags.append(",")
        return tags[:-1] if tags[-1:] == [","] else tags

    def _tag_of(self, word: str, russian: bool) -> tuple[str, ...]:
        found = self._look_up(word)
        if found is None and russian and not _CYRILLIC.search(word):
            found = self._look_up(in_cyrillic(word), by_sound=True)
            if found is None and "j" in word:  # "mojno" has another sound than "dajte"
                found = self._look_up(in_cyrillic(word.replace("j", "y")), by_sound=True)
        if found is None and "-" in word:
            return tuple(tag for part in word.split("-") if part for tag in self.tag_of(part, russian))
        if found is None:
            return (IMPERATIVE if _ORDERS.search(word) else OTHER,)
        return tuple(found.split())

    def _look_up(self, word: str, *, by_sound: bool = False) -> str | None:
        if word in self._exact:
            return self._exact[word]
        for length in range(len(word), 1, -1):
            if (tag := self._stems.get(word[:length])) is not None:
                return self._in_form(tag, word)
        sound = sound_of(word)
        if by_sound and sound in self._by_sound:
            return self._by_sound[sound]
        for length in range(len(sound), 2, -1) if by_sound else ():
            if (tag := self._stems_by_sound.get(sound[:length])) is not None:
                return self._in_form(tag, word)
        for stem, tag in self._slips_by_sound.items():
            if sound[:1] == stem[0] and begins_alike(sound, stem):
                return self._in_form(tag, word)
        return None

    def _in_form(self, tag: str, word: str) -> str:
        """The tag with the form of the word: a verb's past and infinitive, a noun's dative mean other things."""
        for form, ending in self._told.get("forms", {}).get(tag, {}).items():
            if re.search(ending, word):
                return str(form)
        return tag

    def _expression(self, pattern: str) -> str:
        return "".join(self._piece(piece) for piece in pattern.split())

    def _piece(self, piece: str) -> str:
        if piece in _EDGES:
            return _EDGES[piece]
        if piece[0] == "~" and piece[1:].isdigit():  # so many other words within the clause
            barrier = "|".join(self._tags("barrier"))
            return rf"(?:(?!(?:{barrier}|,|\?)\s)\S+\s){{0,{piece[1:]}}}?"
        if piece[0] == "-" and piece[1:].isdigit():  # so many small words
            return rf"(?:(?:{'|'.join(self._tags('small'))})\s){{0,{piece[1:]}}}?"
        look = re.match(r"\(\?<?[!=]", piece)
        body = piece[look.end() : -1] if look else piece.rstrip("?")
        names = "|".join(re.escape(tag) for name in body.split("|") for tag in self._tags(name))
        if look:
            return rf"{look[0]}(?:{names})\s)"
        return rf"(?:(?:{names})\s){'?' if piece[-1] == '?' else ''}"

    @cache  # noqa: B019 - a lexicon lives as long as the program
    def _tags(self, name: str) -> tuple[str, ...]:
        """The tags of a group, or the tag itself; a group may hold groups."""
        if name in self._told["groups"]:
            return tuple(tag for part in self._told["groups"][name].split() for tag in self._tags(part))
        return (name,)


def begins_alike(word: str, stem: str) -> bool:
    """Whether the word begins with the stem but for one letter: another, one too many, one missing, two swapped."""
    at = next((i for i, (one, other) in enumerate(zip(word, stem, strict=False)) if one != other), None)
    if at is None:
        return len(word) >= len(stem) - 1
    rest, wanted = word[at:], stem[at:]
    return (
        rest[1:].startswith(wanted[1:])
        or rest[1:].startswith(wanted)
        or rest.startswith(wanted[1:])
        or (len(wanted) > 1 and rest[:2] == wanted[1::-1] and rest[2:].startswith(wanted[2:]))
    )
