"""The kill matrix where replies go to the client's chat: what the clients of the stand-in have seen is the judge.

Each reply is cut into two parts, and the account sends every message back as an event, also the one that was on its
way when the program was killed. A part is never seen twice, nor out of order. A turn ends as sent if its client has
all of it, and on the operator's list if something is missing: nothing else is possible.

What comes before the delivery is the same as with notes, and ``test_kill_matrix`` has it. So a run is one message here,
and its points are those from the first call of the delivery on. With --whole-matrix it is the four messages of that
matrix.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from otvet.amocrm.chat_calls import FIELD_CODE
from otvet.conversations.tables import conversations, messages
from otvet.delivery.channels import limit_of, split
from otvet.turns import parts
from otvet.turns.turn import State, turns
from tests.standins.amocrm import AmoStandin
from tests.standins.chats import Seen
from tests.standins.manus import ManusStandin, digest
from tests.standins.sender import headers, incoming, outgoing
from tests.test_end_to_end import connected
from tests.test_kill_matrix import (
    FIRST_LEAD,
    KINDS,
    LEAST_POINTS,
    Chain,
    Deal,
    Run,
    databases,
    matrix,
    points_of_today,
    said_in,
)

pytestmark = pytest.mark.slow

BOT = 17
CHANNEL = "instagram_business"
REST = (
    "The blanket is woven from soft wool that keeps its shape after washing. Hang it in the shade, away from the sun. "
    "Colours stay bright because the yarn is dyed before spinning. Moths dislike the cedar bag in which it comes. "
    "If you prefer something lighter, look at the linen throw beside it. Such pieces fit an ordinary sofa and fold "
    "onto a narrow shelf. Guests often ask where they come from. The weavers sign their labels by hand. Please "
    "describe your room and the walls, so that we can suggest a shade which suits them, whether plain or patterned."
)


class ChatChain(Chain):
    """Replies by a Salesbot."""

    def __init__(self, folder: Path, url: str, amo: AmoStandin, manus: ManusStandin) -> None:
        self._field = amo.chats.add_bot(BOT)
        amo.chats.fields[self._field]["code"] = FIELD_CODE
        amo.rate = 1000
        manus.answer = lambda content: f"Answer {digest(str(content))} begins. {REST}"
        super().__init__(folder, url, amo, manus)
        self._undelivered: list[Seen] = []
        amo.chats.on_seen = self._undelivered.append

    def _settings(self) -> dict[str, str]:
        return connected(self._amo, self._manus) | {
            "OTVET_REPLY_VIA": "*=note, instagram*=salesbot",
            "OTVET_REPLY_NOTE": "false",
            "OTVET_SALESBOT_ID": str(BOT),
            "OTVET_AMOCRM_CALLS_A_SECOND": "100",
        }

    def _recover(self, run: Run, found: dict[int, list[str]]) -> None:
        self._send_back()
        super()._recover(run, found)

    def _at_rest(self, run: Run) -> bool:
        self._send_back()
        return super()._at_rest(run) and not self._undelivered

    def _has_reply(self, deal: Deal) -> bool:
        self._send_back()
        return self._turns_closed(deal)

    def _turns_closed(self, deal: Deal) -> bool:
        closed = sa.select(sa.func.count()).select_from(turns).join(conversations)
        closed = closed.where(
            conversations.c.amocrm_lead_id == deal.lead, turns.c.state.in_((State.SENT, State.FAILED))
        )
        return bool(self._database.read_now(lambda connection: connection.scalar(closed)))

    def _send_back(self) -> None:
        """amoCRM's events of what was sent; they wait while nobody takes them."""
        while self._undelivered and not self._server.dead:
            seen = self._undelivered[0]
            about = {"message_id": seen.id, "lead_id": seen.lead_id, "chat_id": self._chat_of(seen)}
            body = outgoing(seen.text, event="outgoing_message", created_at=seen.at, **about)
            try:
                self._http.post(self._server.webhook, content=body, headers=headers("1")).raise_for_status()
            except httpx2.TransportError:
                return
            self._undelivered.pop(0)

    def _chat_of(self, seen: Seen) -> str:
        return f"chat-{seen.lead_id}"

    def _wrongs(self, connection: Connection, run: Run) -> Iterator[str]:
        for deal in run.deals:
            yield from chat_wrongs(connection, deal, self._amo)


class DeliveryChain(ChatChain):
    """One message in one deal; killed while the reply to it is delivered."""

    def _settings(self) -> dict[str, str]:
        return super()._settings() | {"KILL_FROM": "before PATCH /api/v4/leads/"}

    def _new_run(self, number: int) -> Run:
        deal = Deal(FIRST_LEAD + number)
        return Run(number, (deal,), deque([self._delivery(deal, 1)]))


def chat_wrongs(connection: Connection, deal: Deal, amo: AmoStandin) -> Iterator[str]:
    """What is wrong with a deal that has come to rest."""
    said = said_in(connection, deal)
    if [row.amocrm_message_id for row in said] != deal.acknowledged:
        yield f"{deal.acknowledged} were acknowledged, {said} are stored"
    seen = deque(amo.chats.told(deal.lead))
    for turn_id in dict.fromkeys(row.turn_id for row in said):
        turn = connection.execute(sa.select(turns).where(turns.c.id == turn_id)).one()
        texts = [part.text for part in parts.of_turn(connection, turn_id)]
        if texts != split(turn.reply, limit_of(CHANNEL)) or (turn.responder == "manus" and len(texts) != 2):
            yield f"the reply of turn {turn_id} was cut into {len(texts)} parts"
        told = 0
        while told < len(texts) and seen and seen[0] == texts[told]:
            seen.popleft()
            told += 1
        if turn.state != (State.SENT if told == len(texts) else State.FAILED):
            yield f"turn {turn_id} is {turn.state}, the client has {told} of {len(texts)} parts"
        if turn.state == State.FAILED and not amo.notes(deal.lead):
            yield f"nothing in the deal says that turn {turn_id} was not told"
    if seen:
        yield f"{len(seen)} messages came twice, or in another order"
    managers = sa.select(sa.func.count()).select_from(messages).join(conversations)
    managers = managers.where(conversations.c.amocrm_lead_id == deal.lead, messages.c.sender_type == "manager")
    if connection.scalar(managers):
        yield "a reply of ours was taken for a manager's word"


LEAST: dict[type[ChatChain], int] = {ChatChain: LEAST_POINTS, DeliveryChain: 20}
"""Points; fewer, and they are not where the work is."""


def _to_instagram(deal: Deal, message: str) -> bytes:
    about: dict[str, Any] = {"message_id": message, "lead_id": deal.lead, "chat_id": f"chat-{deal.lead}"}
    return incoming(deal.text(message), origin=CHANNEL, **about)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_point(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(Deal, "body", _to_instagram)
    chain = ChatChain if request.config.getoption("whole_matrix") else DeliveryChain
    step, points = points_of_today(request, kind)
    killed, wrong = matrix(tmp_path, databases(kind, tmp_path, request), points, chain)
    assert wrong == {}
    assert len(killed) >= LEAST[chain] // step
