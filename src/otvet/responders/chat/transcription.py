"""Speech to text at an OpenAI-compatible endpoint, through the official client, which is loaded when it is used.

Source: https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

import asyncio
from typing import TYPE_CHECKING

from otvet.errors import SettingsError
from otvet.i18n import _

if TYPE_CHECKING:
    from openai import AsyncOpenAI

WITHIN_SECONDS = 60.0
LONGEST = 4000  # characters of a text that are kept

# By how a file begins: amoCRM names an M4A file .ogg, and the endpoints go by the name.
_BEGINNINGS = ((b"OggS", "ogg"), (b"ID3", "mp3"), (b"fLaC", "flac"), (b"\x1aE\xdf\xa3", "webm"))


class NotTranscribed(Exception):
    """No text came of it; the message says why and quotes nothing."""


def kind_of(content: bytes) -> str | None:
    """The ending for what a sound file holds; None when it is none that is known."""
    for beginning, kind in _BEGINNINGS:
        if content.startswith(beginning):
            return kind
    if content[4:8] == b"ftyp":
        return "m4a"
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        return "wav"
    if len(content) > 1 and content[0] == 0xFF and content[1] & 0xE6 == 0xE2:  # a frame of MPEG audio, layer 3
        return "mp3"
    return None


class Transcription:
    """An endpoint and its model. api_key: None for a server of one's own that needs none."""

    def __init__(self, base_url: str, model: str, api_key: str | None, *, seconds: float = WITHIN_SECONDS) -> None:
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise SettingsError(_("OTVET_TRANSCRIBE_API_KEY has characters that no key has; copy it anew."))
        self.model = model
        self._base_url = base_url
        self._api_key = api_key
        self._seconds = seconds
        self._client: AsyncOpenAI | None = None

    async def text_of(self, content: bytes) -> str:
        """What is said in a sound file. Raises NotTranscribed."""
        kind = kind_of(content)
        if kind is None:
            raise NotTranscribed("it is no sound file that is known")
        if self._client is None:
            # Loading takes a third of a second, in which the webhook must go on.
            self._client = await asyncio.to_thread(self._open)
        import openai

        try:
            async with asyncio.timeout(self._seconds):
                told = await self._client.audio.transcriptions.create(model=self.model, file=(f"voice.{kind}", content))
        except TimeoutError:
            raise NotTranscribed("it took too long") from None
        except openai.OpenAIError as error:
            raise NotTranscribed(type(error).__name__) from error
        text = getattr(told, "text", None)
        if not isinstance(text, str) or not text.strip():
            raise NotTranscribed("nothing is said in it")
        return text.strip()[:LONGEST]

    async def aclose(self) -> None:
        """Close what is open."""
        if self._client:
            await self._client.close()
            self._client = None

    def _open(self) -> "AsyncOpenAI":
        import openai

        return openai.AsyncOpenAI(
            api_key=self._api_key or "none", base_url=self._base_url, max_retries=1, timeout=self._seconds
        )
