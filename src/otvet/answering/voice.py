"""Voice messages written down before they are answered: the text becomes the message's words.

Whatever goes wrong is logged, and the message stays what it is without this: one that cannot be read here.
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
from otvet.storage.database import Database
from otvet.turns import turn as turns
from otvet.turns.turn import State

log = structlog.get_logger(__name__)

MOST_IN_A_TURN = 5
WITHIN_SECONDS = 60.0  # for all of a turn together: the client waits, and then for the reply

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
    """Has what clients say written down, all of a turn within so many ``seconds``."""

    def __init__(
        self, database: Database, files: Files, transcription: Transcription, *, seconds: float = WITHIN_SECONDS
    ) -> None:
        self._database = database
        self._files = files
        self._transcription = transcription
        self._seconds = seconds

    async def listen(self, turn_id: int) -> bool:
        """Each voice message of a turn that is being answered, once: also a failure is kept. Gives whether any is."""
        rows = await self._database.read(lambda connection: _unheard(connection, turn_id))
        if not rows:
            return False
        deadline = asyncio.get_running_loop().time() + self._seconds
        heard = await asyncio.gather(*(self._hear(row, deadline) for row in rows))
        await self._database.write(lambda connection: _store(connection, rows, heard))
        return True

    async def _hear(self, row: Row[Any], deadline: float) -> tuple[str, dict[str, Any]]:
        """The words of a message, if there are any, and how they were heard."""
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
            # Its words may quote the link or the file, and those are the client's.
            log.error("writing a voice message down failed", message=row.id, error=type(error).__name__)
        else:
            heard = {"model": self._transcription.model}
        return text, heard

    async def aclose(self) -> None:
        await self._transcription.aclose()


def _store(connection: Connection, rows: Sequence[Row[Any]], heard: Sequence[tuple[str, dict[str, Any]]]) -> None:
    for row, (text, transcript) in zip(rows, heard, strict=True):
        write_down(connection, row.id, text, {**row.metadata, "transcript": transcript})


def link_of(row: Row[Any]) -> str:
    """Where the file of a message is; empty when it does not say."""
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
