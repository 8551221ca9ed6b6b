"""Only one Otvet on a SQLite file: two would both answer. The system drops the lock when the process ends."""

import fcntl
from pathlib import Path
from typing import IO

from otvet.errors import DatabaseUnfit, os_reason
from otvet.i18n import _


def hold(path: Path) -> IO[bytes]:
    """Hold the lock beside the file until what this gives is closed; raises DatabaseUnfit if another holds it."""
    if not path.parent.is_dir():
        raise DatabaseUnfit(_("the folder {folder} does not exist").format(folder=path.parent.absolute()))
    try:
        lock = _lock_of(path).open("wb")
    except OSError as error:
        raise DatabaseUnfit(_("{file} cannot be written: {cause}").format(file=path, cause=os_reason(error))) from error
    if not _taken(lock):
        lock.close()
        raise DatabaseUnfit(
            _("another Otvet is running on {file}; stop it first, or set OTVET_DATABASE_URL").format(file=path)
        )
    return lock


def hold_if_there(path: Path) -> IO[bytes] | None:
    """The same for who only reads: makes no file. None where no Otvet ever ran; raises DatabaseUnfit if one does."""
    try:
        lock = _lock_of(path).open("rb")
    except OSError:
        return None
    if not _taken(lock):
        lock.close()
        raise DatabaseUnfit(_("Otvet is running on {file}; stop it first, nothing was copied").format(file=path))
    return lock


def _lock_of(path: Path) -> Path:
    """Beside the file itself, by whichever link it is named."""
    file = path.resolve()
    return file.with_name(file.name + ".lock")


def _taken(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
