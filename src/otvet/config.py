"""Settings: the environment or ``.env``, each with its meaning; ``docs/settings.md`` is generated from here."""

import difflib
import json
import os
import re
from datetime import UTC
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from otvet.deals import hours
from otvet.deliver.by_channel import WAYS, ways_in
from otvet.errors import SettingsError
from otvet.i18n import N_, _

PREFIX = "OTVET_"
SALESBOT_PATH = "/webhook/salesbot"


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


def _address(value: str, *, example: str) -> str:
    """Addresses are joined with paths, so a trailing slash is dropped here once."""
    sentence = _("give an address such as {example}").format(example=example)
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


def _long_secret(value: SecretStr | None) -> SecretStr | None:
    if value and len(value.get_secret_value()) < 32:
        raise ValueError(_("give at least 32 characters of chance, such as those of: openssl rand -base64 32"))
    return value


def headers_in(text: str) -> dict[str, str]:
    """The headers of "Name: value; Name: value"; ValueError when it is not of that form."""
    headers = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _colon, value = (piece.strip() for piece in part.partition(":"))
        if not (re.fullmatch(r"[A-Za-z0-9-]+", name) and value and value.isascii() and value.isprintable()):
            raise ValueError(_("give Name: value, with ; between several"))
        headers[name] = value
    return headers


def _headers(value: SecretStr | None) -> SecretStr | None:
    headers_in(value.get_secret_value() if value else "")
    return value


def _json_object(value: str | None) -> str | None:
    try:
        usable = value is None or isinstance(json.loads(value), dict)
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(_('give a JSON object such as {"reasoning_effort": "none"}'))
    return value


