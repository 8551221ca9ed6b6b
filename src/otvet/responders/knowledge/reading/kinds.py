"""The kinds of files that are read, by the ending of the name, and what keeps a file from being read."""

import io
import zipfile
from collections.abc import Callable, Mapping

from charset_normalizer import from_bytes

from otvet.i18n import N_, _
from otvet.responders.knowledge import prices
from otvet.responders.knowledge.reading import apart, pages, sheets, text
from otvet.responders.knowledge.reading.blocks import Block, Unreadable

LARGEST = 20 * 1024 * 1024
MOST_UNPACKED = 200 * 1024 * 1024
MOST_MEMBERS = 5000
TOO_LARGE = N_("it is larger than 20 MB; split it")
MACROS = N_("it holds macros; save it without them, as .docx or .xlsx")
OLD_WORD = N_("it is a Word file of before 2007; save it as .docx")


def decode(content: bytes) -> str:
    """A text in whatever encoding it has. Raises Unreadable."""
    for encoding in ("utf-8-sig", "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"):
        try:
            found = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in found:
            return found
    best = from_bytes(content, cp_isolation=["cp1251", "koi8_r", "cp866", "mac_cyrillic", "cp1252"]).best()
    if best is None or "\0" in str(best):
        raise Unreadable(_("it is no text"))
    return str(best)


def _html(content: bytes) -> list[Block]:
    return pages.of_html(decode(content))


def _docx(content: bytes) -> list[Block]:
    _unpacked(content)
    return pages.of_docx(content)


def _sheets(content: bytes) -> list[Block]:
    if content[:2] == b"PK":
        _unpacked(content)
    return sheets.blocks(content)


def _text(content: bytes) -> list[Block]:
    return text.blocks(decode(content))


def _table(content: bytes) -> list[Block]:
    found = decode(content)
    return sheets.of_csv(found, prices.separator(found))


def _unpacked(content: bytes) -> None:
    """Refuse what would unpack to far more than it is; the sizes are read before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise Unreadable(_("it is no whole file of this kind; save it anew")) from error
    if any(member.flag_bits & 1 for member in members):
        raise Unreadable(_("it has a password"))
    if len(members) > MOST_MEMBERS or sum(member.file_size for member in members) > MOST_UNPACKED:
        raise Unreadable(_("it unpacks to more than {most} MB").format(most=MOST_UNPACKED // 2**20))
    if any(member.filename.lower().endswith("vbaproject.bin") for member in members):
        raise Unreadable(_(MACROS))


PLAIN: Mapping[str, Callable[[bytes], list[Block]]] = {".txt": _text, ".tsv": _table}
PARSED: Mapping[str, Callable[[bytes], list[Block]]] = {
    ".xlsx": _sheets,
    ".xls": _sheets,
    ".ods": _sheets,
    ".docx": _docx,
    ".pdf": text.of_pdf,
    ".html": _html,
    ".htm": _html,
}
"""Those whose parsers may take all time and memory; see ``apart``."""

KINDS = (".md", ".csv", *PLAIN, *PARSED)
"""All that are read; Markdown and price lists have entries of their own kind, which ``passages`` makes."""

TEXTS = (".md", ".txt", ".csv", ".tsv", ".html", ".htm")
"""Those that a person can edit as text."""

REFUSED: Mapping[str, str] = {".xlsm": MACROS, ".docm": MACROS, ".doc": OLD_WORD}


def blocks(ending: str, content: bytes) -> list[Block]:
    """The blocks of a file of this kind. Raises Unreadable."""
    if len(content) > LARGEST:
        raise Unreadable(_(TOO_LARGE))
    if ending in REFUSED:
        raise Unreadable(_(REFUSED[ending]))
    return PLAIN[ending](content) if ending in PLAIN else apart.blocks(ending, content)
