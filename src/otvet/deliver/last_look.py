"""The last look before every further attempt at a reply that counts as said: whether it may still go."""

from datetime import datetime

from sqlalchemy.engine import Connection

from otvet import gates, turns
from otvet.conversations import AUTO, DRAFT, OFF
from otvet.deals import admission
from otvet.deliver import parts
from otvet.deliver.verdicts import AGAIN, LATER, NOT_OURS
from otvet.settings.working_hours import Hours


def look_again(
    connection: Connection,
    turn_id: int,
    me: str,
    now: datetime,
    mode: str,
    hours: Hours | None = None,
    *,
    tried_at: datetime | None = None,
) -> str | None:
    """None: it may go. What stops it is heeded in the same commit: what the client does not have was not said.

    mode: where the conversation has none of its own. hours: the working hours. tried_at: see turns.send_again.
    """
    turn = turns.get(connection, turn_id)
    if turn is None:
        return NOT_OURS
    if gates.closed(connection, gates.AMOCRM) is not None:
        return LATER
    told = [part.text for part in parts.of_turn(connection, turn_id) if part.state == parts.SENT]
    mode = AUTO if turn.forced else turn.mode or mode  # a person wants it sent
    reason = turns.MANAGER
    if turns.send_again(connection, turn_id, me, now, tried_at=tried_at):
        to_approve = mode == DRAFT and not admission.is_own_text(turn)
        if not told and (to_approve or admission.is_over(turn, hours, now)):
            return AGAIN if turns.take_back(connection, turn_id, me) else NOT_OURS
        if mode != OFF:
            return None
        reason = turns.OFF
    if told:
        stopped = turns.mark_half_sent(connection, turn_id, me, "\n".join(told), reason, now)
        return turns.SENT if stopped else NOT_OURS
    return turns.CANCELLED if turns.cancel_unsent(connection, turn_id, me, reason, now) else NOT_OURS
