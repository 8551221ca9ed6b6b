"""The assistant's instructions: a Markdown file that the user edits, or the built-in text while there is none."""

import re
from pathlib import Path

import structlog

from otvet.i18n import N_, translator

log = structlog.get_logger(__name__)

INSTRUCTIONS = N_(
    "You answer the clients of a company in a messenger on behalf of its sales team. Answer briefly, politely and to"
    " the point, in the client's language. Use only what is known from the conversation; never invent prices, dates,"
    " addresses or conditions. If you do not know, say that a manager will clarify it."
)

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)


class Instructions:
    """Reads the file anew for each turn: an edit counts from the next reply on."""

    def __init__(self, file: Path = Path("instructions.md")) -> None:
        self.file = file

    def read(self, language: str) -> str:
        """The file without its comments; the built-in text in ``language`` if it is missing, empty or unreadable."""
        try:
            return self.written() or translator(language)(INSTRUCTIONS)
        except (UnicodeDecodeError, OSError) as error:
            log.error(
                "the instructions cannot be read; the built-in ones are used", file=str(self.file), cause=str(error)
            )
            return translator(language)(INSTRUCTIONS)

    def written(self) -> str:
        """The file without its comments; empty if there is none. Raises UnicodeDecodeError or OSError."""
        try:
            return _COMMENT.sub("", self.file.read_text(encoding="utf-8-sig")).strip()
        except FileNotFoundError:
            return ""


class Proposed(Instructions):
    """Instructions that are not in the file yet."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def written(self) -> str:
        return _COMMENT.sub("", self._text).strip()
