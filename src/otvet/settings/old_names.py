"""Old names of settings: accepted for one more version, with a hint at the new setting."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from otvet.i18n import N_, _
from otvet.settings import deal_filter
from otvet.settings.settings import PREFIX, WEBHOOK_PATH

Given = Mapping[str, str]
"""The values that are set, by the variable's name in capitals without the prefix; an empty value counts as not set."""


def given() -> dict[str, str]:
    """All variables with the prefix in the environment and in ``.env``; the environment wins."""
    both = [*dotenv_values(".env").items(), *os.environ.items()]
    named = {name.upper().removeprefix(PREFIX): value for name, value in both if name.upper().startswith(PREFIX)}
    return {name: value or "" for name, value in named.items()}


def taken_over(given: Given) -> dict[str, str]:
    """The values of today's settings, by field, from the old names. A setting's new name wins if it is set too."""
    values = {name: value(given) for name, value in _VALUES.items()}
    return {name: value for name, value in values.items() if value is not None}


def hints(given: Given) -> list[str]:
    """A sentence for each old name that is set: the new setting, or what happens without one."""
    return [_hint(name, given) for name in sorted(ALL) if given.get(name, "").strip()]


def webhook_path(given: Given) -> str | None:
    """The webhook's path in the version before, to which amoCRM may still deliver."""
    path = given.get("WEBHOOK_PATH", "").rstrip("/")
    return path if path.startswith("/") and path != WEBHOOK_PATH else None


def salesbot_field(given: Given) -> int | None:
    """The id of the deal's field for a Salesbot, as set in the version before."""
    number = given.get("SALESBOT_FIELD_ID", "")
    return int(number) if number.isascii() and number.isdigit() else None


def instead_of(name: str) -> str:
    """The setting that replaces it, or what happens without one."""
    return f"`{PREFIX}{_MOVED[name].upper()}`" if name in _MOVED else _(_GONE[name])


def _hint(name: str, given: Given) -> str:
    if name in _GONE:
        return _("{name} is gone: {instead}").format(name=PREFIX + name, instead=_(_GONE[name]))
    field = _MOVED[name]
    new, value = PREFIX + field.upper(), taken_over(given).get(field)
    if value is None:
        return _("{name} does not count any more; see {new}").format(name=PREFIX + name, new=new)
    if field == "secret_key":
        return _("{name} is understood in this version only: put the key itself into {new}").format(
            name=PREFIX + name, new=new
        )
    sentence = _("{name} is understood in this version only; write in its place: {new}={value}")
    return sentence.format(name=PREFIX + name, new=new, value=_in_quotes(value))


def _in_quotes(value: str) -> str:
    """The value in quotes for ``.env``, where a number sign after a space begins a comment."""
    if '"' not in value and "\\" not in value and "$" not in value:
        return f'"{value}"'
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _answer(which: str) -> Callable[[Given], str | None]:
    """A function that joins four old settings, lists of names and ids, into one."""

    def value(given: Given) -> str | None:
        names_of = {kind: _names(given.get(f"{which}_{kind.upper()}S", "")) for kind in _KINDS}
        return None if given.get(f"ANSWER_{which}") else deal_filter.write(names_of) or None

    return value


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(";" if ";" in text else ",") if name.strip()]


def _out_of_hours(given: Given) -> str | None:
    text = given.get("OUT_OF_HOURS_TEXT", "").strip()
    if given.get("OUT_OF_HOURS", "").strip() != "text" or not text:
        return None
    return f"{text}." if text.isalpha() else text  # one word alone would be taken for a typing error


def _openai_client(given: Given) -> str | None:
    return _CLIENTS.get(given.get("GIGACHAT_SCOPE", "")) if given.get("OPENAI_CLIENT") == "gigachat" else None


def _openai_extra(given: Given) -> str | None:
    written = given.get("OPENAI_TEMPERATURE", "").strip().lower()
    try:
        temperature = None if written == "none" else float(written)
        extra = json.loads(given.get("OPENAI_EXTRA") or "{}")
    except ValueError:
        return None
    if not isinstance(extra, dict) or "temperature" in extra or not (temperature is None or 0 <= temperature <= 2):
        return None
    return json.dumps({"temperature": temperature, **extra}, ensure_ascii=False)


def _secret_key(given: Given) -> str | None:
    file = given.get("SECRET_KEY_FILE")
    if not file or given.get("SECRET_KEY"):
        return None
    try:
        return Path(file).read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


_CLIENTS = {
    "GIGACHAT_API_PERS": "gigachat",
    "GIGACHAT_API_B2B": "gigachat-b2b",
    "GIGACHAT_API_CORP": "gigachat-corp",
}
_KINDS = (deal_filter.PIPELINE, deal_filter.STAGE, deal_filter.TAG, deal_filter.CHANNEL)
_VALUES: Mapping[str, Callable[[Given], str | None]] = {
    "answer_only": _answer("ONLY"),
    "answer_except": _answer("EXCEPT"),
    "out_of_hours": _out_of_hours,
    "openai_client": _openai_client,
    "openai_extra": _openai_extra,
    "secret_key": _secret_key,
}
_MOVED = {
    **{f"{which}_{kind.upper()}S": f"answer_{which.lower()}" for which in ("ONLY", "EXCEPT") for kind in _KINDS},
    "OUT_OF_HOURS_TEXT": "out_of_hours",
    "GIGACHAT_SCOPE": "openai_client",
    "OPENAI_TEMPERATURE": "openai_extra",
    "SECRET_KEY_FILE": "secret_key",
}
_GONE = {
    "WEBHOOK_PATH": N_(
        "amoCRM's messages come to /webhook/amocrm. The old address is still listened to in this version: enter the new"
        " one in amoCRM with otvet connect"
    ),
    "SALESBOT_FIELD_ID": N_("the field's number is kept in the database since the last start; take the line out"),
    "QUIET_MAX_SECONDS": N_("a reply is put off five times as long as OTVET_QUIET_SECONDS at most"),
    "REPLY_MAX_CHARACTERS": N_("a reply is cut at 3000 characters, and into messages as the channel wants them"),
    "OPENAI_CONTEXT_TOKENS": N_(
        "prompt and answer take 8000 tokens at most, or eight times OTVET_OPENAI_MAX_TOKENS where that is more"
    ),
    "GIGACHAT_AUTH_URL": N_("GigaChat's own client knows the address"),
    "MANUS_POLL_SECONDS": N_("Manus is first asked for its answer after 2 seconds, then ever less often"),
    "MANUS_CALLS_A_MINUTE": N_("Manus is asked ten questions a minute at most, as its own limits are"),
    "MANUS_PROJECT": N_("the role text is kept in a Manus project; where none can be made, it is part of the message"),
    "MANUS_WEBHOOK_PATH": N_("Manus is asked whether its answer is there, and need not call this server"),
    "LOG_LEVEL": N_("the log holds everything from info on; its lines in JSON can be filtered by their level"),
}
ALL = frozenset(_MOVED) | frozenset(_GONE)
