"""Speech to text at an OpenAI-compatible endpoint, through the official client.

Source: https://platform.openai.com/docs/api-reference/audio/createTranscription
"""

from otvet.errors import SettingsError
from otvet.i18n import _
from otvet.responders.chat.client import Client

LONGEST = 4000  # characters; a longer text is cut

# The kinds of files by their first bytes: amoCRM names an M4A file .ogg, and endpoints trust the name.
_BEGINNINGS = ((b"OggS", "ogg"), (b"ID3", "mp3"), (b"fLaC", "flac"), (b"\x1aE\xdf\xa3", "webm"))


class NotTranscribed(Exception):
    """There is no text; the message says why and quotes nothing."""


def kind_of(content: bytes) -> str | None:
    """The file name's ending for a sound file's format; None if the format is unknown."""
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
    """An endpoint and its model. api_key: None if the server needs none."""

    def __init__(self, base_url: str, model: str, api_key: str | None) -> None:
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            raise SettingsError(_("OTVET_TRANSCRIBE_API_KEY has characters that no key has; copy it anew."))
        self.model = model
        self._client = Client(base_url, api_key, max_retries=1)

    async def text_of(self, content: bytes) -> str:
        """The words in a sound file; the caller limits the time. Raises NotTranscribed."""
        kind = kind_of(content)
        if kind is None:
            raise NotTranscribed("it is no sound file that is known")
        client = await self._client.ready()
        import openai

        try:
            told = await client.audio.transcriptions.create(
                model=self.model, file=(f"voice.{kind}", content), extra_headers=self._client.headers
            )
        except openai.OpenAIError as error:
            raise NotTranscribed(type(error).__name__) from error
        text = getattr(told, "text", None)
        if not isinstance(text, str) or not text.strip():
            raise NotTranscribed("nothing is said in it")
        return text.strip()[:LONGEST]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
