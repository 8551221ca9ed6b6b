"""What is looked for, when a message has it, and the three letters in a row by which the index finds candidates.

A message's word matches a word that is looked for if both have the same stem ("доставкой" finds "доставка"), or if it
holds the other one as a part: from four letters on anywhere ("рино" finds "мериноса"), three letters at its beginning.
The index knows no stems, only which three letters in a row stand in which message. So it gives all messages that may
match and a few more, and ``Wanted.found_in`` decides, in the same way on both databases and with every stemmer.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import takewhile
from typing import Any

VERSION = f"1 {unicodedata.unidata_version}"
"""What the index was made with. Changes when the same text would get other entries; the index is then made anew."""

MOST_WORDS, MOST_LETTERS = 8, 40
EDGE = "_"
"""Stands before and after each word, so that its beginning and a short word are three characters too."""

SNIPPET, BEFORE_HIT = 160, 50

_MARKS = "\u0300-\u036f"  # such as the stress mark of a Russian vowel
_WORD = re.compile(rf"[^\W_](?:[^\W_]|[{_MARKS}])*")
_MARK = re.compile(f"[{_MARKS}]")
_LATIN = re.compile(r"[a-z]+")

Piece = tuple[str, bool]
"""A part of a text, and whether it was found."""


def folded(text: str) -> str:
    """A text in one spelling."""
    return _MARK.sub("", text).casefold().replace("ё", "е")


def indexed(text: str) -> str:
    """The words of a text as the index takes them: ``_сколько_стоит_``; empty without any word."""
    words = _WORD.findall(folded(unicodedata.normalize("NFC", text)))
    return f"{EDGE}{EDGE.join(words)}{EDGE}" if words else ""


def triples(text: str) -> set[str]:
    """All three characters in a row, but for those that reach from one word into the next."""
    return {three for at in range(len(text) - 2) if (three := text[at : at + 3])[1] != EDGE}


def searched(content: str, about: Mapping[str, Any] | None) -> str:
    """What can be found of a message: its words, and the name of the file that came with it.

    about: its ``metadata``; None if it is words alone.
    """
    raw = about.get("raw") if about else None
    attachment = raw.get("attachment") if isinstance(raw, dict) else None
    name = attachment.get("file_name") if isinstance(attachment, dict) else None
    return f"{content} {name}" if name else content


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    return str(_stemmer("english" if _LATIN.fullmatch(word) else "russian").stemWord(word))


@cache
def _stemmer(language: str) -> Any:
    import Stemmer  # not at the top: commands that need no stem read this file too

    return Stemmer.Stemmer(language)


def _alternatives(word: str) -> list[set[str]]:
    """Sets of triples: every message with a word that matches has all of at least one set."""
    root = "".join(
        letter for letter, _same in takewhile(lambda pair: pair[0] == pair[1], zip(word, _stem(word), strict=False))
    )
    if _LATIN.fullmatch(word) and len(root) > 3:
        root = root[:-1]  # English stems may end otherwise than their words: "happi"
    if len(root) > 3:  # one set for both is looked for faster than two, and seldom gives more
        return [triples(root)]
    by_stem = triples(EDGE + root) if len(root) > 1 else triples(EDGE + word + EDGE)
    by_part = triples(word) if len(word) > 3 else triples(EDGE + word) if len(word) == 3 else by_stem
    return [by_stem] if by_part >= by_stem else [by_part] if by_stem >= by_part else [by_stem, by_part]


@dataclass(frozen=True)
class Wanted:
    """The words that are looked for; a message must have all of them. No sign in the text means anything."""

    text: str

    @cached_property
    def words(self) -> Sequence[str]:
        found = _WORD.findall(folded(unicodedata.normalize("NFC", self.text)))
        return list(dict.fromkeys(word[:MOST_LETTERS] for word in found))[:MOST_WORDS]

    @cached_property
    def alternatives(self) -> Sequence[Sequence[set[str]]]:
        """For each word, the sets of triples of which a message must have one."""
        return [_alternatives(word) for word in self.words]

    @cached_property
    def _stems(self) -> Mapping[str, str]:
        return {word: _stem(word) for word in self.words}

    @cached_property
    def _seen(self) -> dict[str, Sequence[str]]:
        """Messages say the same words again and again."""
        return {}

    def _matched(self, word: str) -> Sequence[str]:
        """Which of the words this word of a message matches."""
        known = self._seen.get(word)
        if known is None:
            stem = _stem(word)
            known = self._seen[word] = [
                wanted
                for wanted, wanted_stem in self._stems.items()
                if stem == wanted_stem
                or (wanted in word if len(wanted) > 3 else len(wanted) == 3 and word.startswith(wanted))
            ]
        return known

    def found_in(self, text: str) -> bool:
        """Whether a message has all the words."""
        left = set(self.words)
        for word in indexed(text).split(EDGE):
            if word and left:
                left.difference_update(self._matched(word))
        return not left and bool(self.words)

    def pieces(self, text: str) -> list[Piece]:
        """A text in parts, of which some are found words."""
        text, at = unicodedata.normalize("NFC", text), 0
        parts: list[Piece] = []
        for hit in _WORD.finditer(text) if self.words else ():
            if self._matched(folded(hit[0])):
                parts += [(text[at : hit.start()], False), (hit[0], True)]
                at = hit.end()
        parts.append((text[at:], False))
        return [piece for piece in parts if piece[0]]

    def snippet(self, text: str) -> list[Piece]:
        """The pieces of the line around the first found word."""
        line = " ".join(unicodedata.normalize("NFC", text).split())
        first = next((len(before) for before, found in _running(self.pieces(line)) if found), 0)
        begin = 0 if len(line) <= SNIPPET or first < BEFORE_HIT else line.rfind(" ", 0, first - BEFORE_HIT // 2) + 1
        shown = line[begin : begin + SNIPPET]
        shown = shown if begin + SNIPPET >= len(line) else shown.rpartition(" ")[0] + "…"
        return self.pieces(("…" if begin else "") + shown)


def _running(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """(what stands before a piece, whether the piece was found)."""
    before = ""
    for text, found in pieces:
        yield before, found
        before += text
