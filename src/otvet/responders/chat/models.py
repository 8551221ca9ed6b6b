"""Makes the chat responder from the settings."""

import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otvet.clock import Clock
from otvet.errors import SettingsError
from otvet.i18n import _
from otvet.responders.chat.api import OpenAiModel
from otvet.responders.chat.gigachat import GigaChatModel, Library
from otvet.responders.chat.responder import ChatResponder, Model
from otvet.settings.checks import headers_in
from otvet.settings.settings import Settings


def from_settings(
    settings: Settings, clock: Clock, load_gigachat: Callable[..., Library] | None = None
) -> ChatResponder | None:
    """The responder, or None if no model is set. SettingsError if one of its other settings is missing or wrong.

    load_gigachat: makes GigaChat's client; None: the package's own, which is an extra.
    """
    if settings.openai_model is None:
        if settings.openai_base_url is not None:
            raise SettingsError(_("OTVET_OPENAI_BASE_URL is set; set OTVET_OPENAI_MODEL too"))
        return None
    scope = _SCOPES.get(settings.openai_client)
    model = _gigachat(settings, scope, load_gigachat) if scope else _openai(settings)
    return ChatResponder(
        model,
        clock,
        budget_seconds=settings.openai_budget_seconds,
        max_tokens=settings.openai_max_tokens,
        context_tokens=settings.openai_context_tokens,
    )


_SCOPES = {
    "gigachat": "GIGACHAT_API_PERS",
    "gigachat-b2b": "GIGACHAT_API_B2B",
    "gigachat-corp": "GIGACHAT_API_CORP",
}
"""GigaChat's scopes, by the client that the settings name."""

TEMPERATURE = 0.2  # facts, not ideas; OTVET_OPENAI_EXTRA may give another


def _openai(settings: Settings) -> Model:
    if settings.openai_base_url is None:
        # There is no default address: words meant for the company's own server must not go elsewhere.
        raise SettingsError(_("OTVET_OPENAI_MODEL is set; set OTVET_OPENAI_BASE_URL too"))
    temperature, extra = _extra(settings)
    return OpenAiModel(
        settings.openai_base_url,
        settings.openai_model or "",
        api_key=_secret(settings.openai_api_key),
        temperature=temperature,
        headers=headers_in(_secret(settings.openai_headers) or ""),
        extra=extra,
        trust=_trust(settings.openai_ca_file) if settings.openai_ca_file else None,
        proxy=_secret(settings.openai_proxy),
    )


def _gigachat(settings: Settings, scope: str, load: Callable[..., Library] | None) -> Model:
    key = _secret(settings.openai_api_key)
    if key is None:
        raise SettingsError(_("OTVET_OPENAI_CLIENT is gigachat; set OTVET_OPENAI_API_KEY to its authorization key"))
    if settings.openai_proxy:
        raise SettingsError(
            _("OTVET_OPENAI_PROXY: GigaChat's own client knows only HTTPS_PROXY; set that, and NO_PROXY for amoCRM")
        )
    temperature, extra = _extra(settings)
    return GigaChatModel(
        key,
        settings.openai_model or "",
        scope=scope,
        base_url=settings.openai_base_url,
        temperature=temperature,
        extra=extra,
        trust=_trust(settings.openai_ca_file),
        load=load,
    )


def _extra(settings: Settings) -> tuple[float | None, dict[str, Any]]:
    """The temperature (None: not sent), and the further fields of the request."""
    extra = dict(json.loads(settings.openai_extra)) if settings.openai_extra else {}
    return extra.pop("temperature", TEMPERATURE), extra


def _secret(value: Any) -> str | None:
    return str(value.get_secret_value()) if value else None


def _trust(file: Path | None) -> ssl.SSLContext:
    """The system's certificates and those of the file."""
    context = ssl.create_default_context()
    if file is not None:
        try:
            context.load_verify_locations(cafile=file)
        except OSError:  # an SSLError is one too
            text = _("OTVET_OPENAI_CA_FILE: {file} cannot be read, or holds no certificate in PEM form")
            raise SettingsError(text.format(file=file)) from None
    return context