def _none_is_none(value: object) -> object:
    """Where empty means the default, a word says that there is to be no value."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


RESPONDERS = ("manus", "openai", "knowledge")


def _reply_via(value: str) -> str:
    try:
        ways_in(value)
    except ValueError:
        raise ValueError(
            _("give one of {ways}, or one for each channel: telegram=salesbot, waba=talk, *=note").format(
                ways=", ".join(WAYS)
            )
        ) from None
    return value


def _responders(value: str) -> str:
    names = [name.strip().lower() for name in value.split(",") if name.strip()]
    if not names or not set(names) <= set(RESPONDERS) or len(set(names)) < len(names):
        raise ValueError(
            _("give names with commas between them, each once: {names}").format(names=", ".join(RESPONDERS))
        )
    return ",".join(names)


def _time_zone(value: str) -> str:
    hours.zone_of(value)
    return value


def _working_hours(value: str) -> str:
    hours.read(value, UTC)
    return value


Address = Annotated[str, AfterValidator(partial(_address, example="https://api.example.com"))]
AccountAddress = Annotated[str, AfterValidator(partial(_address, example="https://example.amocrm.ru"))]
PublicAddress = Annotated[str, AfterValidator(partial(_address, example="https://otvet.example.com"))]


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
    public_url: PublicAddress | None = Field(
        None, description=N_("How amoCRM reaches this service from the internet: https://otvet.example.com.")
    )
    webhook_secret: Annotated[SecretStr | None, AfterValidator(_secret_in_url)] = Field(
        None,
        description=N_("The last part of the webhook's address; without it one is made at the first start and kept."),
    )
    webhook_path: Annotated[str, AfterValidator(_path)] = Field(
        "/webhook/amocrm", description=N_("The path of the webhook before the secret.")
    )
    amocrm_base_url: AccountAddress | None = Field(
        None, description=N_("The account's address, such as https://example.amocrm.ru.")
    )
    amocrm_token: SecretStr | None = Field(
        None, description=N_("A long-lived token of the account; without it replies are kept and not sent.")
    )
    amocrm_client_id: str | None = Field(
        None, description=N_("The ID of an own amoCRM integration, in place of a long-lived token; see otvet connect.")
    )
    amocrm_client_secret: SecretStr | None = Field(None, description=N_("The secret key of that integration."))
    secret_key: Annotated[SecretStr | None, AfterValidator(_long_secret)] = Field(
        None,
        description=N_(
            "What amoCRM's tokens in the database are encrypted with; without it a key file is made. Several machines"
            " need the same one."
        ),
    )
    secret_key_file: Path | None = Field(
        None, description=N_("The key file; without it conversations.key beside the database, or otvet.key.")
    )
    silence_hours: float | None = Field(
        None,
        ge=0,
        description=N_(
            "After so many hours without a delivery of amoCRM's there is a warning; 0: never. Where"
            " OTVET_WORKING_HOURS is set, only those count. Empty: 24, or 8 working hours."
        ),
    )
    reply_via: Annotated[str, AfterValidator(_reply_via)] = Field(
        "note",
        description=N_(
            "How replies are delivered: note, salesbot, widget or talk, or by channel:"
            " telegram=salesbot, waba=talk, *=note; docs/delivery.md explains them."
        ),
    )
    reply_note: bool = Field(
        True, description=N_("Whether a reply that goes to the client's chat stands in the deal as a note too.")
    )
    salesbot_id: int | None = Field(
        None, ge=1, description=N_("The number of the Salesbot that sends the replies; needed for the way salesbot.")
    )
    salesbot_field_id: int | None = Field(
        None,
        ge=1,
        description=N_("The number of the deal's text area that the Salesbot reads; without it one is made."),
    )
    widget_show: bool = Field(
        False,
        description=N_("Whether a waiting Salesbot is told to show the reply itself, in pieces of 80 characters."),
    )
    mode: Literal["auto", "draft", "off"] = Field(
        "auto",
        description=N_(
            "auto: replies go out by themselves; draft: a manager approves each; off: messages are only stored."
        ),
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
    manus_project: bool = Field(
        True, description=N_("Whether the role text is kept in a Manus project instead of every task's first message.")
    )
    manus_credits_per_day: int | None = Field(
        None, ge=0, description=N_("Credits that Manus may cost in a day (UTC); then the next responder is asked.")
    )
    reply_budget_seconds: float = Field(
        90, gt=0, le=3600, description=N_("Seconds that Manus may take for a reply before the local answer is used.")
    )
    openai_base_url: Address | None = Field(
        None, description=N_("The address of a chat-completions endpoint, up to /v1; docs/models.md has recipes.")
    )
    openai_api_key: SecretStr | None = Field(
        None,
        description=N_("The API key for it; for GigaChat the authorization key. A server of your own may need none."),
    )
    openai_model: str | None = Field(None, description=N_("The model's name there; without it no such model is asked."))
    openai_budget_seconds: float = Field(
        30, gt=0, le=600, description=N_("Seconds that the model may take for a reply before the next one is asked.")
    )
    openai_temperature: Annotated[float | None, BeforeValidator(_none_is_none)] = Field(
        0.2, ge=0, le=2, description=N_("How freely the model writes, 0 to 2; none: not sent, the model's own.")
    )
    openai_max_tokens: int = Field(
        1000, ge=100, le=100_000, description=N_("How many tokens an answer may take, the model's thoughts included.")
    )
    openai_context_tokens: int = Field(
        8000,
        ge=1000,
        le=1_000_000,
        description=N_(
            "How many tokens the model takes, prompt and answer together; the oldest messages are left out."
        ),
    )
    openai_tokens_per_day: int | None = Field(
        None, ge=0, description=N_("Tokens that the model may cost in a day (UTC); then the next responder is asked.")
    )
    openai_headers: Annotated[SecretStr | None, AfterValidator(_headers)] = Field(
        None, description=N_("Further headers for the endpoint: Name: value, with ; between several.")
    )
    openai_extra: Annotated[str | None, AfterValidator(_json_object)] = Field(
        None, description=N_('Further fields of the request as JSON, such as {"reasoning_effort": "none"}.')
    )
    openai_ca_file: Path | None = Field(
        None, description=N_("A PEM file of certificates to trust besides the system's, such as GigaChat's root.")
    )
    openai_client: Literal["openai", "gigachat"] = Field(
        "openai", description=N_("Through what the model is asked: openai for any endpoint, gigachat for GigaChat.")
    )
    gigachat_scope: str = Field(
        "GIGACHAT_API_PERS",
        min_length=1,
        description=N_(
            "GigaChat's scope: GIGACHAT_API_PERS, GIGACHAT_API_B2B or GIGACHAT_API_CORP, as your contract is."
        ),
    )
    gigachat_auth_url: Address = Field(
        "https://ngw.devices.sberbank.ru:9443/api/v2/oauth", description=N_("Where GigaChat gives out its tokens.")
    )
    transcribe_base_url: Address | None = Field(
        None,
        description=N_("The address of an OpenAI-compatible endpoint, up to /v1, that writes down voice messages."),
    )
    transcribe_api_key: SecretStr | None = Field(
        None, description=N_("The API key for it; a server of your own may need none.")
    )
    transcribe_model: str | None = Field(
        None, description=N_("The model's name there, such as whisper-1; without it voice messages stay unread.")
    )
    responders: Annotated[str, AfterValidator(_responders)] = Field(
        "manus,openai,knowledge",
        description=N_("Who is asked for a reply, in this order; those without a key or an address are left out."),
    )
    instructions_file: Path = Field(
        Path("instructions.md"),
        description=N_("The Markdown file that tells the AI how to answer; without it built-in words are used."),
    )
    mask_personal_data: bool = Field(
        True,
        description=N_(
            "Phone, card and passport numbers and e-mails are hidden from the AI and put back in its reply."
        ),
    )
    number_guard: Literal["strict", "note", "off"] = Field(
        "strict",
        description=N_(
            "A price, date, phone or link that stands nowhere in what is known: strict keeps the reply back,"
            " note sends it and says so in the deal, off does not look."
        ),
    )
    reply_max_characters: int = Field(
        3000, ge=100, le=100_000, description=N_("A longer reply is cut at the end of a sentence.")
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
    context_fields: str = Field(
        "",
        description=N_(
            "Which fields of the deal and the contact an AI is told, by name or id, with ; between several;"
            " also price, tags and responsible."
        ),
    )
    timezone: Annotated[str, AfterValidator(_time_zone)] = Field(
        "Europe/Moscow", description=N_("The company's time zone: of today's date, of the working hours.")
    )
    only_pipelines: str = Field(
        "", description=N_("Only deals of these pipelines are answered: names or ids, with ; between several.")
    )
    except_pipelines: str = Field("", description=N_("Deals of these pipelines are not answered."))
    only_stages: str = Field("", description=N_("Only deals in these stages are answered: names or ids."))
    except_stages: str = Field("", description=N_("Deals in these stages are not answered."))
    only_tags: str = Field("", description=N_("Only deals with one of these tags are answered: names or ids."))
    except_tags: str = Field("", description=N_("Deals with one of these tags are not answered."))
    only_channels: str = Field(
        "",
        description=N_(
            "Only messages of these channels are answered, as amoCRM calls them: telegram, waba, com.wazzup24.* ..."
        ),
    )
    except_channels: str = Field("", description=N_("Messages of these channels are not answered."))
    working_hours: Annotated[str, AfterValidator(_working_hours)] = Field(
        "", description=N_("Working hours, such as mon-fri 09:00-18:00; sat 10:00-15:00. Empty: always.")
    )
    out_of_hours: Literal["answer", "text", "silent"] = Field(
        "answer",
        description=N_(
            "Out of working hours: answer as always; text: only OTVET_OUT_OF_HOURS_TEXT, once a night; silent."
        ),
    )
    out_of_hours_text: str = Field(
        "", description=N_("What a client is told out of working hours, with OTVET_OUT_OF_HOURS=text.")
    )
    knowledge_dir: Path = Field(
        Path("knowledge"), description=N_("The folder of Markdown files and price lists (CSV) that answers come from.")
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

    @model_validator(mode="after")
    def _hours_make_sense(self) -> "Settings":
        if self.out_of_hours == "text" and not self.out_of_hours_text.strip():
            raise ValueError(_("OTVET_OUT_OF_HOURS=text needs OTVET_OUT_OF_HOURS_TEXT"))
        if self.out_of_hours != "answer" and not self.working_hours.strip():
            raise ValueError(_("OTVET_OUT_OF_HOURS needs OTVET_WORKING_HOURS"))
        return self

    @property
    def amocrm_connected(self) -> bool:
        """Whether replies can be sent to the deal."""
        own = self.amocrm_client_id is not None and self.amocrm_client_secret is not None
        return self.amocrm_base_url is not None and (self.amocrm_token is not None or own)

    @property
    def key_file(self) -> Path:
        """Where the key of the secrets in the database is, when it is not set."""
        if self.secret_key_file:
            return self.secret_key_file
        return self.sqlite_path.with_suffix(".key") if self.is_sqlite else Path("otvet.key")

    @property
    def responder_order(self) -> list[str]:
        """The names of ``responders``."""
        return self.responders.split(",")

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

    def webhook_url_here(self, secret: str) -> str:
        """The same address as this machine reaches it."""
        return f"{self.local_url}{self.webhook_path}/{secret}"

    def salesbot_url(self, secret: str) -> str:
        """The address that a Salesbot's step widget_request asks."""
        return f"{self.public_url or self.local_url}{SALESBOT_PATH}/{secret}"


