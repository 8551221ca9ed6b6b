"""The languages that Otvet speaks: message ids are English, catalogues are in ``locale/``.

The interface speaks ``OTVET_LANG`` (Russian by default); a reply speaks the client's language.
"""

import gettext
import logging
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from dotenv import dotenv_values

LANGUAGES = ("ru", "en")
DEFAULT_LANGUAGE = "ru"
LOCALE = Path(__file__).with_name("locale")

logging.getLogger("dotenv").setLevel(
    logging.CRITICAL
)  # of a line that it cannot read the settings speak, in a sentence

_CYRILLIC = re.compile(r"[\u0400-\u04FF]")
_LATIN = re.compile(r"[A-Za-z]")


@cache
def translations(language: str) -> gettext.NullTranslations:
    """The catalogue of a language; English needs none, its texts are the message ids."""
    return gettext.translation("otvet", LOCALE, languages=[language], fallback=language == "en")


def translator(language: str) -> Callable[[str], str]:
    """A function that says a message in that language."""
    return translations(language).gettext


@cache
def interface_language() -> str:
    """What ``OTVET_LANG`` asks for, from the environment or ``.env``; a wrong value is reported by the settings.

    Read here and not from the settings, because the texts of ``--help`` are needed before those are loaded.
    """
    wanted = os.environ.get("OTVET_LANG") or _in_env_file() or DEFAULT_LANGUAGE
    return wanted if wanted in LANGUAGES else DEFAULT_LANGUAGE


def _in_env_file() -> str | None:
    try:
        return dotenv_values(".env").get("OTVET_LANG")
    except UnicodeDecodeError:  # the settings say so, in a sentence
        return None


def _(message: str) -> str:
    """Say a message in the interface's language."""
    return translations(interface_language()).gettext(message)


def ngettext(one: str, many: str, count: int) -> str:
    """Say a message about ``count`` things in the interface's language."""
    return translations(interface_language()).ngettext(one, many, count)


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark a message for the catalogue; it is said later."""
    return message


def language_of(text: str, otherwise: str = DEFAULT_LANGUAGE) -> str:
    """The language to answer a client in: Russian if there is any Cyrillic, English if only Latin letters."""
    if _CYRILLIC.search(text):
        return "ru"
    if _LATIN.search(text):
        return "en"
    return otherwise
