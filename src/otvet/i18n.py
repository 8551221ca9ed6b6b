"""Translations: message ids are English, catalogues are in ``locale/``.

The interface is in the language of ``OTVET_LANG`` (Russian by default), a reply in the client's language.
"""

import gettext
import logging
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from dotenv import dotenv_values

from otvet.languages import evidence, language_in, words_of

LANGUAGES = ("ru", "en")
CLIENT_LANGUAGES = ("uk", "kk")  # have only what the assistant says to clients by itself
DEFAULT_LANGUAGE = "ru"
LOCALE = Path(__file__).with_name("locale")

# The settings themselves report a line of .env that cannot be read.
logging.getLogger("dotenv").setLevel(logging.CRITICAL)

_CYRILLIC = re.compile(r"[\u0400-\u04FF]")
_LATIN = re.compile(r"[A-Za-z]")
_CLEARLY = 1.5  # a word that no other language has, with letters of its own, or two words


@cache
def translations(language: str) -> gettext.NullTranslations:
    """The catalogue of a language; English needs none, because its texts are the message ids."""
    return gettext.translation("otvet", LOCALE, languages=[language], fallback=language == "en")


def translator(language: str) -> Callable[[str], str]:
    """A function that translates a message into that language."""
    return translations(language).gettext


@cache
def interface_language() -> str:
    """The language of ``OTVET_LANG`` in the environment or ``.env``; the settings report a wrong value.

    Not taken from the settings, because ``--help`` needs its texts before the settings are loaded.
    """
    wanted = os.environ.get("OTVET_LANG") or _in_env_file() or DEFAULT_LANGUAGE
    return wanted if wanted in LANGUAGES else DEFAULT_LANGUAGE


def _in_env_file() -> str | None:
    try:
        return dotenv_values(".env").get("OTVET_LANG")
    except UnicodeDecodeError:  # the settings report it
        return None


def language_of_client(asked: str, earlier: str, otherwise: str) -> str:
    """The language in which the assistant says its own texts: one of those of ``locale``, or English.

    asked: what the client asks; earlier: what the client wrote before, for a question that does not tell its language.
    One Ukrainian or Kazakh word in a longer text may be a slip of a Russian.
    """
    for text in (asked, earlier):
        told = language_in(text)
        if told in CLIENT_LANGUAGES and (evidence(text)[told] >= _CLEARLY or len(words_of(text)) == 1):
            return told
        if told:
            return language_of(text)
    return otherwise


def _(message: str) -> str:
    """Translate a message into the interface's language."""
    return translations(interface_language()).gettext(message)


def ngettext(one: str, many: str, count: int) -> str:
    """Translate a message about ``count`` things into the interface's language."""
    return translations(interface_language()).ngettext(one, many, count)


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark a message for the catalogue; it is translated later."""
    return message


def language_of(text: str, otherwise: str = DEFAULT_LANGUAGE) -> str:
    """The language of a reply to this text: Russian if it has any Cyrillic letter, English if only Latin ones.

    Russian in Latin letters is Russian.
    """
    if _CYRILLIC.search(text):
        return "ru"
    if _LATIN.search(text):
        return "ru" if language_in(text) == "translit" else "en"
    return otherwise
