"""Settings: the environment or ``.env``, each with its meaning; ``docs/settings.md`` is generated from here."""

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from otvet.errors import SettingsError
from otvet.i18n import N_, _

PREFIX = "OTVET_"


def _known_database(url: str) -> str:
    sentence = _("give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(sentence) from None
    driver = parsed.get_backend_name()
    if driver not in ("sqlite", "postgresql") or (driver == "sqlite" and parsed.database in (None, "", ":memory:")):
        raise ValueError(sentence)
    return url


def _address(value: str) -> str:
    """Addresses are joined with paths, so a trailing slash is dropped here once."""
    sentence = _("give an address such as https://example.amocrm.ru")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError(sentence) from None
    if not usable or parts.query or parts.fragment:
        raise ValueError(sentence)
    return value.rstrip("/")


def _path(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", value):
        raise ValueError(_("give a path such as /webhook/amocrm"))
    return value.rstrip("/")


def _secret_in_url(value: SecretStr | None) -> SecretStr | None:
    secret = value.get_secret_value() if value else ""
    if secret and not (len(secret) >= 16 and secret.isascii() and secret.replace("-", "").replace("_", "").isalnum()):
        raise ValueError(_("give at least 16 Latin letters, digits, - or _"))
    return value


Address = Annotated[str, AfterValidator(_address)]


class Settings(BaseSettings):
    """Everything that can be set. A field's name in capitals after ``OTVET_`` is the variable's name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    database_url: Annotated[str, AfterValidator(_known_database)] = Field(
        "sqlite:///conversations.db",
        description=N_("Where the conversations are kept: a SQLite file or a PostgreSQL database."),
    )
    host: str = Field("127.0.0.1", description=N_("The address to listen on; 0.0.0.0 for all of the machine's."))
    port: int = Field(8000, ge=0, le=65535, description=N_("The port to listen on; 0 for any free one."))
    public_url: Address | None = Field(
        None, description=N_("How amoCRM reaches this service from the internet, for the printed webhook address.")
    )
    webhook_secret: Annotated[SecretStr | None, AfterValidator(_secret_in_url)] = Field(
        None,
        description=N_("The last part of the webhook's address; without it one is made at the first start and kept."),
    )
    webhook_path: Annotated[str, AfterValidator(_path)] = Field(
        "/webhook/amocrm", description=N_("The path of the webhook before the secret.")
    )
    amocrm_base_url: Address | None = Field(
        None, description=N_("The account's address, such as https://example.amocrm.ru.")
    )
    amocrm_token: SecretStr | None = Field(
        None, description=N_("A long-lived token of the account; without it replies are kept and not sent.")
    )
    amocrm_calls_a_second: int = Field(
        6, ge=1, le=1000, description=N_("How often amoCRM is called by all processes together; its own limit is 7.")
    )
    manus_api_key: SecretStr | None = Field(
        None, description=N_("The Manus API key; without it replies come from the knowledge folder.")
    )
    manus_base_url: Address = Field("https://api.manus.ai", description=N_("The address of the Manus API."))
    manus_profile: str = Field(
        "lite", min_length=1, description=N_("The Manus agent profile: lite, standard, max, or what Manus names next.")
    )
    manus_poll_seconds: float = Field(
        2, ge=0.05, le=60, description=N_("Seconds before Manus is first asked for its answer; the waits then grow.")
    )
    manus_calls_a_minute: int = Field(
        10, ge=1, le=100_000, description=N_("How many questions a minute Manus takes of each kind, by its own limits.")
    )
    reply_budget_seconds: float = Field(
        90, gt=0, le=3600, description=N_("Seconds that Manus may take for a reply before the local answer is used.")
    )
    quiet_seconds: float = Field(
        3, ge=0, le=600, description=N_("A reply is written when the client has been silent for that many seconds.")
    )
    quiet_max_seconds: float = Field(
        15, ge=0, le=3600, description=N_("But no later than that many seconds after the first unanswered message.")
    )
    stale_minutes: float = Field(
        60, gt=0, description=N_("What a client wrote longer ago than that many minutes is left to a person.")
    )
    manager_pause_minutes: float = Field(
        30,
        ge=0,
        description=N_("For how many minutes the assistant keeps still after a manager wrote; 0: only this once."),
    )
    replies_a_day: int = Field(
        50, ge=1, description=N_("How many replies a conversation is given within 24 hours at most.")
    )
    person_phrases: str = Field(
        "", description=N_("Phrases of clients who want a person, with ; between them; empty for the built-in ones.")
    )
    history_messages: int = Field(
        60, ge=0, le=1000, description=N_("How many earlier messages of the deal an AI is given at most.")
    )
    knowledge_dir: Path = Field(
        Path("knowledge"), description=N_("The folder of Markdown files that the local answers come from.")
    )
    api_token: SecretStr | None = Field(
        None, description=N_("The token of the API and the metrics; without it they answer on this machine only.")
    )
    lang: Literal["ru", "en"] = Field("ru", description=N_("The language of commands and pages: ru or en."))
    log_format: Literal["console", "json"] = Field(
        "console", description=N_("How the log is written: console for people, json for machines.")
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description=N_("What the log holds: debug, info, warning or error.")
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """``OTVET_PORT=`` in a .env means that it is not set."""
        return {name: value for name, value in values.items() if value != ""}

    @property
    def amocrm_connected(self) -> bool:
        """Whether replies can be sent to the deal."""
        return self.amocrm_base_url is not None and self.amocrm_token is not None

    @property
    def is_sqlite(self) -> bool:
        return make_url(self.database_url).get_backend_name() == "sqlite"

    @property
    def sqlite_path(self) -> Path:
        """The SQLite file; only asked for when ``is_sqlite``."""
        return Path(make_url(self.database_url).database or "conversations.db")

    @property
    def shown_url(self) -> str:
        """The database's address without its password."""
        return make_url(self.database_url).render_as_string(hide_password=True)

    @property
    def workflow_url(self) -> str:
        """Where the workflow engine keeps its own state: beside the SQLite file, or in the same PostgreSQL."""
        if not self.is_sqlite:
            return self.database_url
        path = self.sqlite_path
        return f"sqlite:///{path.with_name(path.stem + '-workflows.db')}"

    @property
    def local_url(self) -> str:
        """How this machine reaches the service."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def webhook_url(self, secret: str) -> str:
        """The address to enter in amoCRM."""
        return f"{self.public_url or self.local_url}{self.webhook_path}/{secret}"


# pydantic speaks English only; these are the mistakes that a settings file can hold.
_REASONS = {
    "less_than_equal": N_("give at most {le}"),
    "greater_than_equal": N_("give at least {ge}"),
    "greater_than": N_("give more than {gt}"),
    "int_parsing": N_("give a whole number"),
    "int_parsing_size": N_("give a whole number"),
    "float_parsing": N_("give a number"),
    "bool_parsing": N_("give true or false"),
    "literal_error": N_("give {expected}"),
    "string_too_short": N_("give a value"),
}


def _reason(problem: ErrorDetails) -> str:
    if problem["type"] in _REASONS:
        limits = {name: f"{at:g}" if isinstance(at, float) else at for name, at in problem.get("ctx", {}).items()}
        return _(_REASONS[problem["type"]]).format(**limits)
    return str(problem["msg"]).removeprefix("Value error, ")


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; raises SettingsError with one line that names the variable and what is wrong."""
    try:
        return Settings(**overrides)
    except UnicodeDecodeError:
        raise SettingsError(_(".env is not UTF-8 text; save it in that encoding")) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        name = PREFIX + str(problem["loc"][0]).upper()
        raise SettingsError(f"{name}: {_reason(problem)}") from None


def misspelt() -> list[str]:
    """A sentence for each OTVET_ variable that is no setting: most likely a typing error that changes nothing."""
    known = {name.upper() for name in Settings.model_fields}
    names = {name.upper() for name in (*os.environ, *dotenv_values(".env"))}
    given = {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}
    sentences = []
    for name in sorted(given - known):
        close = difflib.get_close_matches(name, known, n=1)
        hint = _("did you mean {name}?").format(name=PREFIX + close[0]) if close else _("see docs/settings.md")
        sentences.append(_("{name} is not a setting; {hint}").format(name=PREFIX + name, hint=hint))
    return sentences
