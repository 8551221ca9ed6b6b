"""The settings file ``.env``, changed without losing anything of it and without showing it to anybody."""

import os
import secrets
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from otvet.causes import cause_of
from otvet.errors import SettingsError
from otvet.i18n import _
from otvet.settings.settings import PREFIX


def update(path: Path, values: Mapping[str, str]) -> list[str]:
    """Set settings in the file; gives the names of the variables that changed, and changes nothing if there are none.

    values: by the setting's name, such as ``amocrm_token``; an empty one unsets it. The file is replaced in one step,
    and only its owner can read it from then on. Other lines, comments among them, stay as they are.
    """
    variables = {PREFIX + name.upper(): value for name, value in values.items()}
    path = path.resolve()  # the file behind a link is changed, not the link
    try:
        present = dotenv_values(path, interpolate=False) if path.exists() else {}
        changed = [name for name, value in variables.items() if (present.get(name) or "") != value]
        if changed:
            _rewrite(path, {name: variables[name] for name in changed})
        elif path.exists():
            path.chmod(0o600)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(_("{file} cannot be written: {cause}").format(file=path, cause=cause_of(error))) from error
    return changed


def shadowed(values: Mapping[str, str]) -> list[str]:
    """The variables that the environment sets to something else, so that the file's value does not count."""
    variables = {PREFIX + name.upper(): value for name, value in values.items()}
    given = {name.upper(): value for name, value in os.environ.items()}
    return [name for name, value in variables.items() if given.get(name, value) not in (value, "")]


def _rewrite(path: Path, variables: Mapping[str, str]) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(_changed(path.read_text("utf-8") if path.exists() else "", variables))
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _changed(text: str, variables: Mapping[str, str]) -> str:
    """The text with these variables; dotenv's own set_key would take the empty lines before them away."""
    pieces, left = [], dict(variables)
    for binding in parse_stream(StringIO(text)):
        original = binding.original.string
        if binding.key not in variables:
            pieces.append(original)
            continue
        before = original[: len(original) - len(original.lstrip())]
        if binding.key in left:
            pieces.append(f"{before}{_line(binding.key, left.pop(binding.key))}")
        else:
            pieces.append(before)  # a second line for the same variable, which would win
    whole = "".join(pieces)
    end = "" if not whole or whole.endswith("\n") else "\n"
    return whole + end + "".join(_line(name, value) for name, value in left.items())


def _line(name: str, value: str) -> str:
    if value.isalnum() or not value:
        return f"{name}={value}\n"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'\n"
