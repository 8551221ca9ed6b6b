"""Transcribes voice messages before they are answered: the transcript becomes the message's text.

An error is only logged; the message then stays one that the assistant cannot read.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Row

from otvet.amocrm.files import Files, NotFetched
from otvet.conversations.messages import VOICE, write_down
from otvet.conversations.tables import messages
from otvet.responders.chat.transcription import NotTranscribed, Transcription
from otvet.search import index
from otvet.storage.database import Database
from otvet.turns import turn as turns
from otvet.turns.turn import State

log = structlog.get_logger(__name__)

MOST_IN_A_TURN = 5
WITHIN_SECONDS = 60.0  # for all voice messages of a turn: afterwards the client still waits for the reply

_UNHEARD = (
    sa.select(messages)
    .where(
        messages.c.turn_id == sa.bindparam("turn"),
        messages.c.sender_type == "client",
        messages.c.message_type.in_(VOICE),
        messages.c.content == "",
    )
    .order_by(messages.c.timestamp, messages.c.id)
    .limit(MOST_IN_A_TURN)
)


class Voice:
    """Transcribes voice messages, all of a turn within ``seconds``."""

    def __init__(
        self, database: Database, files: Files, transcription: Transcription, *, seconds: float = WITHIN_SECONDS
    ) -> None:
        self._database = database
        self._files = files
        self._transcription = transcription
        self._seconds = seconds

    async def listen(self, turn_id: int) -> bool:
        """Transcribe each voice message of a turn once: a failure is stored too. Returns whether there was any."""
        rows = await self._database.read(lambda connection: _unheard(connection, turn_id))
        if not rows:
            return False
        deadline = asyncio.get_running_loop().time() + self._seconds
        heard = await asyncio.gather(*(self._hear(row, deadline) for row in rows))
        await self._database.write(lambda connection: _store(connection, rows, heard))
        return True

    async def _hear(self, row: Row[Any], deadline: float) -> tuple[str, dict[str, Any]]:
        """The transcript, empty if it failed, and what is stored about it: the model or the failure."""
        text = ""
        heard: dict[str, Any] = {"failed": True}
        try:
            async with asyncio.timeout_at(deadline):
                text = await self._transcription.text_of(await self._files.fetch(link_of(row)))
        except (NotFetched, NotTranscribed) as error:
            log.warning("a voice message could not be written down", message=row.id, reason=str(error))
        except TimeoutError:
            log.warning("a voice message could not be written down", message=row.id, reason="it took too long")
        except Exception as error:
            # The error's text may quote the client's link or file.
            log.error("writing a voice message down failed", message=row.id, error=type(error).__name__)
        else:
            heard = {"model": self._transcription.model}
        return text, heard

    async def aclose(self) -> None:
        await self._transcription.aclose()


def _store(connection: Connection, rows: Sequence[Row[Any]], heard: Sequence[tuple[str, dict[str, Any]]]) -> None:
    for row, (text, transcript) in zip(rows, heard, strict=True):
        write_down(connection, row.id, text, {**row.metadata, "transcript": transcript})
    index.renew(connection, messages.c.id.in_([row.id for row in rows]))


def link_of(row: Row[Any]) -> str:
    """The address of a message's file; empty if it names none."""
    raw = row.metadata.get("raw")
    attachment = raw.get("attachment") if isinstance(raw, dict) else None
    link = attachment.get("link") if isinstance(attachment, dict) else None
    return link if isinstance(link, str) else ""


def _unheard(connection: Connection, turn_id: int) -> Sequence[Row[Any]]:
    turn = turns.get(connection, turn_id)
    if turn is None or turn.state != State.ANSWERING or turn.reply is not None:
        return ()
    rows = connection.execute(_UNHEARD, {"turn": turn_id}).all()
    return [row for row in rows if "transcript" not in row.metadata]
