"""A message as text, for responders, pages and the terminal: media too."""

from collections.abc import Mapping
from typing import Any

from otvet.i18n import N_, translator

SENDERS = {"client": N_("client"), "assistant": N_("assistant"), "manager": N_("manager")}
KIND_NAMES = {
    "contact": N_("contact card"),
    "file": N_("file"),
    "video": N_("video"),
    "picture": N_("picture"),
    "voice": N_("voice message"),
    "audio": N_("audio"),
    "sticker": N_("sticker"),
    "location": N_("location"),
    "erased": N_("erased"),
    "unknown": N_("message without text"),
}


def spoken(content: str, kind: str, data: Mapping[str, Any], language: str) -> str:
    """A message as text. Media is shown as its kind, file name and link in brackets, before the text sent with it."""
    if kind == "text":
        return content
    raw = data.get("raw")
    attachment = raw.get("attachment") if isinstance(raw, dict) else None
    attachment = attachment if isinstance(attachment, dict) else {}
    details = [str(attachment[name]) for name in ("file_name", "link") if attachment.get(name)]
    name = translator(language)(KIND_NAMES.get(kind, KIND_NAMES["unknown"]))
    if content and "transcript" in data:  # transcribed: the link says nothing more
        return f"[{name}] {content}"
    placeholder = f"[{name}: {' '.join(details)}]" if details else f"[{name}]"
    return f"{placeholder} {content}".strip()
