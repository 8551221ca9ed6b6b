"""The tree of errors. Each has a sentence for the operator and says whether a retry can help.

OtvetError
├── SettingsError       a setting is wrong; the program does not start
├── DatabaseUnfit       the file or server at OTVET_DATABASE_URL cannot be used; it is left untouched
├── StorageError        a write did not happen; it was rolled back as a whole
├── ServiceError        a call to another system (amoCRM, Manus) failed
└── UsageError          a command's argument cannot be used
"""

import errno

from otvet.i18n import N_, _

_OS_REASONS = {
    errno.EACCES: N_("no permission"),
    errno.EPERM: N_("no permission"),
    errno.ENOENT: N_("there is no such file or folder"),
    errno.ENOTDIR: N_("a part of its path is no folder"),
    errno.EISDIR: N_("it is a folder"),
    errno.EROFS: N_("the disk can only be read"),
    errno.ENOSPC: N_("the disk is full"),
}


class OtvetError(Exception):
    """The base of all errors that Otvet raises on purpose."""


class SettingsError(OtvetError):
    """A setting cannot be used; the message names it."""


class DatabaseUnfit(OtvetError):
    """The database is not ours, is newer than this program, or cannot be opened."""


class StorageError(OtvetError):
    """The write was rolled back as a whole; the caller may retry."""


class UsageError(OtvetError):
    """A command's argument is wrong. ``exit_code``: the command's exit status."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ServiceError(OtvetError):
    """A call to another system failed.

    permanent: the same request will fail again, so it is not repeated.
    ambiguous: the request may have been carried out although no answer came.
    status: the HTTP status, or None without an answer.
    """

    def __init__(
        self, message: str, *, permanent: bool = False, ambiguous: bool = False, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.ambiguous = ambiguous
        self.status = status


def os_reason(error: Exception) -> str:
    """The reason of an operating system's error, in the interface's language if it is a known one."""
    if not isinstance(error, OSError):
        return type(error).__name__
    known = _OS_REASONS.get(error.errno or 0)
    return _(known) if known else error.strerror or type(error).__name__
