"""The last check before a reply, a draft or a further attempt goes to amoCRM: in one commit, right before the call."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from otvet.turns import drafts, facts, parts, policy, sending, staff
from otvet.turns.policy import Drop, Ended, Go, Policy, Rewrite, Step, ToStaff, Verdict, Wait
from otvet.turns.turn import State, Turn, owned

SURE_FOR_SECONDS = 10.0  # a process that stalled longer may have lost the turn to another process


Outcome = State | Wait | Rewrite | None
"""The outcome of a delivery: the turn's state, what it waits for, or that the reply is written anew.

None: the turn is not ours any more.
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """A turn as it was checked, the verdict, and the turn's state after the verdict was carried out.

    turn: None if it is not ours any more.
    """

    turn: Turn | None
    verdict: Verdict
    state: State | None = None

    @property
    def outcome(self) -> Outcome:
        return self.verdict if isinstance(self.verdict, Wait | Rewrite) and self.turn else self.state


NOT_OURS = Checked(None, Ended())


def check(
    connection: Connection, turn_id: int, me: str, rules: Policy, now: datetime, *, connected: bool = True
) -> Checked:
    """Decide what becomes of a turn, and carry out a verdict that ends it or takes its reply back."""
    turn = owned(connection, turn_id, me)
    if turn is None:
        return NOT_OURS
    verdict = policy.decide(turn, facts.read(connection, turn, rules, now, connected=connected), rules, now)
    state = carry_out(connection, turn, verdict, me, now)
    return NOT_OURS if state is None else Checked(turn, verdict, state)


def check_again(
    connection: Connection, turn_id: int, me: str, rules: Policy, now: datetime, sent_attempt_at: datetime | None = None
) -> Checked:
    """Like check(), for a turn that is sending. A verdict to send has also passed the guard in the database.

    sent_attempt_at: see sending.send_again.
    """
    for _round in range(2):  # a manager may write between the verdict and the guard: the second round sees it
        checked = check(connection, turn_id, me, rules, now)
        if checked.turn is None or checked.verdict != Go(Step.SEND):
            return checked
        if sending.send_again(connection, checked.turn, me, now, sent_attempt_at=sent_attempt_at):
            return Checked(owned(connection, turn_id, me), checked.verdict, State.SENDING)
    return NOT_OURS


def carry_out(connection: Connection, turn: Turn, verdict: Verdict, me: str, now: datetime) -> State | None:
    """Carry out a verdict in the database; returns the turn's state then, or None if it is not ours any more."""
    match verdict:
        case ToStaff(reason):
            return State.HANDED if staff.leave_to_staff(connection, turn, me, reason, now) else None
        case Drop(reason) if turn.state == State.ANSWERING:
            return State.CANCELLED if staff.leave_alone(connection, turn, me, reason, now) else None
        case Drop(reason):
            told = [part.text for part in parts.of_turn(connection, turn.id) if part.state == parts.SENT]
            if told:  # the message keeps only the parts that the client has
                half = sending.mark_half_sent(connection, turn, me, "\n".join(told), reason, now)
                return State.SENT if half else None
            return State.CANCELLED if sending.cancel(connection, turn, me, reason, now) else None
        case Rewrite(with_newer=True):
            return State.ANSWERING if drafts.absorb_newer(connection, turn, me) else None
        case Rewrite() if turn.state == State.ANSWERING:
            return State.ANSWERING if drafts.drop(connection, turn, me) else None
        case Rewrite():
            return State.ANSWERING if drafts.take_back(connection, turn, me) else None
    return turn.state
