"""Whatever Manus does, the client gets the right text once, or the local answer once: the program between stand-ins."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.running import Otvet, otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.manus import ManusStandin, echo, manus_standin
from tests.standins.sender import incoming
from tests.test_end_to_end import connected

RIGHT = "В Тверь — 700 ₽."
LOCAL = "Доставка по городу стоит 300 рублей."
QUESTION = "Сколько стоит доставка?"

SOON_SECONDS = 40  # on a busy machine

leads = count(5000)


class Stage:
    """A running Otvet, amoCRM and Manus."""

    def __init__(self, server: Otvet, amo: AmoStandin, manus: ManusStandin) -> None:
        self.server = server
        self.amo = amo
        self.manus = manus

    def ask(self, lead: int, text: str = QUESTION) -> None:
        body = incoming(text, lead_id=lead, chat_id=f"chat-{lead}", message_id=f"{lead}-{text}")
        assert self.server.deliver(body).status_code == 200

    def replies(self, lead: int, expected: int = 1) -> list[str]:
        """What the client was sent, when all is at rest: the notes, without their marks."""
        wait_for(lambda: len(self.amo.notes(lead)) >= expected, f"note {expected} of deal {lead}", SOON_SECONDS)
        wait_for(self.server.settled, "all turns closed")
        return [note["params"]["text"].rpartition("\n\n[otvet:")[0] for note in self.amo.notes(lead)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    (folder / "knowledge").mkdir()
    (folder / "knowledge" / "delivery.md").write_text(f"# Сколько стоит доставка\n\n{LOCAL}\n")
    return folder


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[AmoStandin, ManusStandin]]:
    with amocrm_standin() as amo, manus_standin(limits={}) as manus:
        amo.any_lead = True
        yield amo, manus


def settings(amo: AmoStandin, manus: ManusStandin, folder: Path, **more: str) -> dict[str, str]:
    ours = {
        "MANUS_CALLS_A_MINUTE": "10000",
        "OTVET_AMOCRM_CALLS_A_SECOND": "100",
        "OTVET_KNOWLEDGE_DIR": str(folder / "knowledge"),
        "OTVET_NUMBER_GUARD": "off",  # the answers of these cases have prices that stand nowhere
    }
    return connected(amo, manus) | ours | more


@pytest.fixture(scope="module")
def looking(folder: Path, services: tuple[AmoStandin, ManusStandin]) -> Iterator[Stage]:
    own = folder / "looking"
    own.mkdir()
    with otvet(own, **settings(*services, folder, OTVET_REPLY_BUDGET_SECONDS="4")) as server:
        yield Stage(server, *services)


@pytest.fixture
def lead() -> int:
    return next(leads)


@pytest.fixture
def stage(looking: Stage) -> Stage:
    projects = looking.manus.projects
    looking.manus.reset()
    looking.manus.projects = projects
    looking.manus.answer = lambda _: RIGHT
    return looking


def planned(*scenarios: Any, **changes: Any) -> Callable[[ManusStandin], None]:
    def plan(manus: ManusStandin) -> None:
        manus.scenario(*scenarios)
        for name, value in changes.items():
            setattr(manus, name, value)

    return plan


def faulty(method: str, **fault: Any) -> Callable[[ManusStandin], None]:
    return lambda manus: manus.fault(method, **fault)


ANSWERED = {
    "an acknowledgement, then the result": planned("answer"),
    "the same without delivery kinds": planned("answer", marks_delivery=False),
    "a fresh task that is not found at first": planned(hidden_reads=4),
    "content as a list of parts": planned("list_content"),
    "stopped with jobs in the background": planned("background"),
    "the last job ends between two calls": planned("late_result"),
    "the state is shown before its message": planned("state_first"),
    "the same without delivery kinds, and the question is not shown": planned(
        "state_first", marks_delivery=False, lists_questions=False
    ),
    "a task that waits in a queue": planned("queued"),
    "the profile's other spelling": planned(profiles={"manus-1.6-lite"}),
    "429 for a new task": faulty("task.create", code="rate_limited", times=3),
    "429 for the looks": faulty("task.listMessages", code="rate_limited", times=3),
    "a fault of Manus's own at each second look": faulty("task.listMessages", code="internal", times=2),
    "a project that somebody deleted": planned(projects={}),
}

LEFT_TO_THE_FOLDER = {
    "a ghost task": (planned("ghost"), 1),
    "a confirmation is asked for": (planned("confirm"), 1),
    "an error": (planned("error"), 1),
    "an empty answer": (planned("empty"), 1),
    "over budget": (planned("slow"), 1),
    "the connection drops after a task was made": (faulty("task.create", drop="after"), 1),
    "the connection drops before": (faulty("task.create", drop="before"), 0),
    "a wrong key": (faulty("task.create", code="permission_denied"), 0),
    "a text about nothing but Manus": (planned(answer=lambda _: "I am Manus: https://manus.im/app/1"), 1),
}


def test_the_role_text_is_in_one_project_for_all_deals(stage: Stage) -> None:
    for lead in (next(leads), next(leads)):
        stage.ask(lead)
        assert stage.replies(lead) == [RIGHT]
    (project,) = stage.manus.projects.values()
    assert [body["project_id"] for body in stage.manus.creates] == [project["id"]] * 2
    assert not any(project["instruction"] in str(body["message"]) for body in stage.manus.creates)


@pytest.mark.parametrize("case", ANSWERED)
def test_the_right_text_comes_once(stage: Stage, lead: int, case: str) -> None:
    ANSWERED[case](stage.manus)
    stage.ask(lead)
    assert stage.replies(lead) == [RIGHT]
    assert len(stage.manus.creates) == 1
    (reply,) = stage.server.messages(lead, "assistant")
    assert reply["metadata"]["responder"] == "manus"
    assert reply["metadata"]["details"]["credits"] >= 3


@pytest.mark.parametrize("case", LEFT_TO_THE_FOLDER)
def test_or_the_local_answer_once(stage: Stage, lead: int, case: str) -> None:
    plan, created = LEFT_TO_THE_FOLDER[case]
    before = next(leads)
    stage.ask(before)  # Manus works in between: else it would be left alone after five cases
    assert stage.replies(before) == [RIGHT]
    stage.manus.creates.clear()
    stage.manus.tasks.clear()
    plan(stage.manus)
    stage.ask(lead)
    assert stage.replies(lead) == [LOCAL]
    assert len(stage.manus.creates) == created
    assert "task.confirmAction" not in stage.manus.requests
    if stage.manus.tasks and case not in ("a ghost task", "the connection drops after a task was made"):
        assert stage.manus.stops == list(stage.manus.tasks)


@pytest.mark.quick
def test_a_question_is_put_to_the_client_and_the_answer_goes_into_the_same_task(stage: Stage, lead: int) -> None:
    stage.manus.scenario("question")
    stage.ask(lead, "Сколько стоит футболка?")
    assert stage.replies(lead) == ["Какой нужен размер?\n• S\n• M"]
    stage.ask(lead, "M")
    assert stage.replies(lead, 2)[1:] == [RIGHT]
    assert (len(stage.manus.creates), len(stage.manus.sends)) == (1, 1)


def test_a_question_that_stands_in_the_description_alone_is_put_too(stage: Stage, lead: int) -> None:
    stage.manus.scenario("described_question")
    stage.ask(lead, "Сколько стоит футболка?")
    assert stage.replies(lead) == ["Какой нужен размер?"]


FOLLOWED = {
    "an acknowledgement, then the result": planned("answer"),
    "what the question before still had to come": planned("leftover"),
    "stopped with jobs in the background": planned("background"),
    "the last job ends between two calls": planned("late_result"),
    "the message is late among the events": planned(lag_reads=3),
    "429 for a message": faulty("task.sendMessage", code="rate_limited", times=3),
}


@pytest.mark.parametrize("case", FOLLOWED)
def test_the_next_answer_is_that_to_the_next_question(stage: Stage, lead: int, case: str) -> None:
    stage.ask(lead)
    stage.replies(lead)
    stage.manus.answer = lambda _: "А в среду — 800 ₽."
    FOLLOWED[case](stage.manus)
    stage.ask(lead, "А в среду?")
    assert stage.replies(lead, 2) == [RIGHT, "А в среду — 800 ₽."]
    assert (len(stage.manus.creates), len(stage.manus.sends)) == (1, 1)


@pytest.mark.quick
def test_two_clients_at_once_get_each_their_own_answers(stage: Stage) -> None:
    one, other = next(leads), next(leads)
    stage.manus.answer = echo
    for text in ("Сколько стоит доставка?", "А в среду?"):
        for lead in (one, other):
            stage.ask(lead, f"{text} Сделка {lead}.")
        for lead in (one, other):
            stage.replies(lead, 1 if text.startswith("С") else 2)
    for lead in (one, other):
        asked = [str(body["message"]["content"]) for body in stage.manus.creates + stage.manus.sends]
        assert stage.replies(lead, 2) == [echo(text) for text in asked if f"Сделка {lead}." in text]
    assert (len(stage.manus.creates), len(stage.manus.sends)) == (2, 2)


def test_an_account_without_credits_is_asked_once_and_then_left_alone(
    tmp_path: Path, folder: Path, services: tuple[AmoStandin, ManusStandin]
) -> None:
    amo, manus = services
    manus.reset()
    manus.credits = {"total_credits": 0}
    manus.scenario("quota")
    with otvet(tmp_path, **settings(amo, manus, folder)) as server:
        stage = Stage(server, amo, manus)
        for turn in (1, 2):
            lead = next(leads)
            stage.ask(lead)
            assert stage.replies(lead) == [LOCAL]
            assert "no credits left" in server.get(f"/api/turns/{turn}")["tries"][0]["outcome"]
    assert len(manus.creates) == 1


def test_a_message_whose_answer_was_lost_is_not_sent_twice(stage: Stage, lead: int) -> None:
    stage.ask(lead)
    stage.replies(lead)
    stage.manus.fault("task.sendMessage", drop="after")
    stage.manus.answer = lambda _: "А в среду — 800 ₽."
    stage.ask(lead, "А в среду?")
    assert stage.replies(lead, 2) == [RIGHT, "А в среду — 800 ₽."]
    assert (len(stage.manus.creates), len(stage.manus.sends)) == (1, 1)
