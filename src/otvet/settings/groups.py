"""Which settings can be changed on the pages, in the groups in which they stand there."""

from collections.abc import Mapping
from typing import get_args

from pydantic import SecretStr

from otvet.i18n import N_
from otvet.settings.settings import Settings

AMOCRM = N_("The connection to amoCRM")

GROUPS: Mapping[str, tuple[str, ...]] = {
    N_("When the assistant answers"): (
        "mode",
        "working_hours",
        "out_of_hours",
        "timezone",
        "answer_only",
        "answer_except",
        "quiet_seconds",
        "stale_minutes",
        "manager_pause_minutes",
        "replies_a_day",
    ),
    N_("What it says"): (
        "small_talk",
        "person_phrases",
        "number_guard",
        "mask_personal_data",
        "context_fields",
        "history_messages",
    ),
    N_("Where replies go"): ("reply_via", "reply_note", "salesbot_id", "widget_show", "arrival_minutes"),
    N_("Who writes"): (
        "responders",
        "manus_api_key",
        "manus_profile",
        "manus_credits_per_day",
        "reply_budget_seconds",
        "openai_base_url",
        "openai_api_key",
        "openai_model",
        "openai_client",
        "openai_budget_seconds",
        "openai_max_tokens",
        "openai_tokens_per_day",
        "openai_headers",
        "openai_extra",
        "openai_proxy",
        "transcribe_base_url",
        "transcribe_api_key",
        "transcribe_model",
    ),
    AMOCRM: (
        "public_url",
        "amocrm_base_url",
        "amocrm_token",
        "amocrm_client_id",
        "amocrm_client_secret",
        "silence_hours",
    ),
}

EDITABLE = frozenset(name for names in GROUPS.values() for name in names)

SECRET = frozenset(name for name, field in Settings.model_fields.items() if SecretStr in get_args(field.annotation))
"""The settings whose values are never shown."""
