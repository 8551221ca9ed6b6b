"""The task that tells staff of a hand-off: one in amoCRM for each chat where a person has to answer."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Row

from otvet.amocrm import tasks
from otvet.amocrm.answers import AmoError
from otvet.amocrm.client import AmoClient
from otvet.amocrm.texts import storable
from otvet.clock import Clock
from otvet.conversations import history
from otvet.conversations.transcript import SENDERS, spoken
from otvet.i18n import N_, _, interface_language
from otvet.storage import outages
from otvet.storage.database import Database
from otvet.turns import changes, drafts, handoffs, human_request, sending
from otvet.turns.handoffs import Handoff
from otvet.turns.policy import UNSURE_FOR, Policy
from otvet.turns.reasons import why_left
from otvet.turns.turn import OPEN, SELECTED, Reason, State, Turn, turns

log = structlog.get_logger(__name__)

DUE_WITHIN = timedelta(hours=1)
MOST_LOOKED_AT = 50
LAST_LINES = 5
MOST_LINES = 20  # of a question in a task

WAITS = N_("A client waits for a manager's answer in the chat.")
ASKED = N_("Question: {question}\nWhy you: {why}")
DRAFT = N_(
    "A draft of the reply waits for you.\nQuestion: {question}\nDraft: {reply}\nTo send it, complete this task with the"
    " result «yes». For another text write «reply: » and the text. «No» drops the draft."
)
DRAFT_SENT = N_("Sent to the client: {text}")
DRAFT_REJECTED = N_("A manager rejected this draft, it was not sent: {text}")
DRAFT_OVER = N_("This draft is out of date and was not sent.")
YES = frozenset(("да", "ок", "ok", "yes", "+", "отправить", "отправь", "отправляй", "send"))
NO = frozenset(("нет", "no", "не отправлять", "не надо", "-"))
CORRECTED = re.compile(r"(?:да|ок|ok|yes|ответ|reply)\s*[:—–-]\s*(.*\S)\s*\Z", re.IGNORECASE | re.DOTALL)
SPARE = N_("This client's questions stand in another task of the deal. Complete this one.")
LAST_SAID = N_("Last messages:\n{lines}")


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a hand-off. summary: for the person who answers; the rest as the turn has it."""

    turn_id: int
    state: State
    reason: str | None
    left_because: str | None
    summary: str | None
    reply: str | None


