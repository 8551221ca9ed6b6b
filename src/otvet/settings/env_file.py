"""Changes settings in the file ``.env``; its other lines stay, and its values are never printed."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values, set_key

from otvet.errors import SettingsError, os_reason
from otvet.i18n import _
from otvet.settings.settings import PREFIX


def update(path: Path, values: Mapping[str, str]) -> list[str]:
    """Set settings in the file; returns the names of the variables that changed, and writes only if there are any.

    values: by the setting's name, such as ``amocrm_token``; an empty value unsets it. The file is replaced as a whole,
    and only its owner can read it afterwards. Other lines stay, except for empty lines before a changed one.
    """
    variables = _variables(values)
    path = path.resolve()  # the file behind a link is changed, not the link
    try:
        present = dotenv_values(path, interpolate=False) if path.exists() else {}
        changed = [name for name, value in variables.items() if (present.get(name) or "") != value]
        if changed:
            _replace(path, {name: variables[name] for name in changed})
        elif path.exists():
            path.chmod(0o600)
    except (OSError, UnicodeError) as error:
        raise SettingsError(_("{file} cannot be written: {cause}").format(file=path, cause=os_reason(error))) from error
    return changed


def shadowed(values: Mapping[str, str]) -> list[str]:
    """The variables that have another value in the environment, so that the value in the file has no effect."""
    given = {name.upper(): value for name, value in os.environ.items()}
    return [name for name, value in _variables(values).items() if given.get(name, value) not in (value, "")]


def _variables(values: Mapping[str, str]) -> dict[str, str]:
    return {PREFIX + name.upper(): value for name, value in values.items()}


def _replace(path: Path, variables: Mapping[str, str]) -> None:
    """Change a copy and put it in the file's place: ``set_key`` is atomic, but only for one variable."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        draft.touch(0o600, exist_ok=False)
        draft.write_bytes(path.read_bytes() if path.exists() else b"")
        for name, value in variables.items():
            set_key(draft, name, value, quote_mode="auto")
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