# pydantic speaks English only; these are the mistakes that a settings file can hold.
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


def _one_of(problem: ErrorDetails) -> str:
    """pydantic's own list has an English "or" in it."""
    values = get_args(Settings.model_fields[str(problem["loc"][0])].annotation)
    return _("give one of: {values}").format(values=", ".join(values))


def _reason(problem: ErrorDetails) -> str:
    if problem["type"] == "literal_error":
        return _one_of(problem)
    if problem["type"] in _REASONS:
        limits = {name: f"{at:g}" if isinstance(at, float) else at for name, at in problem.get("ctx", {}).items()}
        return _(_REASONS[problem["type"]]).format(**limits)
    return str(problem["msg"]).removeprefix("Value error, ")


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; raises SettingsError with one line that names the variable and what is wrong."""
    try:
        _refuse_broken_lines(Path(".env"))
        return Settings(**overrides)
    except UnicodeDecodeError:
        raise SettingsError(_(".env is not UTF-8 text; save it in that encoding")) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        if not problem["loc"]:  # of several that do not go together
            raise SettingsError(_reason(problem)) from None
        name = PREFIX + str(problem["loc"][0]).upper()
        raise SettingsError(f"{name}: {_reason(problem)}") from None


def _refuse_broken_lines(file: Path) -> None:
    """Raise SettingsError for a line that dotenv would leave out; it may hold a key, so it is not shown."""
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
