"""Two contacts who write in one deal: a reply to one of them knows nothing of what was said with the other."""

from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from otvet.answering import summaries
from otvet.answering.answering import Answering
from otvet.conversations.tables import conversations
from otvet.responders.manus.api import ManusApi
from otvet.responders.manus.responder import ManusResponder
from otvet.responders.template import TemplateResponder
from otvet.storage.database import Database
from otvet.turns.turn import turns
from tests.standins.manus import manus_standin
from tests.standins.sender import incoming
from tests.test_answer import LEAD, Stage
from tests.test_writing import Short, Writer

HUSBAND = {"contact_id": 101, "chat_id": "his"}
WIFE = {"contact_id": 102, "chat_id": "hers"}


class Deal(Stage):
    """A deal in which somebody writes, and is answered a minute later."""

    def __init__(self, database: Database, *responders: Any) -> None:
        super().__init__(database, *responders, TemplateResponder())  # type: ignore[arg-type]

    def writes(self, text: str, **who: Any) -> list[int]:
        return self.receive(incoming(text, **{**self._new(LEAD), **who}))

    def talk(self, *said: tuple[str, dict[str, Any]]) -> None:
        async def play(answering: Answering) -> None:
            for text, who in said:
                (turn,) = self.writes(text, **who)
                await answering.answer(turn)
                self.clock.advance(60)

        self.run(play)

    def save_summary(self, text: str, lead_id: int = LEAD) -> None:
        with self.database.writes.begin() as connection:
            here = conversations.c.amocrm_lead_id == lead_id
            values = {"summary": text, "summarised_until": self.clock.now()}
            connection.execute(conversations.update().where(here).values(**values))


def history(writer: Writer) -> list[str]:
    return [line.text for line in writer.told[-1].history]


def test_only_what_was_said_with_whoever_asks_is_told(database: Database) -> None:
    manus = Writer("manus", "To him.", "To her.", "To him again.")
    deal = Deal(database, manus)
    deal.talk(("It is a present for my wife", HUSBAND))
    deal.manager_writes("She will love it", **HUSBAND)
    deal.clock.advance(31 * 60)
    deal.talk(("How much is the delivery?", WIFE))
    assert history(manus) == []
    assert manus.told[-1].shared
    deal.talk(("And?", HUSBAND))
    assert history(manus) == ["It is a present for my wife", "To him.", "She will love it"]


def test_the_chat_of_a_contact_that_was_merged_into_another_is_still_the_same_person(database: Database) -> None:
    manus = Writer("manus", "Gladly.")
    Deal(database, manus).talk(("It is me", HUSBAND), ("It is me again", HUSBAND | {"contact_id": 103}))
    assert history(manus) == ["It is me", "Gladly."]
    assert not manus.told[-1].shared


def test_who_has_a_second_chat_is_the_same_person(database: Database) -> None:
    manus = Writer("manus", "Gladly.")
    Deal(database, manus).talk(("It is me", HUSBAND), ("It is me again", HUSBAND | {"chat_id": "his other"}))
    assert history(manus) == ["It is me", "Gladly."]


def test_where_no_contact_is_named_nobody_is_told_apart(database: Database) -> None:
    manus = Writer("manus", "Gladly.")
    Deal(database, manus).talk(("One", HUSBAND), ("Two", {"contact_id": None, "chat_id": "?"}))
    assert history(manus) == ["One", "Gladly."]


def test_what_both_ask_at_once_are_two_questions(database: Database) -> None:
    manus = Writer("manus", "To him.", "To her.")
    deal = Deal(database, manus)
    (his,), (hers,) = deal.writes("How much?", **HUSBAND), deal.writes("And when?", **WIFE)
    deal.answer(his)
    deal.answer(hers)
    assert [told.question_text for told in manus.told] == ["How much?", "And when?"]
    assert [told.shared for told in manus.told] == [True, True]
    assert [[line.text for line in told.history] for told in manus.told] == [[], []]


def test_the_summary_of_both_is_neither_told_nor_written(database: Database) -> None:
    manus = Writer("manus", "Gladly.")
    deal = Deal(database, manus)
    deal.talk(("It is a present", HUSBAND))
    deal.save_summary("A present is to be a surprise.")
    deal.talk(("Is it?", HUSBAND))
    assert manus.told[-1].summary == "A present is to be a surprise."
    short = Short("In short.")
    deal.writing = {"summariser": short}
    deal.talk(*((f"{number}?", WIFE) for number in range(40)))
    assert (manus.told[-1].summary, short.shown) == ("", [])
    deal.talk(("And?", HUSBAND))
    assert history(manus)[0] == "It is a present"  # what the summary stood for
    turn = deal.database.read_now(lambda connection: connection.scalar(sa.select(sa.func.max(turns.c.id))))
    assert database.read_now(lambda connection: summaries.due(connection, deal.turn(turn), 6)) is None


def test_neither_is_the_summary_of_another_deal_told_in_which_both_wrote(database: Database) -> None:
    manus = Writer("manus", "Gladly.")
    deal = Deal(database, manus)
    deal.talk(("Before", HUSBAND | {"lead_id": 5}))
    deal.save_summary("He asked before.", 5)
    deal.talk(("Now", HUSBAND))
    assert "He asked before." in manus.told[-1].summary
    deal.talk(("Me too", WIFE | {"lead_id": 5}), ("As always", HUSBAND | {"lead_id": 5}), ("Now", HUSBAND))
    assert "He asked before." not in manus.told[-1].summary
    assert "Me too" not in repr(manus.told[-1])


@pytest.mark.parametrize(("second", "tasks"), [(HUSBAND, 1), (WIFE, 2)])
def test_a_task_of_manus_in_which_the_other_asked_is_not_gone_on_with(
    database: Database, second: dict[str, Any], tasks: int
) -> None:
    http = httpx2.AsyncClient(timeout=5)
    with manus_standin(limits={}) as manus:
        manus.answer = lambda _: "Gladly."
        deal = Deal(database)
        deal.responders = (ManusResponder(ManusApi(http, manus.url, manus.key), deal.clock), *deal.responders)  # type: ignore[assignment]

        async def play(answering: Answering) -> None:
            for text, who in (("It is a present", HUSBAND), ("How much?", second)):
                (turn,) = deal.writes(text, **who)
                await answering.answer(turn)
            await http.aclose()

        deal.run(play)
    assert deal.said() == ["Gladly.", "Gladly."]
    assert len(manus.creates) == tasks
    assert "present" not in str([*manus.creates[1:], *manus.sends])
