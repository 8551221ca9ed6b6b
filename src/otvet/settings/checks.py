"""Checks of settings' values; each returns the value in the form in which it is used, or raises ValueError."""

import json
import re
from datetime import UTC
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

from otvet.i18n import _
from otvet.settings import deal_filter, working_hours
from otvet.settings.by_channel import WAYS, ways_in

RESPONDERS = ("manus", "openai", "knowledge")
PROXIES = ("http", "https", "socks5", "socks5h")
AS_ALWAYS, SILENT = "answer", "silent"
_PLAIN_FILE = re.compile(r"sqlite:///([\w./ -]+)")
LEAST_SECRET = 16  # characters, in a setting or in the key file


def plain_file(url: str) -> str | None:
    """The file of an address of SQLite that has nothing but the file; None for any other address."""
    found = _PLAIN_FILE.fullmatch(url)
    return found[1] if found else None


def database(url: str) -> str:
    """The address of a SQLite file or of a PostgreSQL database."""
    if plain_file(url):
        return url
    from sqlalchemy.engine import make_url  # not at the top: commands without a database start in half the time
    from sqlalchemy.exc import ArgumentError

    sentence = _("give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(sentence) from None
    driver = parsed.get_backend_name()
    if driver not in ("sqlite", "postgresql") or (driver == "sqlite" and parsed.database in (None, "", ":memory:")):
        raise ValueError(sentence)
    return url


def _address(value: str, *, example: str) -> str:
    """An http or https address, without a trailing slash: paths are added to it."""
    sentence = _("give an address such as {example}").format(example=example)
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError(sentence) from None
    if not usable or parts.query or parts.fragment:
        raise ValueError(sentence)
    return value.rstrip("/")


def secret_in_url(value: SecretStr | None) -> SecretStr | None:
    """A secret that is part of an address."""
    secret = value.get_secret_value() if value else ""
    if secret and not (len(secret) >= 16 and secret.isascii() and secret.replace("-", "").replace("_", "").isalnum()):
        raise ValueError(_("give at least 16 Latin letters, digits, - or _"))
    return value


def long_secret(value: SecretStr | None) -> SecretStr | None:
    """A secret that is long enough."""
    if value and len(value.get_secret_value()) < LEAST_SECRET:
        raise ValueError(_("give at least 16 characters of chance, such as those of: openssl rand -base64 32"))
    return value


def key(value: SecretStr | None) -> SecretStr | None:
    """A key without the blanks and line breaks that were copied with it; None if nothing else is there."""
    held = value.get_secret_value().strip() if value else ""
    return SecretStr(held) if held else None


def notify(value: SecretStr | None) -> SecretStr | None:
    """Addresses of Apprise, with ; between them."""
    for one in addresses(value):
        if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+", one):
            raise ValueError(_("give addresses such as tgram://TOKEN/CHAT, with ; between them"))
    return value


def addresses(value: SecretStr | None) -> list[str]:
    """The addresses of ``notify``."""
    return [one.strip() for one in (value.get_secret_value() if value else "").split(";") if one.strip()]


def proxy(value: SecretStr | None) -> SecretStr | None:
    """The address of a proxy."""
    held = value.get_secret_value().strip() if value else ""
    if not held:
        return None
    try:
        parts = urlsplit(held)
        usable = parts.scheme in PROXIES and parts.hostname and parts.port != 0 and parts.path in ("", "/")
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(_("give an address such as socks5://127.0.0.1:1080 or http://NAME:PASSWORD@HOST:3128"))
    return SecretStr(held)


def headers_in(text: str) -> dict[str, str]:
    """The headers of "Name: value; Name: value"; ValueError for another form."""
    headers = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _colon, value = (piece.strip() for piece in part.partition(":"))
        if not (re.fullmatch(r"[A-Za-z0-9-]+", name) and value and value.isascii() and value.isprintable()):
            raise ValueError(_("give Name: value, with ; between several"))
        headers[name] = value
    return headers


def headers(value: SecretStr | None) -> SecretStr | None:
    """See headers_in."""
    headers_in(value.get_secret_value() if value else "")
    return value


def json_object(value: str | None) -> str | None:
    """The text of a JSON object."""
    try:
        usable = value is None or isinstance(json.loads(value), dict)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(_('give a JSON object such as {"reasoning_effort": "none"}'))
    return value


def reply_via(value: str) -> str:
    """See by_channel.ways_in."""
    try:
        ways_in(value)
    except ValueError:
        raise ValueError(
            _("give one of {ways}, or one for each channel: telegram=salesbot, waba=talk, *=note").format(
                ways=", ".join(WAYS)
            )
        ) from None
    return value


def responders(value: str) -> str:
    """Names of RESPONDERS, separated by commas."""
    names = [name.strip().lower() for name in value.split(",") if name.strip()]
    if not names or not set(names) <= set(RESPONDERS) or len(set(names)) < len(names):
        raise ValueError(
            _("give names with commas between them, each once: {names}").format(names=", ".join(RESPONDERS))
        )
    return ",".join(names)


def time_zone(value: str) -> str:
    """See working_hours.zone_of."""
    working_hours.zone_of(value)
    return value


def hours(value: str) -> str:
    """See working_hours.read."""
    working_hours.read(value, UTC)
    return value


def out_of_hours(value: str) -> str:
    """AS_ALWAYS, SILENT, or the text for the client. A single other word is taken for a typing error and refused."""
    value = value.strip()
    if value.lower() in (AS_ALWAYS, SILENT):
        return value.lower()
    if value.isalpha():
        raise ValueError(_("give answer, silent, or the text that a client is told, of several words"))
    return value


def deals(value: str) -> str:
    """See deal_filter.read."""
    deal_filter.read(value)
    return value


Address = Annotated[str, AfterValidator(partial(_address, example="https://api.example.com"))]
AccountAddress = Annotated[str, AfterValidator(partial(_address, example="https://example.amocrm.ru"))]
PublicAddress = Annotated[str, AfterValidator(partial(_address, example="https://otvet.example.com"))]
