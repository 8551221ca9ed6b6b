"""Encrypts the secrets in the database with the installation's key.

The key is ``OTVET_SECRET_KEY``, else a file beside the database that is made at the first use.
"""

import base64
import contextlib
import os
import secrets
from pathlib import Path

import structlog
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from otvet.errors import SettingsError, os_reason
from otvet.i18n import _
from otvet.settings.checks import LEAST_SECRET

log = structlog.get_logger(__name__)

FOR_OTHERS = 0o077  # the bits of a file mode that give rights to others than the owner


class OtherKey(SettingsError):
    """The text was encrypted with another key than the present one."""


class Vault:
    """Encrypts and decrypts texts with one key."""

    def __init__(self, key: str) -> None:
        # The key is a passphrase of any form; Fernet wants 32 bytes. It is long and random, so no slow hash is needed.
        derived = HKDF(SHA256(), length=32, salt=None, info=b"otvet vault").derive(key.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    def seal(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """The decrypted text; OtherKey if it was encrypted with another key."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise OtherKey(
                _(
                    "the tokens in the database were encrypted with another key: set the OTVET_SECRET_KEY (or bring "
                    "the key file) that Otvet was connected with, or connect anew with: otvet connect"
                )
            ) from None


def key_in(file: Path) -> str:
    """The key in the file; the file is made if there is none. SettingsError if it cannot be made or read."""
    try:
        if not file.exists():
            _make(file)
        _close_to_others(file)
        key = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            _("the key file {file} cannot be used ({cause}); a key can be given as OTVET_SECRET_KEY too").format(
                file=file, cause=os_reason(error)
            )
        ) from error
    if len(key) < LEAST_SECRET:
        raise SettingsError(_("the key file {file} holds no key").format(file=file))
    return key


def bring(file: Path, place: Path) -> bool:
    """Copy the key file to the place of another database's key file; False if another key is there."""
    key = file.read_text("utf-8")
    if not place.exists():
        _write(place, key)
    return place.read_text("utf-8").strip() == key.strip()


def _make(file: Path) -> None:
    """Make the key file; of several processes that start at once, the first one's key stays."""
    _write(file, secrets.token_urlsafe(32) + "\n")


def _write(file: Path, text: str) -> None:
    """Write the file atomically, readable by its owner only; an existing file stays."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def _close_to_others(file: Path) -> None:
    """Take the rights of others away: a file copied or written by hand is often readable by everybody."""
    if os.name != "posix" or not file.stat().st_mode & FOR_OTHERS:
        return
    try:
        file.chmod(0o600)
    except OSError:  # it belongs to another user, or the volume is read-only
        log.warning("the key file can be read by others than its owner: give it the mode 0600", file=str(file))
    else:
        log.warning("the key file could be read by others; now it has the mode 0600", file=str(file))
