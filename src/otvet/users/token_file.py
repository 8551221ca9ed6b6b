"""The token of the commands on this machine: a file beside the database that only its owner may read.

Each start of the server writes a new one. Processes that share the folder share the file, so what stands in it now
holds for all of them.
"""

import contextlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

import structlog

from otvet.errors import os_reason
from otvet.users.api_tokens import PREFIX
from otvet.users.sessions import hash_of

log = structlog.get_logger(__name__)

Stamp = tuple[int, int, int]


class TokenFile:
    """The server's side of the file. It keeps the hash of the token alone."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._hash = ""  # empty: the file could not be written, and opens nothing
        self._stamp: Stamp | None = None

    def renew(self) -> None:
        """Write another token. Without a file the service works all the same; only the commands need it."""
        try:
            write(self._file, PREFIX + secrets.token_urlsafe(32))
        except OSError as error:
            log.warning("the token for the commands cannot be written", file=str(self._file), reason=os_reason(error))
            return
        self._look()

    def holds(self, token: str) -> bool:
        """Whether this is the token in the file."""
        if self._hash and _stamp(self._file) != self._stamp:
            self._look()
        return bool(self._hash) and hmac.compare_digest(hash_of(token), self._hash)

    def _look(self) -> None:
        self._stamp = _stamp(self._file)
        token = read(self._file)
        self._hash = hash_of(token) if token else _NEVER


_NEVER = "-"  # equals no hash


def _stamp(file: Path) -> Stamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def write(file: Path, token: str) -> None:
    """Put a token in the place of the file's, in one step; nobody but the owner may ever read it."""
    number, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.absolute().parent)  # of mode 0600
    try:
        with os.fdopen(number, "w", encoding="utf-8") as made:
            made.write(token + "\n")
        os.replace(name, file)  # noqa: PTH105 - a name, no path
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise


def read(file: Path) -> str | None:
    """The token in the file; None if there is none that may be read."""
    try:
        return file.read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
