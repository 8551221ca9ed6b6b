"""A client's message in, its history kept, a contextual reply out: the real program between the two stand-ins."""

from pathlib import Path

import pytest

from tests.running import otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.manus import ManusStandin, manus_standin
from tests.standins.sender import incoming, outgoing

LEAD = 27754599


def connected(amo: AmoStandin, manus: ManusStandin | None = None) -> dict[str, str]:
    settings = {"OTVET_AMOCRM_BASE_URL": amo.url, "OTVET_AMOCRM_TOKEN": amo.token}
    if manus:
        settings |= {
            "OTVET_MANUS_BASE_URL": manus.url,
            "OTVET_MANUS_API_KEY": manus.key,
            "MANUS_POLL_SECONDS": "0.05",
            "MANUS_CALLS_A_MINUTE": "10000",  # so do the looks not wait for their place
        }
    return settings


@pytest.fixture
def knowledge(tmp_path: Path) -> Path:
    folder = tmp_path / "knowledge"
    folder.mkdir()
    (folder / "delivery.md").write_text("# Сколько стоит доставка\n\nДоставка по городу стоит 300 рублей.\n")
    return folder


def test_a_message_becomes_one_manus_task_with_its_history_and_one_note(tmp_path: Path) -> None:
    with amocrm_standin() as amo, manus_standin() as manus:
        amo.add_lead(LEAD)
        manus.answer = lambda content: "The delivery takes a while."
        with otvet(tmp_path, **connected(amo, manus)) as server:
            server.deliver(outgoing("Hello, this is your manager.", id="m-1", created_at=1758650000))
            server.deliver(incoming("How much is the delivery?", id="m-2", created_at=1758650960))
            wait_for(lambda: amo.notes(LEAD), "a note")
            wait_for(server.settled, "the turn closed")

            (note,) = amo.notes(LEAD)
            assert note["note_type"] == "common"
            assert note["params"]["text"].startswith("The delivery takes a while.")
            (task,) = manus.creates
            asked = str(task["message"]["content"])
            assert "How much is the delivery?" in asked
            assert "Hello, this is your manager." in asked
            (reply,) = server.messages(LEAD, "assistant")
            assert reply["content"] == "The delivery takes a while."
            assert reply["metadata"]["amocrm_lead_id"] == LEAD
            assert reply["metadata"]["source"] == "ai_response"
            assert reply["metadata"]["responder"] == "manus"
            assert reply["metadata"]["delivery"] == {"state": "sent", "way": "note", "note_id": note["id"]}


def test_the_next_question_goes_into_the_same_manus_task(tmp_path: Path) -> None:
    with amocrm_standin() as amo, manus_standin() as manus:
        amo.add_lead(LEAD)
        with otvet(tmp_path, **connected(amo, manus)) as server:
            server.deliver(incoming("How much is the delivery?", id="m-1"))
            wait_for(lambda: len(amo.notes(LEAD)) == 1, "the first note")
            server.deliver(incoming("And to another town?", id="m-2"))
            wait_for(lambda: len(amo.notes(LEAD)) == 2, "the second note")
    assert len(manus.creates) == 1
    assert len(manus.sends) == 1
    assert "And to another town?" in str(manus.sends[0]["message"]["content"])


def test_manus_down_leads_to_a_local_answer_and_one_note(tmp_path: Path, knowledge: Path) -> None:
    with amocrm_standin() as amo, manus_standin() as manus:
        amo.add_lead(LEAD)
        manus.fault(status=500, times=None)
        with otvet(tmp_path, **connected(amo, manus), OTVET_REPLY_BUDGET_SECONDS="5") as server:
            server.deliver(incoming("Сколько стоит доставка?"))
            wait_for(lambda: amo.notes(LEAD), "a note")
            wait_for(server.settled, "the turn closed")
            (reply,) = server.messages(LEAD, "assistant")
    (note,) = amo.notes(LEAD)
    assert "Доставка по городу стоит 300 рублей." in note["params"]["text"]
    assert reply["metadata"]["responder"] == "knowledge"


def test_nothing_that_fits_leads_to_an_honest_word_in_the_clients_language(tmp_path: Path, knowledge: Path) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        with otvet(tmp_path, **connected(amo)) as server:
            server.deliver(incoming("Есть ли у вас вакансии для водителей?"))
            wait_for(lambda: amo.notes(LEAD), "a note")
            wait_for(server.settled, "the turn closed")
            (reply,) = server.messages(LEAD, "assistant")
    assert reply["metadata"]["responder"] == "template"
    assert "менеджер" in reply["content"].lower()


def test_without_a_token_the_reply_is_kept_and_says_so(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        server.deliver(incoming("Сколько стоит доставка?"))
        wait_for(lambda: server.messages(LEAD, "assistant"), "a reply")
        wait_for(server.settled, "the turn closed")
        (reply,) = server.messages(LEAD, "assistant")
        assert reply["turn"]["state"] == "kept"
        assert reply["metadata"]["delivery"]["reason"] == "amocrm_not_connected"


def test_a_burst_gets_one_reply(tmp_path: Path) -> None:
    with amocrm_standin() as amo, manus_standin() as manus:
        amo.add_lead(LEAD)
        with otvet(tmp_path, **connected(amo, manus), OTVET_QUIET_SECONDS="3") as server:
            for number, text in enumerate(("Good day", "I want to order", "is it there?")):
                server.deliver(incoming(text, id=f"m-{number}"))
            wait_for(lambda: amo.notes(LEAD), "a note")
            wait_for(server.settled, "the turn closed")
    assert len(amo.notes(LEAD)) == 1
    (task,) = manus.creates
    assert all(text in str(task["message"]["content"]) for text in ("Good day", "I want to order", "is it there?"))


def test_a_managers_message_is_never_answered(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.add_lead(LEAD + 1)
        with otvet(tmp_path, **connected(amo)) as server:
            server.deliver(outgoing("Your order is ready.", id="m-1", event="message"))
            server.deliver(outgoing("Your order is ready!", id="m-2", event="outgoing_message"))
            server.deliver(
                incoming("Do you have it?", id="m-3", entity_id=LEAD + 1, element_id=LEAD + 1, chat_id="other")
            )
            wait_for(lambda: amo.notes(LEAD + 1), "the note of the deal that is answered")
            wait_for(server.settled, "the turn closed")
            assert amo.notes(LEAD) == []
            assert [one["sender_type"] for one in server.messages(LEAD)] == ["manager", "manager"]


@pytest.mark.slow
def test_a_note_that_amocrm_took_without_saying_so_is_not_written_twice(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.fault(path="/api/v4/leads/*/notes", method="POST", drop="after", times=1)
        with otvet(tmp_path, **connected(amo)) as server:
            server.deliver(incoming("Сколько стоит доставка?"))
            wait_for(server.settled, "the turn closed")
            (reply,) = server.messages(LEAD, "assistant")
    (note,) = amo.notes(LEAD)
    assert reply["metadata"]["delivery"]["note_id"] == note["id"]


def test_what_amocrm_refuses_for_good_is_failed_with_a_sentence(tmp_path: Path) -> None:
    with amocrm_standin() as amo, otvet(tmp_path, **connected(amo)) as server:  # the lead does not exist there
        server.deliver(incoming("Сколько стоит доставка?"))
        wait_for(server.settled, "the turn closed")
        (reply,) = server.messages(LEAD, "assistant")
        assert reply["turn"]["state"] == "failed"
        assert len(reply["metadata"]["delivery"]["reason"]) > 20
        assert server.get("/api/stats")["errors"] == 1
