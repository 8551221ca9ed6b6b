"""Which settings can be changed on the pages, in the groups in which they stand there, with their names for people."""

from collections.abc import Mapping
from typing import get_args

from pydantic import SecretStr

from otvet.i18n import N_
from otvet.settings.settings import Settings

WHEN, SAYS, REPLIES, WRITERS = "when", "says", "replies", "writers"

OWN = ""  # in place of a value that has a name

TITLES: Mapping[str, str] = {
    WHEN: N_("When the assistant answers"),
    SAYS: N_("What it says"),
    REPLIES: N_("Where replies go"),
    WRITERS: N_("Who writes the replies"),
}

GROUPS: Mapping[str, Mapping[str, str]] = {
    WHEN: {
        "mode": N_("Mode"),
        "working_hours": N_("Working hours"),
        "out_of_hours": N_("Out of hours"),
        "timezone": N_("Time zone"),
        "answer_only": N_("Only these deals"),
        "answer_except": N_("Not these deals"),
        "quiet_seconds": N_("Silence before a reply, seconds"),
        "stale_minutes": N_("Too old after, minutes"),
        "manager_pause_minutes": N_("Pause after a manager wrote, minutes"),
        "replies_a_day": N_("Replies a day in one deal"),
    },
    SAYS: {
        "small_talk": N_("Thanks and greetings"),
        "person_phrases": N_("Phrases that ask for a person"),
        "number_guard": N_("Check of numbers"),
        "mask_personal_data": N_("Hide personal data from the AI"),
        "context_fields": N_("Fields of the deal that the AI is told"),
        "history_messages": N_("Earlier messages that the AI is told"),
    },
    REPLIES: {
        "reply_via": N_("Way"),
        "reply_note": N_("A note besides"),
        "salesbot_id": N_("Number of the Salesbot"),
        "widget_show": N_("The bot shows the reply itself"),
        "arrival_minutes": N_("Looked for after, minutes"),
        "silence_hours": N_("Warn of silence after, hours"),
    },
    WRITERS: {
        "responders": N_("Who is asked, in this order"),
        "manus_api_key": N_("Manus: key"),
        "manus_profile": N_("Manus: profile"),
        "manus_credits_per_day": N_("Manus: credits a day"),
        "reply_budget_seconds": N_("Manus: seconds for a reply"),
        "openai_base_url": N_("Model: address"),
        "openai_api_key": N_("Model: key"),
        "openai_model": N_("Model: name"),
        "openai_client": N_("Model: client"),
        "openai_budget_seconds": N_("Model: seconds for a reply"),
        "openai_max_tokens": N_("Model: tokens of an answer"),
        "openai_tokens_per_day": N_("Model: tokens a day"),
        "openai_headers": N_("Model: further headers"),
        "openai_extra": N_("Model: further fields"),
        "openai_proxy": N_("Model: proxy"),
        "transcribe_base_url": N_("Voice: address"),
        "transcribe_api_key": N_("Voice: key"),
        "transcribe_model": N_("Voice: model"),
    },
}

AMOCRM: Mapping[str, str] = {
    "public_url": N_("Address of this server"),
    "amocrm_base_url": N_("Address of the account"),
    "amocrm_token": N_("Long-lived token"),
    "amocrm_client_id": N_("ID of the integration"),
    "amocrm_client_secret": N_("Its secret key"),
}
"""What the page of the connection changes."""

LABELS: Mapping[str, str] = {name: label for group in (*GROUPS.values(), AMOCRM) for name, label in group.items()}
EDITABLE = frozenset(LABELS)

CHOICES: Mapping[str, Mapping[str, str]] = {
    "mode": {"auto": N_("answers by itself"), "draft": N_("writes drafts"), "off": N_("is off")},
    "small_talk": {
        "silent": N_("a greeting is greeted, thanks get nothing"),
        "short": N_("a friendly word"),
        "answer": N_("a reply as to any question"),
    },
    "number_guard": {
        "strict": N_("keeps a doubtful reply back"),
        "note": N_("sends it and says so in the deal"),
        "off": N_("does not look"),
    },
    "out_of_hours": {
        "answer": N_("answers as always"),
        "silent": N_("says nothing, the questions wait for a manager"),
        OWN: N_("sends this text in place of a reply:"),
    },
    "reply_via": {
        "note": N_("a note in the deal, which only staff see"),
        "salesbot": N_("into the client's chat by a Salesbot"),
        "talk": N_("into the client's chat by amoCRM's chat API"),
        "widget": N_("into the client's chat by the bot that waits for it"),
        OWN: N_("by channel:"),
    },
}
"""What the values of some settings are called; others are called what they are. OWN: anything else may be written."""

ABOUT: Mapping[str, str] = {
    "mode": N_("Drafts wait until a manager approves them. Switched off, it only keeps what clients write."),
    "small_talk": N_("What a client gets for a word of thanks, an ok or a sticker."),
    "number_guard": N_("What becomes of a reply with a price, date, phone or link that it was not given."),
    "out_of_hours": N_("A text of yours is sent once until working hours begin."),
    "reply_via": N_("By channel, for instance: telegram=salesbot, waba=talk, *=note."),
    "silence_hours": N_(
        "Warn when amoCRM has sent nothing for so many hours; 0: never. With working hours, only those count."
        " Empty: 24 hours, or 8 working ones."
    ),
}
"""What the pages say of settings whose values have names there; of others they say what their description says."""

RARE = frozenset(
    (
        "reply_budget_seconds",
        "openai_client",
        "openai_budget_seconds",
        "openai_max_tokens",
        "openai_headers",
        "openai_extra",
        "openai_proxy",
        "transcribe_base_url",
        "transcribe_api_key",
        "transcribe_model",
        "widget_show",
        "arrival_minutes",
        "silence_hours",
    )
)
"""Settings that most companies never touch: they stand folded away."""

LONG = frozenset(("out_of_hours", "person_phrases", "answer_only", "answer_except", "context_fields", "openai_extra"))
"""Settings that take more than a line."""

SECRET = frozenset(name for name, field in Settings.model_fields.items() if SecretStr in get_args(field.annotation))
"""The settings whose values are never shown."""


def values_of(name: str) -> tuple[str, ...]:
    """The values that a setting can have; empty if they are not listed."""
    values = get_args(Settings.model_fields[name].annotation)
    return values if all(isinstance(value, str) for value in values) else ()


def is_switch(name: str) -> bool:
    """Whether it is on or off."""
    return Settings.model_fields[name].annotation is bool


def written(value: object) -> str:
    """A value as it would stand in ``.env``; of a secret nothing."""
    match value:
        case None | SecretStr():
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
    return str(value)
