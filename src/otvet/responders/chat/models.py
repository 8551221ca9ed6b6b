"""The model that the settings name, ready to be asked."""

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otvet.clock import Clock
from otvet.config import Settings, headers_in
from otvet.errors import SettingsError
from otvet.i18n import _
from otvet.responders.chat.api import OpenAiModel
from otvet.responders.chat.gigachat import GigaChatModel, Library
from otvet.responders.chat.responder import ChatResponder, Model


def from_settings(
    settings: Settings, clock: Clock, load_gigachat: Callable[..., Library] | None = None
) -> ChatResponder | None:
    """The responder, or None when no model is named. SettingsError when what belongs to it is missing or wrong.

    load_gigachat: gives GigaChat's client; None: the package's own, which is an extra.
    """
    if settings.openai_model is None:
        if settings.openai_base_url is not None:
            raise SettingsError(_("OTVET_OPENAI_BASE_URL is set; set OTVET_OPENAI_MODEL too"))
        return None
    if settings.openai_max_tokens > settings.openai_context_tokens / 2:
        raise SettingsError(_("OTVET_OPENAI_MAX_TOKENS: give at most half of OTVET_OPENAI_CONTEXT_TOKENS"))
    model = _gigachat(settings, load_gigachat) if settings.openai_client == "gigachat" else _openai(settings)
    return ChatResponder(
        model,
        clock,
        budget_seconds=settings.openai_budget_seconds,
        max_tokens=settings.openai_max_tokens,
        context_tokens=settings.openai_context_tokens,
    )


def _openai(settings: Settings) -> Model:
    if settings.openai_base_url is None:
        # No address is assumed: words meant for a server of one's own must not go elsewhere.
        raise SettingsError(_("OTVET_OPENAI_MODEL is set; set OTVET_OPENAI_BASE_URL too"))
    return OpenAiModel(
        settings.openai_base_url,
        settings.openai_model or "",
        api_key=_secret(settings.openai_api_key),
        temperature=settings.openai_temperature,
        headers=headers_in(_secret(settings.openai_headers) or ""),
        extra=_extra(settings),
        trust=_trust(settings.openai_ca_file) if settings.openai_ca_file else None,
    )


def _gigachat(settings: Settings, load: Callable[..., Library] | None) -> Model:
    key = _secret(settings.openai_api_key)
    if key is None:
        raise SettingsError(_("OTVET_OPENAI_CLIENT is gigachat; set OTVET_OPENAI_API_KEY to its authorization key"))
    return GigaChatModel(
        key,
        settings.openai_model or "",
        scope=settings.gigachat_scope,
        auth_url=settings.gigachat_auth_url,
        base_url=settings.openai_base_url,
        temperature=settings.openai_temperature,
        extra=_extra(settings),
        trust=_trust(settings.openai_ca_file),
        load=load,
    )


def _extra(settings: Settings) -> dict[str, Any]:
    return dict(json.loads(settings.openai_extra)) if settings.openai_extra else {}


def _secret(value: Any) -> str | None:
    return str(value.get_secret_value()) if value else None


def _trust(file: Path | None) -> ssl.SSLContext:
    """The system's certificates, and those of the file beside them."""
    context = ssl.create_default_context()
    if file is not None:
        try:
            context.load_verify_locations(cafile=file)
        except OSError:  # an SSLError is one too
            text = _("OTVET_OPENAI_CA_FILE: {file} cannot be read, or holds no certificate in PEM form")
            raise SettingsError(text.format(file=file)) from None
    return context
