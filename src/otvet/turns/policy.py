"""The one place that decides what becomes of a turn: pure, from the turn, what is known and the moment.

Everything that writes, sends, shows or tries a turn again asks ``decide`` and carries out its verdict. The database
keeps only the last guard in its UPDATEs: ownership, the pause, and that no manager has written (``turns.sending``).
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from otvet.conversations.tables import AUTO, DRAFT, OFF
from otvet.deals.selection import Selection
from otvet.settings.working_hours import Hours
from otvet.turns.drafts import MOST_REDRAFTS
from otvet.turns.turn import Reason, State, Turn

UNSURE_FOR = timedelta(seconds=20)
"""amoCRM may carry out a call after the process that made it has died: only then can it be asked whether it did."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say of which questions the assistant answers, and when.

    quiet, quiet_max: a reply is written after such a silence, but no later than that after the first message.
    stale: what the client said longer ago than that is left to staff.
    replies_a_day: the ceiling for one deal, so that two bots do not talk to each other for ever.
    mode: AUTO, DRAFT or OFF, where the deal has none of its own.
    hours: the working hours; None: always. answers_out_of_hours: whether they matter at all.
    hours_text: what a client is told out of hours, once a night; empty: nothing.
    selection: the deals and channels that the assistant answers.
    """

    quiet: timedelta = timedelta(seconds=3)
    quiet_max: timedelta = timedelta(seconds=15)
    stale: timedelta = timedelta(minutes=60)
    replies_a_day: int = 50
    mode: str = AUTO
    hours: Hours | None = None
    answers_out_of_hours: bool = True
    hours_text: str = ""
    selection: Selection = field(default_factory=Selection)

    def mode_of(self, turn: Turn) -> str:
        """How the assistant works in the turn's deal."""
        return turn.mode or self.mode

    def staff_from(self, now: datetime) -> datetime:
        """When staff can see to something: now, or when work begins."""
        return self.hours.opening(now) if self.hours else now


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database tells of a turn at this moment; see ``turns.facts``, which reads only what a state asks for.

    connected: whether an amoCRM account is. outage: whether calls to it are stopped for all.
    place_taken: another turn of the chat is in hand. wrote_on: the client has written on since the draft was begun.
    said_at: when the client said the newest of it, by amoCRM's clock.
    replies_today: how many replies the deal had in a day.
    left_out: why the settings leave this deal or channel to staff.
    told_hours: whether the client has had the out-of-hours text since work ended.
    manager_wrote: since the reply was stored. told: the client has a part of the reply.
    """

    connected: bool = True
    outage: bool = False
    place_taken: bool = False
    wrote_on: bool = False
    said_at: datetime | None = None
    replies_today: int = 0
    left_out: Reason | None = None
    told_hours: bool = False
    manager_wrote: bool = False
    told: bool = False


class Step(StrEnum):
    """What is to be done next with a turn that goes on."""

    TAKE = "take"  # waiting -> answering
    WRITE = "write"  # have a responder write the reply
    WRITE_HOURS_TEXT = "write the out-of-hours text"
    SHOW_DRAFT = "show the draft to a manager"
    KEEP = "keep the reply, because amoCRM is not connected"
    SEND = "send"
    FAIL = "tell staff that amoCRM is not connected any more and the reply may be there"


@dataclass(frozen=True, slots=True)
class Go:
    """The turn goes on with this step."""

    step: Step


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be done before this moment; None: before something else changes (another turn, an outage).

    failed: an attempt has just failed, so the pauses between attempts grow.
    """

    until: datetime | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ToStaff:
    """Staff have to answer."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Drop:
    """Nothing of it, or nothing more, goes to the client."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The reply is written anew. with_newer: together with what the client has said since."""

    with_newer: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The turn is closed, or waits for a manager."""


Verdict = Go | Wait | ToStaff | Drop | Rewrite | Ended


def decide(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> Verdict:
    """What becomes of the turn now."""
    match turn.state:
        case State.WAITING:
            return _waiting(turn, facts, policy, now)
        case State.ANSWERING if turn.reply is None:
            return _to_write(turn, facts, policy, now)
        case State.ANSWERING:
            return _to_send(turn, facts, policy, now)
        case State.SENDING:
            return _to_send_again(turn, facts, policy, now)
    return Ended()


def _waiting(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> Verdict:
    if (silence := silence_left(turn, policy, now)) > timedelta(0):
        return Wait(now + silence)
    return Wait() if facts.place_taken else Go(Step.TAKE)


def silence_left(turn: Turn, policy: Policy, now: datetime) -> timedelta:
    """How long the client has still to be silent before the reply is written."""
    if turn.reply is not None or turn.state not in (State.WAITING, State.ANSWERING):
        return timedelta(0)
    due = min(turn.last_message_at + policy.quiet, turn.first_message_at + policy.quiet_max)
    # The clock may have been set back since: no turn waits longer than the longest quiet period.
    return max(timedelta(0), min(due - now, policy.quiet_max))


def _to_write(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> Verdict:
    if turn.requested_by_staff:
        return Go(Step.WRITE)
    if policy.mode_of(turn) == OFF:
        return Drop(Reason.OFF)
    if turn.paused_at(now):
        return ToStaff(Reason.PAUSED)
    if too_old(facts.said_at, policy, now):
        return ToStaff(Reason.STALE)
    if facts.replies_today >= policy.replies_a_day:
        return ToStaff(Reason.CEILING)
    if facts.left_out is not None:
        return Drop(facts.left_out)
    if policy.answers_out_of_hours or policy.hours is None or policy.hours.open_at(now):
        return Go(Step.WRITE)
    return Go(Step.WRITE_HOURS_TEXT) if policy.hours_text and not facts.told_hours else ToStaff(Reason.OUT_OF_HOURS)


def _to_send(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> Verdict:
    if facts.connected and (wait := _blocked(turn, facts, now)):
        return wait
    if facts.wrote_on and turn.redrafts < MOST_REDRAFTS:
        return Rewrite(with_newer=True)
    if _hours_text_is_over(turn, policy, now):
        return Rewrite()
    if facts.connected and not _expected(turn) and too_old(facts.said_at, policy, now):
        return ToStaff(Reason.STALE)
    if not turn.requested_by_staff and policy.mode_of(turn) == OFF:
        return Drop(Reason.OFF)
    if not turn.requested_by_staff and turn.paused_at(now):
        return ToStaff(Reason.PAUSED)
    if policy.mode_of(turn) == DRAFT and not turn.approved and not turn.is_hours_text:
        return Go(Step.SHOW_DRAFT)
    return Go(Step.SEND if facts.connected else Step.KEEP)


def _to_send_again(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> Verdict:
    if not facts.connected:
        return Go(Step.FAIL)
    if wait := _blocked(turn, facts, now):
        return wait
    mode = AUTO if turn.requested_by_staff else policy.mode_of(turn)
    if not turn.requested_by_staff and (turn.paused_at(now) or facts.manager_wrote):
        return Drop(Reason.MANAGER)
    unapproved = mode == DRAFT and not turn.is_hours_text
    if not facts.told and (unapproved or _hours_text_is_over(turn, policy, now)):
        return Rewrite()
    return Drop(Reason.OFF) if mode == OFF else Go(Step.SEND)


def _blocked(turn: Turn, facts: Facts, now: datetime) -> Wait | None:
    """Why amoCRM must not be called for the turn yet."""
    if facts.outage:
        return Wait()
    if turn.sent_attempt_at is None:
        return None
    passed = now - turn.sent_attempt_at
    if timedelta(0) <= passed < UNSURE_FOR:
        return Wait(now + UNSURE_FOR - passed)
    return Wait(now + UNSURE_FOR) if passed < timedelta(0) else None  # the clock was set back since


def _hours_text_is_over(turn: Turn, policy: Policy, now: datetime) -> bool:
    """Whether the out-of-hours text could not be sent before work began, so that it is not true any more."""
    return turn.is_hours_text and policy.hours is not None and policy.hours.open_at(now)


def _expected(turn: Turn) -> bool:
    """Whether a late reply surprises nobody: staff want it, or a person comes in any case."""
    return turn.requested_by_staff or turn.approved or turn.summary is not None


def too_old(said_at: datetime | None, policy: Policy, now: datetime) -> bool:
    """Whether a client would be surprised by an answer to this now."""
    return said_at is not None and now - said_at > policy.stale


def may_summarise(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> bool:
    """Whether an outside model may be told the deal's messages for a summary: only where the assistant answers."""
    answered = turn.state in (State.SENT, State.KEPT, State.DRAFT)
    off = policy.mode_of(turn) == OFF
    return answered and not off and not turn.paused_at(now) and facts.left_out is None
