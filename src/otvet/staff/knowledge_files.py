"""The files of the knowledge folder, as staff change them: read, saved whole or not at all, never over others' edits.

A file is written beside its place under a hidden name and then renamed, so whoever reads the folder finds the old text
or the new one. Each save names the text that it began from; if another one stands there by now, nothing is written.
"""

import contextlib
import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from uuid import uuid4

from otvet.errors import UsageError, os_reason
from otvet.i18n import N_, _
from otvet.responders.knowledge import passages, prices
from otvet.responders.knowledge.reading import kinds

LARGEST = 2 * 1024 * 1024
LONGEST_NAME = 80
NEW = ""
"""The digest of a file that is not there yet."""

NOT_THIS_KIND = N_("files of this kind are not read; these are: {kinds}")
TOO_LARGE = N_("the file is larger than 2 MB; split it")
NO_NAME = N_("give the file a name of letters and digits")
CHANGED = N_("somebody has changed this file meanwhile: your text was not saved; compare it with what stands there now")
IS_THERE = N_("there is a file {name} already: replace it, or keep both under two names")

_one_at_a_time = Lock()
_NOT_IN_NAMES = re.compile(r"[^\w .()+&№-]+")


@dataclass(frozen=True, slots=True)
class File:
    """A file of the folder. digest: of its content, to notice edits by others."""

    name: str
    content: bytes
    digest: str

    @property
    def text(self) -> str | None:
        """The content as text; None if it is not text."""
        ending = Path(self.name).suffix.lower()
        try:
            if ending == ".csv":
                return prices.decode(self.content)
            return kinds.decode(self.content) if ending in kinds.TEXTS else None
        except ValueError:  # Unreadable and NoPriceList
            return None


def encoded(name: str, text: str) -> bytes:
    """An edited text as it is saved. Spreadsheets know UTF-8 by the mark at its beginning."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines.encode("utf-8-sig" if name.lower().endswith(".csv") else "utf-8", errors="replace")


def digest(content: bytes) -> str:
    """What tells one content from another."""
    return hashlib.sha256(content).hexdigest()[:32]


def read(folder: Path, name: str) -> File | None:
    """A file of the folder by the name that the folder lists; None if it lists none."""
    here = next((file for file in passages.files(folder) if passages.name_of(folder, file) == name), None)
    if here is None:
        return None
    try:
        content = here.read_bytes()
    except OSError:
        return None
    return File(name, content, digest(content))


def safe_name(given: str) -> str:
    """A name for a file in the folder itself, made of what a browser or a person gave. Raises UsageError."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", given))[-1]
    plain = " ".join(_NOT_IN_NAMES.sub(" ", last).split()).lstrip(". ")
    stem, dot, kind = plain.rpartition(".")
    if not dot:
        stem, kind = plain, "md"
    kind = kind.strip().lower()
    if f".{kind}" not in kinds.KINDS:
        raise UsageError(_(NOT_THIS_KIND).format(kinds=", ".join(kinds.KINDS)))
    stem = stem.strip(" .")[:LONGEST_NAME].strip(" .")
    if not re.search(r"\w", stem):
        raise UsageError(_(NO_NAME))
    return f"{stem}.{kind}"


def free_name(folder: Path, name: str) -> str:
    """The name, or the name with a number that no file has yet."""
    taken = {passages.name_of(folder, file).casefold() for file in passages.files(folder)}
    stem, _dot, kind = name.rpartition(".")
    numbered = (f"{stem} {number}.{kind}" for number in range(2, len(taken) + 3))
    return name if name.casefold() not in taken else next(one for one in numbered if one.casefold() not in taken)


def save(folder: Path, name: str, content: bytes, began_from: str) -> None:
    """Save a file whole. began_from: the digest of the content that was edited, or NEW.

    Raises UsageError if something else stands there by now, or if it cannot be written.
    """
    if len(content) > LARGEST:
        raise UsageError(_(TOO_LARGE))
    with _one_at_a_time:
        there = _there(folder, name)
        if there is None and began_from != NEW:
            raise UsageError(_(CHANGED))
        if there is not None and began_from == NEW:
            raise UsageError(_(IS_THERE).format(name=name))
        if there is not None and digest(there) != began_from:
            raise UsageError(_(CHANGED))
        write(folder / name, content)


def remove(folder: Path, name: str, began_from: str) -> None:
    """Delete a file, unless somebody has changed it meanwhile."""
    with _one_at_a_time:
        there = _there(folder, name)
        if there is None or digest(there) != began_from:
            raise UsageError(_(CHANGED))
        try:
            (folder / name).unlink()
        except OSError as error:
            raise UsageError(_("the file cannot be deleted: {reason}").format(reason=os_reason(error))) from error


def _there(folder: Path, name: str) -> bytes | None:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(_("the file cannot be read: {reason}").format(reason=os_reason(error))) from error


def write(target: Path, content: bytes) -> None:
    """Put the content in the file's place in one step. Raises UsageError with the reason if it cannot be."""
    target = target.resolve()  # a link stays a link
    hidden = target.with_name(f".{uuid4().hex}.new")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with hidden.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            hidden.chmod(target.stat().st_mode & 0o777)
        hidden.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)
        raise UsageError(_("the file cannot be written: {reason}").format(reason=os_reason(error))) from error
