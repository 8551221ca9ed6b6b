"""What a person does from the terminal and over the API, while the server runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from otvet.amocrm.events import read_delivery
from otvet.commands import operate
from otvet.errors import UsageError
from otvet.intake.inbox import Received, store
from otvet.settings.loading import load_settings
from otvet.storage import outages
from otvet.storage.database import Database
from tests.running import Otvet, command, otvet, wait_for
from tests.standins.amocrm import amocrm_standin
from tests.standins.sender import incoming, outgoing
from tests.test_end_to_end import connected

LEAD = 27754599


@pytest.mark.quick
def test_pause_and_resume_from_the_terminal(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        server.deliver(incoming("hello", message_id="m-1"))
        wait_for(server.settled, "the first turn closed")
        assert command(tmp_path, "pause", str(LEAD)).returncode == 0
        server.deliver(incoming("hello again", message_id="m-2"))
        wait_for(server.settled, "the second turn left to a person")
        assert len(server.messages(LEAD, "assistant")) == 1
        assert command(tmp_path, "resume", str(LEAD)).returncode == 0
        server.deliver(incoming("and now?", message_id="m-3"))
        wait_for(lambda: len(server.messages(LEAD, "assistant")) == 2, "an answer after resume")
        assert command(tmp_path, "pause", "404404").returncode == 1


def test_the_operators_list_and_retry(tmp_path: Path) -> None:
    with amocrm_standin() as amo, otvet(tmp_path, **connected(amo)) as server:
        server.deliver(incoming("hello"))  # there is no such deal in amoCRM
        wait_for(server.settled, "the turn closed")
        (turn,) = server.get("/api/turns?state=failed")["turns"]
        assert turn["lead_id"] == LEAD
        assert len(turn["why"]) > 20
        listed = command(tmp_path, "turns", **connected(amo))
        assert str(LEAD) in listed.stdout

        amo.add_lead(LEAD)
        tried = command(tmp_path, "retry", str(turn["id"]))
        assert tried.returncode == 0
        assert "takes it up again within seconds" in tried.stdout
        wait_for(lambda: amo.notes(LEAD), "the note of the second try")
        wait_for(lambda: not server.get("/api/turns?state=person")["turns"], "an empty list")
        assert len(amo.notes(LEAD)) == 1
        assert command(tmp_path, "retry", str(turn["id"])).returncode == 1


def test_what_could_not_be_stored_is_on_the_operators_list(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(database_url=database.url)

    def shown(state: str | None = None) -> str:
        capsys.readouterr()
        operate.show(settings, state)
        return " ".join(capsys.readouterr().out.split())

    assert shown() == "nothing is waiting for a person"
    now = datetime.now(UTC)
    with database.writes.begin() as connection:
        store(connection, [Received(b"{", read_delivery(b"{", now), now)])
    assert shown().startswith("1 delivery of amoCRM was not understood or could not be stored")
    assert shown("failed") == "no such questions"
    with pytest.raises(UsageError, match=r"no state lost; .*waiting, .*handed"):
        shown("lost")
    with pytest.raises(UsageError, match=r"no mode loud; .*draft"):
        operate.mode(settings, LEAD, "loud")


def test_what_waits_for_amocrm_is_told_with_the_reason(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings(database_url=database.url)
    now = datetime.now(UTC)
    said = incoming("hello")
    with database.writes.begin() as connection:
        store(connection, [Received(said, read_delivery(said, now), now)])
        outages.begin(connection, "payment", "[The] subscription has ended.", now)
    operate.show(settings, None)
    printed = capsys.readouterr().out
    assert "1 question waits until amoCRM takes calls again: [The] subscription has ended." in " ".join(printed.split())

    with database.writes.begin() as connection:
        outages.end(connection)
    operate.show(settings, None)
    assert "waits until" not in capsys.readouterr().out


def test_a_kept_turn_stays_kept_until_amocrm_is_connected(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        server.deliver(incoming("hello"))
        wait_for(server.settled, "the turn closed")
        (turn,) = server.get("/api/turns?state=kept")["turns"]
        refused = command(tmp_path, "retry", str(turn["id"]))
        assert refused.returncode == 1
        assert "otvet connect" in refused.stderr
        answer = post(server, f"/api/turns/{turn['id']}/retry")
        assert (answer.status_code, "otvet connect" in answer.json()["detail"]) == (409, True)
        assert server.get("/api/turns?state=kept")["turns"] == [turn]
        server.end()
    with amocrm_standin() as amo:
        amo.any_lead = True
        with otvet(tmp_path, **connected(amo)):
            wait_for(lambda: amo.notes(LEAD), "the note of the kept reply")


def test_who_wrote_long_before_the_account_was_connected_is_on_the_list(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        server.deliver(incoming("Do you have it in blue?"))
        wait_for(server.settled, "the turn closed")
        server.end()
    with amocrm_standin() as amo:
        amo.any_lead = True
        with otvet(tmp_path, **connected(amo), OTVET_STALE_MINUTES="0.0001") as server:
            (entry,) = server.get("/api/turns?state=person")["turns"]
            assert (entry["lead_id"], entry["state"], entry["reason"]) == (LEAD, "handed", "stale")
            assert amo.notes(LEAD) == []
            wait_for(lambda: amo.tasks(LEAD), "the task")


def test_retry_over_the_api(tmp_path: Path) -> None:
    with amocrm_standin() as amo, otvet(tmp_path, **connected(amo)) as server:
        server.deliver(incoming("hello"))
        wait_for(server.settled, "the turn closed")
        (turn,) = server.get("/api/turns?state=failed")["turns"]
        amo.add_lead(LEAD)
        assert server.api("POST", f"/api/turns/{turn['id']}/retry").status_code == 200
        wait_for(lambda: amo.notes(LEAD), "the note of the second try")
        wait_for(server.settled, "the turn closed")
        assert server.api("POST", f"/api/turns/{turn['id']}/retry").status_code == 409
        assert server.api("GET", "/api/turns?state=nonsense").status_code == 422


@pytest.mark.quick
def test_a_manager_in_the_chat_stops_the_assistant(tmp_path: Path) -> None:
    with otvet(tmp_path, OTVET_QUIET_SECONDS="2") as server:
        server.deliver(incoming("hello", message_id="m-1"))
        server.deliver(outgoing("I am on it", message_id="m-2"))
        wait_for(server.settled, "the turn cancelled")
        (turn,) = server.get("/api/turns?state=cancelled")["turns"]
        assert turn["reason"] == "manager"
        assert server.messages(LEAD, "assistant") == []


@pytest.mark.quick
def test_a_wrong_token_keeps_the_replies_and_says_so(tmp_path: Path) -> None:
    with amocrm_standin() as amo, otvet(tmp_path, **{**connected(amo), "OTVET_AMOCRM_TOKEN": "old"}) as server:
        amo.any_lead = True
        server.deliver(incoming("hello"))
        wait_for(lambda: server.get("/ready")["amocrm"] != "open", "the closed gate in /ready")
        assert "token" in server.get("/ready")["amocrm"]
        calls = len(amo.log)
        server.deliver(incoming("hello", lead_id=2, chat_id="other", message_id="m-2"))
        wait_for(lambda: server.get("/api/turns?state=answering")["turns"], "a reply that waits")
        assert len(amo.log) == calls  # nobody calls through a closed gate


def test_a_new_token_is_tried_as_soon_as_the_server_starts_with_it(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.any_lead = True
        with otvet(tmp_path, **{**connected(amo), "OTVET_AMOCRM_TOKEN": "old"}) as server:
            server.deliver(incoming("hello"))
            wait_for(lambda: server.get("/ready")["amocrm"] != "open", "the closed gate in /ready")
        with otvet(tmp_path, **connected(amo)) as server:
            wait_for(lambda: amo.notes(LEAD), "the reply that waited for a token that works")
            wait_for(server.settled, "the turn closed")


def post(server: Otvet, path: str) -> httpx2.Response:
    return server.api("POST", path)


def test_a_pause_says_how_long_it_lasts(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        server.deliver(incoming("hello"))
        pause = f"/api/conversations/{LEAD}/pause"
        assert post(server, pause).json() == {"lead_id": LEAD, "paused": True, "paused_until": "until it is resumed"}
        (shown,) = server.get("/api/conversations")["conversations"]
        assert (shown["paused"], shown["paused_until"]) == (True, "until it is resumed")
        until = post(server, f"{pause}?minutes=60").json()["paused_until"]
        assert datetime.now(UTC) < datetime.fromisoformat(until) < datetime.now(UTC) + timedelta(minutes=61)
        post(server, f"/api/conversations/{LEAD}/resume")
        (shown,) = server.get("/api/conversations")["conversations"]
        assert (shown["paused"], shown["paused_until"]) == (False, None)


def test_a_pause_of_impossible_length_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        server.deliver(incoming("hello"))
        for minutes in ("1e300", "inf", "nan", "0", "-5"):
            answer = post(server, f"/api/conversations/{LEAD}/pause?minutes={minutes}")
            assert (answer.status_code, answer.json()["detail"][:7]) == (422, "a pause")
        refused = command(tmp_path, "pause", str(LEAD), "--minutes", "1e300")
        assert refused.returncode == 2
        assert refused.stderr.startswith("a pause")
        assert server.get("/api/conversations")["conversations"][0]["paused"] is False


def test_a_retry_names_the_turn_that_answers(tmp_path: Path) -> None:
    with otvet(tmp_path, OTVET_QUIET_SECONDS="30") as server:
        server.deliver(incoming("hello", message_id="m-1"))
        server.deliver(outgoing("I am on it", message_id="m-2"))
        server.deliver(incoming("and how much?", message_id="m-3", created_at=1895482791))
        (cancelled,) = server.get("/api/turns?state=cancelled")["turns"]
        (waiting,) = server.get("/api/turns?state=waiting")["turns"]
        answer = post(server, f"/api/turns/{cancelled['id']}/retry")
        assert answer.json()["turn_id"] == waiting["id"] != cancelled["id"]


def test_an_account_that_is_not_connected_any_more_has_no_gate(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.any_lead = True
        amo.fault(path="/api/*", method="*", status=402, times=None)
        with otvet(tmp_path, **connected(amo)) as server:
            server.deliver(incoming("hello"))
            wait_for(lambda: "subscription" in server.get("/ready")["amocrm"], "the closed gate in /ready")
        with otvet(tmp_path) as server:
            assert server.get("/ready")["amocrm"] == "not connected"
        with otvet(tmp_path, **connected(amo)) as server:
            assert server.get("/ready")["amocrm"] == "open"
