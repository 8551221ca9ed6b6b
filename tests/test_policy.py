"""What becomes of a turn: every verdict of the policy, and what must never be, for any turn, facts and moment."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from otvet.conversations.tables import AUTO, DRAFT, FOR_GOOD, OFF
from otvet.settings import working_hours
from otvet.turns.drafts import MOST_REDRAFTS
from otvet.turns.policy import (
    UNSURE_FOR,
    Drop,
    Ended,
    Facts,
    Go,
    Policy,
    Rewrite,
    Step,
    ToStaff,
    Verdict,
    Wait,
    decide,
)
from otvet.turns.turn import MOVES, Reason, State, Turn, Writer

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)  # a Monday
ZONE: tzinfo = UTC
OFFICE = working_hours.read("mon-fri 09:00-18:00", ZONE)
NIGHT = NOON + timedelta(hours=12)
CLOSED = Policy(hours=OFFICE, answers_out_of_hours=False, hours_text="We open at nine.")


def turn(state: State, **known: Any) -> Turn:
    """A turn whose client has been silent for a minute."""
    empty: dict[str, Any] = {field.name: None for field in fields(Turn)}
    said = NOON - timedelta(minutes=1)
    given = {"id": 1, "conversation_id": 1, "chat_ref": "chat", "client_id": 1, "lead_id": 1, "redrafts": 0}
    flags = {"requested_by_staff": False, "approved": False, "gap": False}
    return Turn(
        **{**empty, **given, **flags, "state": state, "first_message_at": said, "last_message_at": said, **known}
    )


WAITING = turn(State.WAITING)
TO_WRITE = turn(State.ANSWERING)
WRITTEN = turn(State.ANSWERING, reply="300 ₽", responder="manus")
SENDING = turn(State.SENDING, reply="300 ₽", responder="manus")
HOURS_TEXT = {"responder": Writer.HOURS}
PAUSED = {"chat_paused_until": FOR_GOOD}
BY_STAFF = {"requested_by_staff": True}
OLD = Facts(said_at=NOON - timedelta(hours=2))

CASES: list[tuple[str, Turn, Facts, Policy, datetime, Verdict]] = [
    ("the client is silent", WAITING, Facts(), Policy(), NOON, Go(Step.TAKE)),
    (
        "the client still writes",
        replace(WAITING, last_message_at=NOON - timedelta(seconds=1), first_message_at=NOON - timedelta(seconds=1)),
        Facts(),
        Policy(),
        NOON,
        Wait(NOON + timedelta(seconds=2)),
    ),
    ("another one is in hand", WAITING, Facts(place_taken=True), Policy(), NOON, Wait()),
    ("nothing is against a reply", TO_WRITE, Facts(), Policy(), NOON, Go(Step.WRITE)),
    ("switched off", TO_WRITE, Facts(), Policy(mode=OFF), NOON, Drop(Reason.OFF)),
    ("switched on in the deal", replace(TO_WRITE, mode=AUTO), Facts(), Policy(mode=OFF), NOON, Go(Step.WRITE)),
    (
        "staff want it all the same",
        replace(TO_WRITE, **BY_STAFF, **PAUSED),
        OLD,
        Policy(mode=OFF),
        NOON,
        Go(Step.WRITE),
    ),
    ("the chat is paused", replace(TO_WRITE, **PAUSED), Facts(), Policy(), NOON, ToStaff(Reason.PAUSED)),
    (
        "the deal is paused",
        replace(TO_WRITE, deal_paused_until=FOR_GOOD),
        Facts(),
        Policy(),
        NOON,
        ToStaff(Reason.PAUSED),
    ),
    ("it came too late", TO_WRITE, OLD, Policy(), NOON, ToStaff(Reason.STALE)),
    ("the same words again", TO_WRITE, Facts(repeats=True), Policy(), NOON, ToStaff(Reason.REPEATED)),
    ("a bot was here", TO_WRITE, Facts(left_as_bot=Reason.TOO_FAST), Policy(), NOON, ToStaff(Reason.TOO_FAST)),
    ("many a minute", TO_WRITE, Facts(replies_lately=8), Policy(), NOON, ToStaff(Reason.TOO_FAST)),
    ("the ceiling", TO_WRITE, Facts(replies_today=50), Policy(), NOON, ToStaff(Reason.CEILING)),
    ("left out", TO_WRITE, Facts(left_out=Reason.STAGE), Policy(), NOON, Drop(Reason.STAGE)),
    ("out of hours, with a text", TO_WRITE, Facts(), CLOSED, NIGHT, Go(Step.WRITE_HOURS_TEXT)),
    ("the text was told", TO_WRITE, Facts(told_hours=True), CLOSED, NIGHT, ToStaff(Reason.OUT_OF_HOURS)),
    ("in working hours", TO_WRITE, Facts(), CLOSED, NOON, Go(Step.WRITE)),
    ("stopped everywhere", TO_WRITE, Facts(stopped=True), Policy(), NOON, ToStaff(Reason.STOPPED)),
    (
        "stopped, though staff wanted it",
        replace(TO_WRITE, **BY_STAFF),
        Facts(stopped=True),
        Policy(),
        NOON,
        ToStaff(Reason.STOPPED),
    ),
    ("stopped, and off", TO_WRITE, Facts(stopped=True), Policy(mode=OFF), NOON, Drop(Reason.OFF)),
    ("stopped when it was written", WRITTEN, Facts(stopped=True), Policy(), NOON, ToStaff(Reason.STOPPED)),
    ("stopped while it is sent", SENDING, Facts(stopped=True), Policy(), NOON, Rewrite()),
    ("stopped half-way", SENDING, Facts(stopped=True, told=True), Policy(), NOON, Drop(Reason.STOPPED)),
    ("switched off on the pages", TO_WRITE, Facts(mode=OFF), Policy(), NOON, Drop(Reason.OFF)),
    ("drafts by the pages", WRITTEN, Facts(mode=DRAFT), Policy(), NOON, Go(Step.SHOW_DRAFT)),
    ("the environment's mode holds", TO_WRITE, Facts(mode=OFF), Policy(mode_is_fixed=True), NOON, Go(Step.WRITE)),
    ("written", WRITTEN, Facts(), Policy(), NOON, Go(Step.SEND)),
    ("without an account", WRITTEN, Facts(connected=False), Policy(), NOON, Go(Step.KEEP)),
    ("draft mode", WRITTEN, Facts(), Policy(mode=DRAFT), NOON, Go(Step.SHOW_DRAFT)),
    ("approved", replace(WRITTEN, approved=True), Facts(), Policy(mode=DRAFT), NOON, Go(Step.SEND)),
    ("an outage", WRITTEN, Facts(outage=True), Policy(), NOON, Wait()),
    ("the client wrote on", WRITTEN, Facts(wrote_on=True), Policy(), NOON, Rewrite(with_newer=True)),
    (
        "the client writes on and on",
        replace(WRITTEN, redrafts=MOST_REDRAFTS),
        Facts(wrote_on=True),
        Policy(),
        NOON,
        Go(Step.SEND),
    ),
    ("it waited too long for amoCRM", WRITTEN, OLD, Policy(), NOON, ToStaff(Reason.STALE)),
    ("a person comes in any case", replace(WRITTEN, summary="A question."), OLD, Policy(), NOON, Go(Step.SEND)),
    ("the hours' text by day", replace(WRITTEN, **HOURS_TEXT), Facts(), CLOSED, NOON, Rewrite()),
    ("switched off meanwhile", WRITTEN, Facts(), Policy(mode=OFF), NOON, Drop(Reason.OFF)),
    ("paused meanwhile", replace(WRITTEN, **PAUSED), Facts(), Policy(), NOON, ToStaff(Reason.PAUSED)),
    ("once more", SENDING, Facts(), Policy(), NOON, Go(Step.SEND)),
    (
        "a call that may still be carried out",
        replace(SENDING, sent_attempt_at=NOON - timedelta(seconds=5)),
        Facts(),
        Policy(),
        NOON,
        Wait(NOON + timedelta(seconds=15)),
    ),
    ("a manager wrote", SENDING, Facts(manager_wrote=True), Policy(), NOON, Drop(Reason.MANAGER)),
    (
        "a manager wrote, and staff want it",
        replace(SENDING, **BY_STAFF),
        Facts(manager_wrote=True),
        Policy(),
        NOON,
        Go(Step.SEND),
    ),
    ("draft mode meanwhile", SENDING, Facts(), Policy(mode=DRAFT), NOON, Rewrite()),
    ("draft mode, when the client has a part", SENDING, Facts(told=True), Policy(mode=DRAFT), NOON, Go(Step.SEND)),
    ("switched off on its way", SENDING, Facts(), Policy(mode=OFF), NOON, Drop(Reason.OFF)),
    ("the account is gone", SENDING, Facts(connected=False), Policy(), NOON, Go(Step.FAIL)),
    *((f"{state}", turn(state), Facts(), Policy(), NOON, Ended()) for state in list(State)[3:]),
]


@pytest.mark.parametrize(
    ("of", "facts", "policy", "now", "verdict"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_what_becomes_of_a_turn(of: Turn, facts: Facts, policy: Policy, now: datetime, verdict: Verdict) -> None:
    assert decide(of, facts, policy, now) == verdict


def test_no_verdict_is_without_a_case() -> None:
    told = {case[5] for case in CASES}
    assert {verdict.step for verdict in told if isinstance(verdict, Go)} == set(Step)
    assert {type(verdict) for verdict in told} == {Go, Wait, ToStaff, Drop, Rewrite, Ended}


MOMENTS = some.one_of(some.none(), some.integers(-7200, 7200).map(lambda seconds: NOON + timedelta(seconds=seconds)))
TURNS = some.builds(
    turn,
    some.sampled_from(State),
    reply=some.sampled_from((None, "300 ₽")),
    responder=some.sampled_from((None, "manus", *Writer)),
    redrafts=some.integers(0, MOST_REDRAFTS),
    requested_by_staff=some.booleans(),
    approved=some.booleans(),
    summary=some.sampled_from((None, "A question.")),
    mode=some.sampled_from((None, AUTO, DRAFT, OFF)),
    sent_attempt_at=MOMENTS,
    deal_paused_until=MOMENTS,
    chat_paused_until=MOMENTS,
)
FACTS = some.builds(
    Facts,
    connected=some.booleans(),
    outage=some.booleans(),
    place_taken=some.booleans(),
    wrote_on=some.booleans(),
    said_at=MOMENTS,
    replies_today=some.integers(0, 60),
    left_out=some.sampled_from((None, Reason.CHANNEL)),
    told_hours=some.booleans(),
    manager_wrote=some.booleans(),
    told=some.booleans(),
    mode=some.sampled_from((None, AUTO, DRAFT, OFF)),
    stopped=some.booleans(),
)
POLICIES = some.builds(
    Policy,
    mode=some.sampled_from((AUTO, DRAFT, OFF)),
    mode_is_fixed=some.booleans(),
    hours=some.sampled_from((None, OFFICE)),
    answers_out_of_hours=some.booleans(),
    hours_text=some.sampled_from(("", "We open at nine.")),
)


@given(TURNS, FACTS, POLICIES, some.sampled_from((NOON, NIGHT)))
def test_nobody_is_talked_over_and_nothing_goes_out_that_is_switched_off(
    of: Turn, facts: Facts, policy: Policy, now: datetime
) -> None:
    verdict = decide(of, facts, policy, now)
    goes_on = verdict in (Go(Step.WRITE), Go(Step.SHOW_DRAFT), Go(Step.SEND), Go(Step.KEEP))
    assert not (facts.stopped and goes_on) or of.is_of_person  # who has stopped the assistant still writes by hand
    if verdict != Go(Step.SEND) or of.requested_by_staff:
        return
    assert not of.paused_at(now)
    assert policy.mode_of(of, facts) != OFF
    assert not (of.state == State.SENDING and facts.manager_wrote)
    assert not (facts.connected and facts.outage)
    unapproved = policy.mode_of(of, facts) == DRAFT and not of.approved and not of.is_hours_text
    assert not unapproved or (of.state == State.SENDING and facts.told)


@given(TURNS, FACTS, POLICIES, some.sampled_from((NOON, NIGHT)))
def test_a_call_that_may_still_be_carried_out_is_not_repeated(
    of: Turn, facts: Facts, policy: Policy, now: datetime
) -> None:
    fresh = replace(of, sent_attempt_at=now - UNSURE_FOR / 2)
    if of.reply is not None and facts.connected and of.state in (State.ANSWERING, State.SENDING):
        assert isinstance(decide(fresh, facts, policy, now), Wait)


@given(TURNS, FACTS, POLICIES, some.sampled_from((NOON, NIGHT)))
def test_every_verdict_is_a_move_that_the_state_allows(of: Turn, facts: Facts, policy: Policy, now: datetime) -> None:
    match decide(of, facts, policy, now):
        case ToStaff():
            assert State.HANDED in MOVES[of.state]
        case Drop():
            assert State.CANCELLED in MOVES[of.state]
        case Ended():
            assert of.state not in (State.WAITING, State.ANSWERING, State.SENDING)
        case Go(Step.SEND):
            assert of.state in (State.ANSWERING, State.SENDING)
