"""Reads the settings from the environment and ``.env``; an error is one line."""

import difflib
from io import StringIO
from pathlib import Path
from typing import Any, get_args

from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from otvet.errors import SettingsError
from otvet.i18n import N_, _
from otvet.settings import old_names
from otvet.settings.old_names import given
from otvet.settings.settings import PREFIX, Settings


class Unusable(SettingsError):
    """A value of a setting cannot be used. name: the setting's; empty if settings contradict each other."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{PREFIX}{name.upper()}: {reason}" if name else reason)
        self.name = name
        self.reason = reason


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; raises SettingsError with one line that names the variable and what is wrong."""
    try:
        _refuse_broken_lines(Path(".env"))
        return Settings(**(old_names.taken_over(given()) | overrides))
    except UnicodeDecodeError:
        raise SettingsError(_(".env is not UTF-8 text; save it in that encoding")) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else ""
        raise Unusable(name, _reason(problem)) from None


def given_of(settings: Settings) -> dict[str, Any]:
    """The values that are set in these settings, to be checked again together with others."""
    return {name: getattr(settings, name) for name in settings.model_fields_set}


def misspelt() -> list[str]:
    """A sentence for each OTVET_ variable that is no setting: most likely a typing error."""
    known = {name.upper() for name in Settings.model_fields}
    sentences = []
    for name in sorted(given().keys() - known - old_names.ALL):
        close = difflib.get_close_matches(name, known, n=1)
        hint = _("did you mean {name}?").format(name=PREFIX + close[0]) if close else _("see docs/settings.md")
        sentences.append(_("{name} is not a setting; {hint}").format(name=PREFIX + name, hint=hint))
    return sentences


def _refuse_broken_lines(file: Path) -> None:
    """Raise SettingsError for a line that dotenv would ignore; the line may hold a key, so it is not shown."""
    if not file.is_file():
        return
    for binding in parse_stream(StringIO(file.read_text("utf-8"))):
        if binding.error or (binding.key is not None and binding.value is None):
            text = binding.original.string
            empty_lines_before = text[: len(text) - len(text.lstrip())].count("\n")
            sentence = _(
                "{file}, line {line}: it cannot be read; give NAME=value, with a closing quote after an opening one"
            )
            raise SettingsError(sentence.format(file=file, line=binding.original.line + empty_lines_before))


# pydantic's own messages are in English only; these are the errors that a settings file can cause.
_REASONS = {
    "less_than_equal": N_("give at most {le}"),
    "greater_than_equal": N_("give at least {ge}"),
    "greater_than": N_("give more than {gt}"),
    "int_parsing": N_("give a whole number"),
    "int_parsing_size": N_("give a whole number"),
    "float_parsing": N_("give a number"),
    "bool_parsing": N_("give true or false"),
    "string_too_short": N_("give a value"),
}


def _reason(problem: ErrorDetails) -> str:
    if problem["type"] == "literal_error":
        return _one_of(problem)
    if problem["type"] in _REASONS:
        limits = {name: f"{at:g}" if isinstance(at, float) else at for name, at in problem.get("ctx", {}).items()}
        return _(_REASONS[problem["type"]]).format(**limits)
    return str(problem["msg"]).removeprefix("Value error, ")


def _one_of(problem: ErrorDetails) -> str:
    """pydantic's own list has an English "or" in it."""
    values = get_args(Settings.model_fields[str(problem["loc"][0])].annotation)
    return _("give one of: {values}").format(values=", ".join(values))
