"""Why the system refused something, in the interface's language: its own texts are English, whatever is spoken."""

import errno

from otvet.i18n import N_, _

_CAUSES = {
    errno.EACCES: N_("no permission"),
    errno.EPERM: N_("no permission"),
    errno.ENOENT: N_("there is no such file or folder"),
    errno.ENOTDIR: N_("a part of its path is no folder"),
    errno.EISDIR: N_("it is a folder"),
    errno.EROFS: N_("the disk can only be read"),
    errno.ENOSPC: N_("the disk is full"),
}


def cause_of(error: Exception) -> str:
    """A few words for a sentence; the system's own where there are none here."""
    if not isinstance(error, OSError):
        return type(error).__name__
    known = _CAUSES.get(error.errno or 0)
    return _(known) if known else error.strerror or type(error).__name__
