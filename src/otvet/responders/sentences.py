"""Finds the ends of sentences: after "1 500 руб." before "Доставка", not after "ул." or inside "2.5 кг". No I/O."""

import re

# A dot after these never ends a sentence: a name or a number follows.
_OPEN = (
    r"(?:ул|д|кв|оф|корп|стр|пр|просп|наб|пер|пл|тел|им|г|гр|ред|рис|ср|напр|т|св|ок"
    r"|mr|mrs|ms|dr|st|no|vs|e\.g|i\.e|approx)"
)
# A dot after these ends a sentence if a capital letter follows.
_CLOSED = (
    r"(?:руб|р|коп|тыс|млн|шт|мин|ч|сек|мес|нед|дн|кг|л|м|см|мм|км|т\.\s?д|т\.\s?п|др|гг|экз|чел|раб"
    r"|a\.m|p\.m|inc|ltd|etc)"
)

_END = re.compile(r"[.!?…]+[\"'»”)\]]*(?=\s|\Z)|\n+")
_OPEN_BEFORE = re.compile(rf"(?:(?<![\w.]){_OPEN}|(?<!\w)[А-ЯЁA-Z])\Z", re.IGNORECASE)
_YEAR_BEFORE = re.compile(r"\d\s?г\Z")
_CLOSED_BEFORE = re.compile(rf"(?<![\w]){_CLOSED}\Z", re.IGNORECASE)
_LIST_MARK_BEFORE = re.compile(r"(?:\A|\n)\s*\d{1,3}\Z")
_BEGINNING = re.compile(r"\s+[«\"“(\[•–—-]*\s*[A-ZА-ЯЁ\d]|\s*\Z|\s*\n|\s+[^\w\s]")


def cut(text: str, limit: int) -> str:
    """The longest beginning within ``limit`` characters that ends with a sentence, else with a word."""
    if len(text) <= limit:
        return text
    ends = [end for end in _ends(text) if end <= limit]
    if ends:
        return text[: ends[-1]].rstrip()
    space = re.search(r"\s\S*\Z", text[: limit + 1])
    whole_words = text[: space.start()].rstrip() if space else ""
    return whole_words or text[:limit]


def last_whole(text: str) -> str:
    """The text up to the end of its last whole sentence or line; empty if it has none."""
    ends = [end for end in _ends(text) if end < len(text) or text[end - 1] in ".!?…"]
    return text[: ends[-1]].rstrip() if ends else ""


def _ends(text: str) -> list[int]:
    return [match.end() for match in _END.finditer(text) if _ends_here(text, match)]


def _ends_here(text: str, match: re.Match[str]) -> bool:
    before = text[: match.start()]
    if match[0].startswith("\n"):
        # The sentence goes on after a colon.
        return not before.rstrip().endswith((":", ","))
    if _LIST_MARK_BEFORE.search(before[-8:]):
        return False
    begins = bool(_BEGINNING.match(text, match.end()))
    if match[0] != ".":
        return begins or match[0][0] != "…"
    if _YEAR_BEFORE.search(before) or _CLOSED_BEFORE.search(before):
        return begins
    return begins and not _OPEN_BEFORE.search(before)