class StaffTasks:
    """Makes the tasks of hand-offs, and adds further questions to them. Jobs of one process for all.

    begin: called with the turns that can be worked on now.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        amocrm: AmoClient | None,
        *,
        installation_name: str,
        policy: Policy,
        begin: Callable[[Sequence[int]], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._amocrm = amocrm
        self._installation_name = installation_name
        self._policy = policy
        self._begin = begin
        self._looked_down_to: int | None = None

    async def look(self) -> None:
        """Put questions that wait for too long on the list, and tell staff of all that is due."""
        now = self._clock.now()
        await self._database.write(lambda connection: handoffs.add_waiting(connection, now))
        if self._amocrm is None:
            return
        for one in await self._database.read(lambda connection: handoffs.to_tell(connection, now)):
            try:
                await self._tell(one, self._amocrm)
            except outages.Blocked:
                return
            except AmoError as error:
                await self._failed(one, error)

    async def look_at_completed(self) -> None:
        """Close the hand-offs whose task somebody has completed in amoCRM; its result may approve or reject a draft.

        One look is at MOST_LOOKED_AT of them, and the next goes on from there.
        """
        before = self._looked_down_to
        of_task = await self._database.read(lambda connection: handoffs.with_task(connection, MOST_LOOKED_AT, before))
        self._looked_down_to = min(of_task.values()) if len(of_task) == MOST_LOOKED_AT else None
        if self._amocrm is None or not of_task:
            return
        try:
            await outages.check(self._database)
            completed = await tasks.completed_tasks(self._amocrm, of_task)
        except outages.Blocked:
            return
        except AmoError as error:
            await outages.heed(self._database, error, self._clock.now())
            log.warning("it could not be seen which tasks are completed", reason=str(error))
            return
        now = self._clock.now()
        for task_id, result in completed.items():
            of = partial(_take_result, handoff_id=of_task[task_id], task_id=task_id)
            begun = await self._database.write(partial(of, result=result, now=now))
            if begun is not None:
                self._begin([begun])

    async def tidy_drafts(self) -> None:
        """Have the notes of drafts that wait no more say what became of them."""
        if self._amocrm is None:
            return
        for turn in await self._database.read(_with_draft_note):
            assert turn.draft_note_id is not None
            try:
                async with self._amocrm.slot() as slot:
                    await outages.check(self._database)
                    await slot.change_note(turn.deal, turn.draft_note_id, storable(_what_became(turn)))
            except outages.Blocked:
                return
            except AmoError as error:
                await outages.heed(self._database, error, self._clock.now())
                log.warning("the note of a draft could not be changed", turn=turn.id, reason=str(error))
                if not error.permanent:
                    return
            id_, note_id = turn.id, turn.draft_note_id
            await self._database.write(partial(changes.forget_draft_note, turn_id=id_, note_id=note_id))

    async def tidy_tasks(self) -> None:
        """Have the task of a hand-off that was merged with another one say that it is not needed."""
        if self._amocrm is None:
            return
        for one in await self._database.read(handoffs.with_spare_task):
            assert one.task_id is not None
            try:
                async with self._amocrm.slot() as slot:
                    await outages.check(self._database)
                    await tasks.change_task(slot, one.task_id, _(SPARE))
            except outages.Blocked:
                return
            except AmoError as error:
                await outages.heed(self._database, error, self._clock.now())
                log.warning("a spare task could not be changed", task=one.task_id, reason=str(error))
                if not error.permanent:
                    return
            await self._database.write(partial(handoffs.told, one=one, task_id=one.task_id))

    async def _tell(self, one: Handoff, amocrm: AmoClient) -> None:
        assert one.lead_id is not None
        lead_id = one.lead_id
        now = self._clock.now()
        if one.sent_attempt_at is not None and timedelta(0) <= now - one.sent_attempt_at < UNSURE_FOR:
            return  # an earlier call may still be carried out
        task_id = one.task_id
        if task_id is not None and await tasks.completed_tasks(amocrm, [task_id], missing=True):
            task_id = None  # of the questions before
        if task_id is None and one.sent_attempt_at is not None:
            task_id = await tasks.find_task(amocrm, lead_id, self._marker(one))
        text = await self._database.read(lambda connection: self._text(connection, one))
        lead = await amocrm.lead(lead_id) or {} if task_id is None else {}
        async with amocrm.slot() as slot:
            await outages.check(self._database)
            now = self._clock.now()
            if not await self._database.write(lambda connection: handoffs.announce(connection, one, now)):
                return  # it is told anew by the next look
            if task_id is None:
                due = self._policy.staff_from(now) + DUE_WITHIN
                task_id = await tasks.add_task(slot, lead_id, text, due, lead.get("responsible_user_id"))
            else:
                await tasks.change_task(slot, task_id, text)
        await self._database.write(lambda connection: handoffs.told(connection, one, task_id))
        log.info("staff are told of a hand-off", handoff=one.id, lead=lead_id, task=task_id)

    async def _failed(self, one: Handoff, error: AmoError) -> None:
        log.warning("no task for a hand-off", handoff=one.id, lead=one.lead_id, reason=str(error))
        now = self._clock.now()

        def write(connection: Connection) -> None:
            outages.begin_if_refused(connection, error, now)
            refusal = str(error) if error.permanent else None
            handoffs.not_told(connection, one, refusal, now, ambiguous=error.ambiguous)

        await self._database.write(write)

    def _marker(self, one: Handoff) -> str:
        """By this a task is found again whose making nobody saw the end of."""
        return sending.marker(self._installation_name, f"handoff-{one.id}")

    def _text(self, connection: Connection, one: Handoff) -> str:
        questions = _questions(connection, one.id)
        asked = [_asked(connection, question) for question in questions]
        said = questions[-1].summary if questions else None
        if said is None:
            lines = history.last_said(connection, one.conversation_id, one.chat_ref, LAST_LINES)
            said = "\n".join(f"{_(SENDERS[line.sender_type])}: {_in_short([line])}" for line in lines)
        told = storable("\n\n".join((_(WAITS), *asked, _(LAST_SAID).format(lines=said))))
        return f"{told}\n\n[{self._marker(one)}]"


def _questions(connection: Connection, handoff_id: int) -> list[Question]:
    """The questions of a hand-off, the oldest first."""
    columns = (turns.c.id, turns.c.state, turns.c.reason, turns.c.left_because, turns.c.summary, turns.c.reply)
    rows = connection.execute(sa.select(*columns).where(turns.c.handoff_id == handoff_id).order_by(turns.c.id))
    return [Question(id_, State(state), *more) for id_, state, *more in rows]


def _asked(connection: Connection, one: Question) -> str:
    """A question, and why the assistant does not answer it; or its draft, and how it is approved."""
    question = _in_short(history.question(connection, one.turn_id)) or human_request.cut(one.reply or "")
    if one.state == State.DRAFT:
        return _(DRAFT).format(question=question, reply=one.reply)
    return _(ASKED).format(question=question, why=why_left(one.state, one.reason, one.summary, one.left_because) or "")


def _take_result(connection: Connection, handoff_id: int, task_id: int, result: str, now: datetime) -> int | None:
    """A task was completed with this result: close its hand-off, approve or reject its draft.

    Not if it was made before the newest question or draft: whoever completed it has not seen that.
    Gives the turn that is to be sent now. A result is often a remark such as "called the client", so another text
    is sent only if the result says so: "yes: ..." or "reply: ...".
    """
    turn_id = handoffs.draft_of(connection, handoff_id)
    if not handoffs.close_completed(connection, handoff_id, task_id, now) or turn_id is None:
        return None
    said = result.strip()
    word = said.strip(" .!,").casefold()
    if word in NO:
        drafts.reject(connection, turn_id, now)
    elif word in YES:
        return turn_id if drafts.approve(connection, turn_id, None) is None else None
    elif corrected := CORRECTED.match(said):
        return turn_id if drafts.approve(connection, turn_id, corrected[1]) is None else None
    return None


def _with_draft_note(connection: Connection) -> list[Turn]:
    """The turns whose draft's note is to be changed; not those that are on their way to the client."""
    on_the_way = sa.and_(turns.c.approved, turns.c.state.in_(OPEN))
    query = SELECTED.where(turns.c.draft_note_id.is_not(None), ~on_the_way).order_by(turns.c.id).limit(MOST_LOOKED_AT)
    return [Turn.from_row(row) for row in connection.execute(query)]


def _what_became(turn: Turn) -> str:
    """The new text of a draft's note."""
    if turn.approved and turn.state == State.SENT:
        return _(DRAFT_SENT).format(text=turn.reply)
    if turn.reason == Reason.REJECTED:
        return _(DRAFT_REJECTED).format(text=turn.reply)
    return _(DRAFT_OVER)


def _in_short(rows: Sequence[Row[Any]]) -> str:
    """Messages as one line, the newest MOST_LINES of them."""
    said = (spoken(row.content, row.message_type, row.metadata, interface_language()) for row in rows[-MOST_LINES:])
    return " / ".join(map(human_request.cut, said))
