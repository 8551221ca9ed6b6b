"""Voice messages written down before they are answered: the text becomes the message's words.

Whatever goes wrong is logged, and the message stays what it is without this: one that cannot be read here.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Row

from otvet import turns
from otvet.amocrm.files import Files, NotFetched
from otvet.conversations import messages
from otvet.database import Database
from otvet.responders.chat.transcription import NotTranscribed, Transcription

log = structlog.get_logger(__name__)

KINDS = ("voice", "audio")
MOST_IN_A_TURN = 5

_UNHEARD = (
    sa.select(messages)
    .where(
        messages.c.turn_id == sa.bindparam("turn"),
        messages.c.sender_type == "client",
        messages.c.message_type.in_(KINDS),
        messages.c.content == "",
    )
    .order_by(messages.c.timestamp, messages.c.id)
    .limit(MOST_IN_A_TURN)
)


class Voice:
    """Has what clients say written down."""

    def __init__(self, database: Database, files: Files, transcription: Transcription) -> None:
        self._database = database
        self._files = files
        self._transcription = transcription

    async def listen(self, turn_id: int) -> None:
        """Each voice message of a turn that is being answered, once: also a failure is kept."""
        for row in await self._database.read(lambda connection: _unheard(connection, turn_id)):
            try:
                text = await self._transcription.text_of(await self._files.fetch(link_of(row)))
            except (NotFetched, NotTranscribed) as error:
                log.warning("a voice message could not be written down", message=row.id, reason=str(error))
                heard: dict[str, Any] = {"failed": True}
                text = ""
            else:
                heard = {"model": self._transcription.model}
            await self._keep(row.id, text, {**row.metadata, "transcript": heard})

    async def aclose(self) -> None:
        await self._transcription.aclose()

    async def _keep(self, message_id: int, text: str, metadata: dict[str, Any]) -> None:
        change = messages.update().where(messages.c.id == message_id, messages.c.content == "")
        await self._database.write(
            lambda connection: connection.execute(change.values(content=text, metadata=metadata))
        )


def link_of(row: Row[Any]) -> str:
    """Where the file of a message is; empty when it does not say."""
    raw = row.metadata.get("raw")
    attachment = raw.get("attachment") if isinstance(raw, dict) else None
    link = attachment.get("link") if isinstance(attachment, dict) else None
    return link if isinstance(link, str) else ""


def _unheard(connection: Connection, turn_id: int) -> Sequence[Row[Any]]:
    turn = turns.get(connection, turn_id)
    if turn is None or turn.state != turns.ANSWERING or turn.reply is not None:
        return ()
    rows = connection.execute(_UNHEARD, {"turn": turn_id}).all()
    return [row for row in rows if "transcript" not in row.metadata]
