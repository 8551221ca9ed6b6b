"""All settings with their descriptions; ``docs/settings.md`` is generated from here."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from otvet.i18n import N_, _
from otvet.settings import checks
from otvet.settings.checks import AccountAddress, Address, PublicAddress

PREFIX = "OTVET_"
WEBHOOK_PATH = "/webhook/amocrm"
SALESBOT_PATH = "/webhook/salesbot"


class Settings(BaseSettings):
    """All settings. A variable's name is ``OTVET_`` and the field's name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    database_url: Annotated[str, AfterValidator(checks.database)] = Field(
        "sqlite:///conversations.db",
        description=N_("Where the conversations are kept: a SQLite file or a PostgreSQL database."),
    )
    host: str = Field("127.0.0.1", description=N_("The address to listen on; 0.0.0.0 for all of the machine's."))
    port: int = Field(8000, ge=0, le=65535, description=N_("The port to listen on; 0 for any free one."))
    public_url: PublicAddress | None = Field(
        None, description=N_("How amoCRM reaches this service from the internet: https://otvet.example.com.")
    )
    webhook_secret: Annotated[SecretStr | None, AfterValidator(checks.secret_in_url)] = Field(
        None,
        description=N_("The last part of the webhook's address; without it one is made at the first start and kept."),
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
    secret_key: Annotated[SecretStr | None, AfterValidator(checks.long_secret)] = Field(
        None,
        description=N_(
            "What amoCRM's tokens in the database are encrypted with; without it a key file is made. Several machines"
            " need the same one."
        ),
    )
    silence_hours: float | None = Field(
        None,
        ge=0,
        description=N_(
            "Warn after this number of hours without a delivery from amoCRM; 0: never. If OTVET_WORKING_HOURS is"
            " set, only working hours count. Empty: 24, or 8 working hours."
        ),
    )
    reply_via: Annotated[str, AfterValidator(checks.reply_via)] = Field(
        "note",
        description=N_(
            "How replies are delivered: note, salesbot, widget or talk, or by channel:"
            " telegram=salesbot, waba=talk, *=note; docs/delivery.md explains them."
        ),
    )
    arrival_minutes: float = Field(
        5,
        ge=0,
        le=180,
        description=N_(
            "Where amoCRM reports replies back as outgoing messages: one that has not come back after this number of"
            " minutes is on the operator's list; 0: not looked at."
        ),
    )
    reply_note: bool = Field(
        True, description=N_("Whether a reply that goes to the client's chat stands in the deal as a note too.")
    )
    salesbot_id: int | None = Field(
        None, ge=1, description=N_("The number of the Salesbot that sends the replies; needed for the way salesbot.")
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
    manus_api_key: Annotated[SecretStr | None, AfterValidator(checks.key)] = Field(
        None, description=N_("The Manus API key; without it replies come from the knowledge folder.")
    )
    manus_base_url: Address = Field("https://api.manus.ai", description=N_("The address of the Manus API."))
    manus_profile: str = Field(
        "lite", min_length=1, description=N_("The Manus agent profile: lite, standard, max, or what Manus names next.")
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
    openai_api_key: Annotated[SecretStr | None, AfterValidator(checks.key)] = Field(
        None,
        description=N_("The API key for it; for GigaChat the authorization key. A server of your own may need none."),
    )
    openai_model: str | None = Field(None, description=N_("The model's name there; without it no such model is asked."))
    openai_budget_seconds: float = Field(
        30, gt=0, le=600, description=N_("Seconds that the model may take for a reply before the next one is asked.")
    )
    openai_max_tokens: int = Field(
        1000,
        ge=100,
        le=100_000,
        description=N_(
            "How many tokens an answer may take, the model's thoughts included. Prompt and answer together take 8000 at"
            " most, or eight times this number where that is more."
        ),
    )
    openai_tokens_per_day: int | None = Field(
        None, ge=0, description=N_("Tokens that the model may cost in a day (UTC); then the next responder is asked.")
    )
    openai_headers: Annotated[SecretStr | None, AfterValidator(checks.headers)] = Field(
        None, description=N_("Further headers for the endpoint: Name: value, with ; between several.")
    )
    openai_extra: Annotated[str | None, AfterValidator(checks.json_object)] = Field(
        None,
        description=N_(
            'Further fields of the request as JSON, such as {"reasoning_effort": "none", "temperature": 0.2}.'
        ),
    )
    openai_ca_file: Path | None = Field(
        None, description=N_("A PEM file of certificates to trust besides the system's, such as GigaChat's root.")
    )
    openai_proxy: Annotated[SecretStr | None, AfterValidator(checks.proxy)] = Field(
        None,
        description=N_(
            "A proxy for the model alone: http://, https:// or socks5://, with NAME:PASSWORD@ if it needs them; without"
            " it HTTPS_PROXY, ALL_PROXY and NO_PROXY of the environment hold."
        ),
    )
    openai_client: Literal["openai", "gigachat", "gigachat-b2b", "gigachat-corp"] = Field(
        "openai",
        description=N_(
            "Through what the model is asked: openai for any endpoint; for GigaChat gigachat, gigachat-b2b or"
            " gigachat-corp, as your contract is."
        ),
    )
    transcribe_base_url: Address | None = Field(
        None,
        description=N_("The address of an OpenAI-compatible endpoint, up to /v1, that writes down voice messages."),
    )
    transcribe_api_key: Annotated[SecretStr | None, AfterValidator(checks.key)] = Field(
        None, description=N_("The API key for it; a server of your own may need none.")
    )
    transcribe_model: str | None = Field(
        None, description=N_("The model's name there, such as whisper-1; without it voice messages stay unread.")
    )
    responders: Annotated[str, AfterValidator(checks.responders)] = Field(
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
    quiet_seconds: float = Field(
        3,
        ge=0,
        le=600,
        description=N_(
            "A reply is written when the client has sent nothing for this number of seconds, but no later than five"
            " times this number after the first unanswered message."
        ),
    )
    stale_minutes: float = Field(
        60, gt=0, description=N_("A message older than this number of minutes is left to a person.")
    )
    manager_pause_minutes: float = Field(
        30,
        ge=0,
        description=N_("Minutes for which the assistant is silent after a manager wrote; 0: only for this question."),
    )
    replies_a_day: int = Field(
        50, ge=1, description=N_("How many replies a conversation is given within 24 hours at most.")
    )
    person_phrases: str = Field(
        "", description=N_("Phrases of your clients that ask for a person too, with ; between them.")
    )
    small_talk: Literal["silent", "short", "answer"] = Field(
        "silent",
        description=N_(
            'What thanks, an "ok" or a sticker get: silent, nothing; short, a friendly word; answer, a reply as to any'
            " question. A greeting is greeted with the first two."
        ),
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
    timezone: Annotated[str, AfterValidator(checks.time_zone)] = Field(
        "Europe/Moscow", description=N_("The company's time zone: of today's date, of the working hours.")
    )
    answer_only: Annotated[str, AfterValidator(checks.deals)] = Field(
        "",
        description=N_(
            "Only these deals and channels are answered: pipeline: Sales, Repairs; tag: vip; channel: telegram. See"
            " docs/deals.md."
        ),
    )
    answer_except: Annotated[str, AfterValidator(checks.deals)] = Field(
        "", description=N_("These deals and channels are not answered, such as stage: Negotiations; tag: by hand.")
    )
    working_hours: Annotated[str, AfterValidator(checks.hours)] = Field(
        "", description=N_("Working hours, such as mon-fri 09:00-18:00; sat 10:00-15:00. Empty: always.")
    )
    out_of_hours: Annotated[str, AfterValidator(checks.out_of_hours)] = Field(
        checks.AS_ALWAYS,
        description=N_(
            "Out of working hours: answer: as always; silent: no reply; anything else is the text that a client is"
            " told, once between two working times."
        ),
    )
    knowledge_dir: Path = Field(
        Path("knowledge"), description=N_("The folder of Markdown files and price lists (CSV) that answers come from.")
    )
    notify: Annotated[SecretStr | None, AfterValidator(checks.notify)] = Field(
        None,
        description=N_(
            "Where notices to staff go, as addresses of Apprise with ; between them, such as tgram://TOKEN/CHAT or"
            " mailto://NAME:PASSWORD@example.com."
        ),
    )
    notify_minutes: float = Field(
        10, ge=1, description=N_("A notice is sent when a client has waited for a person for this number of minutes.")
    )
    notify_quiet: Annotated[str, AfterValidator(checks.hours)] = Field(
        "", description=N_("Hours in which no notice is sent, such as 22:00-08:00; it is sent afterwards.")
    )
    notify_words: bool = Field(False, description=N_("Whether a notice repeats what the client wrote last."))
    api_token: SecretStr | None = Field(
        None,
        description=N_(
            "A token that opens all of the API and the metrics. Tokens that open less are made on the pages."
        ),
    )
    lang: Literal["ru", "en"] = Field("ru", description=N_("The language of commands and pages: ru or en."))
    log_format: Literal["console", "json"] = Field(
        "console", description=N_("How the log is written: console for people, json for machines.")
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        """An empty value, such as ``OTVET_PORT=`` in ``.env``, counts as not set."""
        return {name: value for name, value in values.items() if value != ""}

    @model_validator(mode="after")
    def _hours_make_sense(self) -> "Settings":
        if self.out_of_hours != checks.AS_ALWAYS and not self.working_hours.strip():
            raise ValueError(_("OTVET_OUT_OF_HOURS needs OTVET_WORKING_HOURS"))
        return self

    @property
    def amocrm_connected(self) -> bool:
        """Whether replies can be sent to the deal."""
        own = self.amocrm_client_id is not None and self.amocrm_client_secret is not None
        return self.amocrm_base_url is not None and (self.amocrm_token is not None or own)

    @property
    def key_file(self) -> Path:
        """The file of the key for the secrets in the database, used if OTVET_SECRET_KEY is not set."""
        return self.sqlite_path.with_suffix(".key") if self.is_sqlite else Path("otvet.key")

    @property
    def token_file(self) -> Path:
        """The file of the token with which commands on this machine use the API of the server."""
        return self.sqlite_path.with_suffix(".token") if self.is_sqlite else Path("otvet.token")

    @property
    def quiet_max_seconds(self) -> float:
        """The longest wait after the first unanswered message for a client who goes on writing."""
        return 5 * self.quiet_seconds

    @property
    def openai_context_tokens(self) -> int:
        """The most tokens of a request, prompt and answer together."""
        return max(8000, 8 * self.openai_max_tokens)

    @property
    def responder_order(self) -> list[str]:
        """The names of ``responders``."""
        return self.responders.split(",")

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def sqlite_path(self) -> Path:
        """The SQLite file; use it only if ``is_sqlite``."""
        if plain := checks.plain_file(self.database_url):
            return Path(plain)
        from sqlalchemy.engine import make_url

        return Path(make_url(self.database_url).database or "conversations.db")

    @property
    def shown_url(self) -> str:
        """The database's address without its password."""
        from sqlalchemy.engine import make_url

        return make_url(self.database_url).render_as_string(hide_password=True)

    @property
    def workflow_url(self) -> str:
        """The workflow engine's own database: a file beside the SQLite file, or the same PostgreSQL."""
        if not self.is_sqlite:
            return self.database_url
        path = self.sqlite_path
        return f"sqlite:///{path.with_name(path.stem + '-workflows.db')}"

    @property
    def local_url(self) -> str:
        """The service's address on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def webhook_url(self, secret: str) -> str:
        """The webhook's address to enter in amoCRM."""
        return f"{self.public_url or self.local_url}{WEBHOOK_PATH}/{secret}"

    def webhook_url_here(self, secret: str) -> str:
        """The webhook's address on this machine."""
        return f"{self.local_url}{WEBHOOK_PATH}/{secret}"

    def salesbot_url(self, secret: str) -> str:
        """The address that a Salesbot's step widget_request calls."""
        return f"{self.public_url or self.local_url}{SALESBOT_PATH}/{secret}"
