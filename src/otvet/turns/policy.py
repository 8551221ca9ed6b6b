"""The one place that decides what becomes of a turn: a pure function of the turn, the facts, the policy and the time.

Everything that writes, sends, shows or retries a turn asks ``decide`` and carries out its verdict. The UPDATEs in
``turns.sending`` repeat only the last guard: ownership, the pause, and that no manager has written.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from otvet.conversations.tables import AUTO, BY_HAND_TRIAL, DRAFT, OFF
from otvet.deals.selection import Selection
from otvet.settings.working_hours import Hours
from otvet.turns.drafts import MOST_REDRAFTS
from otvet.turns.turn import Reason, State, Turn

UNSURE_FOR = timedelta(seconds=20)
"""amoCRM may carry out a call after its caller has died. Only after this time can it be asked whether it did."""

TRIAL_QUIET = timedelta(seconds=1)
"""The quiet period of trial chats, in which somebody waits for the reply."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide which questions the assistant answers, and when.

    quiet: the client's silence before a reply is written. quiet_max: the longest wait since the first message.
    stale: a question older than this is left to staff.
    replies_a_day: the ceiling for one deal, so that two bots do not talk to each other for ever.
    replies_a_minute: as many replies in one chat within a minute show that the client is a bot.
    mode: AUTO, DRAFT or OFF, for deals that have no mode of their own. mode_is_fixed: the pages cannot change it.
    hours: the working hours; None: always. answers_out_of_hours: the assistant answers outside them too.
    hours_text: what a client is told out of hours, once a night; empty: nothing.
    selection: the deals and channels in which the assistant answers.
    """

    quiet: timedelta = timedelta(seconds=3)
    quiet_max: timedelta = timedelta(seconds=15)
    stale: timedelta = timedelta(minutes=60)
    replies_a_day: int = 50
    replies_a_minute: int = 8
    mode: str = AUTO
    mode_is_fixed: bool = False
    hours: Hours | None = None
    answers_out_of_hours: bool = True
    hours_text: str = ""
    selection: Selection = field(default_factory=Selection)

    def mode_of(self, turn: Turn, facts: "Facts") -> str:
        """The mode of the assistant in the turn's deal. Whoever tries it by hand wants a reply, whatever it is."""
        if turn.chat_ref.startswith(BY_HAND_TRIAL):
            return AUTO
        return turn.mode or (None if self.mode_is_fixed else facts.mode) or self.mode

    def staff_from(self, now: datetime) -> datetime:
        """From when on staff can act: now, or when work begins."""
        return self.hours.opening(now) if self.hours else now


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database knows of a turn now; ``turns.facts`` reads only what the turn's state needs.

    connected: an amoCRM account is connected. outage: calls to amoCRM are stopped for all.
    place_taken: another turn of the chat is in hand. wrote_on: the client has written on since the draft was begun.
    said_at: when the client wrote the newest message, by amoCRM's clock.
    replies_today: how many replies the deal had in the last 24 hours.
    replies_lately: how many replies the chat had in the last minute.
    repeats: the client's words came for the third time.
    left_as_bot: the reason, if the chat is on the list for staff because a bot seems to write in it.
    left_out: why the settings leave this deal or channel to staff.
    told_hours: the client has had the out-of-hours text since work ended.
    manager_wrote: a manager has written since the reply was stored. told: the client has a part of the reply.
    mode: the mode that the pages have set for all deals; None: they have not. stopped: the assistant is stopped
        everywhere.
    """

    connected: bool = True
    outage: bool = False
    place_taken: bool = False
    wrote_on: bool = False
    said_at: datetime | None = None
    replies_today: int = 0
    replies_lately: int = 0
    repeats: bool = False
    left_as_bot: Reason | None = None
    left_out: Reason | None = None
    told_hours: bool = False
    manager_wrote: bool = False
    told: bool = False
    mode: str | None = None
    stopped: bool = False


class Step(StrEnum):
    """The next step of a turn that goes on."""

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
    """Nothing is to be done before ``until``; None: until another turn ends or an outage is over.

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
    """No reply, or no further part of it, goes to the client."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The reply is written anew. with_newer: it also answers what the client has written since."""

    with_newer: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The turn is closed, or waits for a manager."""


Verdict = Go | Wait | ToStaff | Drop | Rewrite | Ended


def decide(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> Verdict:
    """Decide what becomes of the turn now."""
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
    """How much longer the client must be silent before the reply is written."""
    if turn.reply is not None or turn.state not in (State.WAITING, State.ANSWERING):
        return timedelta(0)
    if turn.requested_by_staff and not turn.redrafts:  # whoever asks for the answer has read the question
        return timedelta(0)
    quiet = min(policy.quiet, TRIAL_QUIET) if turn.chat_ref.startswith(BY_HAND_TRIAL) else policy.quiet
    due = min(turn.last_message_at + quiet, turn.first_message_at + policy.quiet_max)
    # The clock may have been set back since: no turn waits longer than the longest quiet period.
    return max(timedelta(0), min(due - now, policy.quiet_max))


def _to_write(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> Verdict:
    if turn.requested_by_staff:
        return ToStaff(Reason.STOPPED) if facts.stopped else Go(Step.WRITE)
    if policy.mode_of(turn, facts) == OFF:
        return Drop(Reason.OFF)
    if turn.paused_at(now):
        return ToStaff(Reason.PAUSED)
    if too_old(facts.said_at, policy, now):
        return ToStaff(Reason.STALE)
    if facts.left_as_bot is not None or facts.repeats:
        return ToStaff(facts.left_as_bot or Reason.REPEATED)
    if facts.replies_lately >= policy.replies_a_minute:
        return ToStaff(Reason.TOO_FAST)
    if facts.replies_today >= policy.replies_a_day:
        return ToStaff(Reason.CEILING)
    if facts.left_out is not None:
        return Drop(facts.left_out)
    if facts.stopped:
        return ToStaff(Reason.STOPPED)
    if policy.answers_out_of_hours or policy.hours is None or policy.hours.open_at(now):
        return Go(Step.WRITE)
    return Go(Step.WRITE_HOURS_TEXT) if policy.hours_text and not facts.told_hours else ToStaff(Reason.OUT_OF_HOURS)


def _to_send(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> Verdict:
    if facts.connected and (wait := _blocked(turn, facts, now)):
        return wait
    if facts.stopped and not turn.is_of_person:
        return ToStaff(Reason.STOPPED)
    if facts.wrote_on and turn.redrafts < MOST_REDRAFTS and not turn.is_of_person:
        return Rewrite(with_newer=True)
    if _hours_text_is_over(turn, policy, now):
        return Rewrite()
    if facts.connected and not _expected(turn) and too_old(facts.said_at, policy, now):
        return ToStaff(Reason.STALE)
    if not turn.requested_by_staff and policy.mode_of(turn, facts) == OFF:
        return Drop(Reason.OFF)
    if not turn.requested_by_staff and turn.paused_at(now):
        return ToStaff(Reason.PAUSED)
    as_draft = turn.as_draft or policy.mode_of(turn, facts) == DRAFT
    if as_draft and not turn.approved and not turn.is_hours_text:
        return Go(Step.SHOW_DRAFT)
    return Go(Step.SEND if facts.connected else Step.KEEP)


def _to_send_again(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> Verdict:
    if not facts.connected:
        return Go(Step.FAIL)
    if wait := _blocked(turn, facts, now):
        return wait
    if facts.stopped:
        return Drop(Reason.STOPPED) if facts.told else Rewrite()
    mode = AUTO if turn.requested_by_staff else policy.mode_of(turn, facts)
    if not turn.requested_by_staff and (turn.paused_at(now) or facts.manager_wrote):
        return Drop(Reason.MANAGER)
    unapproved = mode == DRAFT and not turn.is_hours_text
    if not facts.told and (unapproved or _hours_text_is_over(turn, policy, now)):
        return Rewrite()
    return Drop(Reason.OFF) if mode == OFF else Go(Step.SEND)


def _blocked(turn: Turn, facts: Facts, now: datetime) -> Wait | None:
    """The wait before amoCRM may be called for the turn; None: it may be called now."""
    if facts.outage:
        return Wait()
    if turn.sent_attempt_at is None:
        return None
    passed = now - turn.sent_attempt_at
    if timedelta(0) <= passed < UNSURE_FOR:
        return Wait(now + UNSURE_FOR - passed)
    return Wait(now + UNSURE_FOR) if passed < timedelta(0) else None  # the clock was set back since


def _hours_text_is_over(turn: Turn, policy: Policy, now: datetime) -> bool:
    """Whether work has begun before the out-of-hours text was sent, so that the text is not true any more."""
    return turn.is_hours_text and policy.hours is not None and policy.hours.open_at(now)


def _expected(turn: Turn) -> bool:
    """Whether a late reply surprises nobody: staff requested or approved it, or a person comes in any case."""
    return turn.requested_by_staff or turn.approved or turn.summary is not None


def too_old(said_at: datetime | None, policy: Policy, now: datetime) -> bool:
    """Whether an answer now would surprise the client."""
    return said_at is not None and now - said_at > policy.stale


def may_summarise(turn: Turn, facts: Facts, policy: Policy, now: datetime) -> bool:
    """Whether an outside model may see the deal's messages for a summary: only where the assistant answers."""
    answered = turn.state in (State.SENT, State.KEPT, State.DRAFT)
    off = policy.mode_of(turn, facts) == OFF
    return answered and not off and not facts.stopped and not turn.paused_at(now) and facts.left_out is None
