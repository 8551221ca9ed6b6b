"""Only one Otvet may run on a SQLite file: two would both answer. The system drops the lock when the process ends."""

import fcntl
from pathlib import Path
from typing import IO

from otvet.errors import DatabaseUnfit, os_reason
from otvet.i18n import _


def lock(path: Path) -> IO[bytes]:
    """Lock the SQLite file until the returned file is closed; DatabaseUnfit if another process has the lock."""
    if not path.parent.is_dir():
        raise DatabaseUnfit(_("the folder {folder} does not exist").format(folder=path.parent.absolute()))
    try:
        file = _lock_file_of(path).open("wb")
    except OSError as error:
        raise DatabaseUnfit(_("{file} cannot be written: {cause}").format(file=path, cause=os_reason(error))) from error
    if not _take(file):
        file.close()
        raise DatabaseUnfit(
            _("another Otvet is running on {file}; stop it first, or set OTVET_DATABASE_URL").format(file=path)
        )
    return file


def lock_if_there(path: Path) -> IO[bytes] | None:
    """Like lock(), for commands that only read: never creates the lock file. None if no Otvet ever ran here."""
    try:
        file = _lock_file_of(path).open("rb")
    except OSError:
        return None
    if not _take(file):
        file.close()
        raise DatabaseUnfit(_("Otvet is running on {file}; stop it first, nothing was copied").format(file=path))
    return file


def _lock_file_of(path: Path) -> Path:
    """The lock file, beside the file itself even if ``path`` is a link to it."""
    file = path.resolve()
    return file.with_name(file.name + ".lock")


def _take(file: IO[bytes]) -> bool:
    """Take the lock; False if another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
