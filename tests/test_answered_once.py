"""The promise: what got a 200 is in the database and is answered once, whenever the process is killed.

The stand-in amoCRM is the judge: it knows which notes exist. ``test_kill_matrix`` has the kills at all other moments.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.running import Otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.manus import manus_standin
from tests.standins.sender import incoming
from tests.test_end_to_end import connected
from tests.workflows import kept

LEADS = range(1000, 1005)


def message_ids(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "conversations.db")) as connection:
        rows = connection.execute("SELECT amocrm_message_id FROM messages WHERE sender_type = 'client' ORDER BY id")
        return [row[0] for row in rows]


def ask(server: Otvet, lead: int) -> str:
    """One acknowledged message; gives its id."""
    body = incoming("Сколько стоит доставка?", lead_id=lead, chat_id=f"chat-{lead}", message_id=f"m-{lead}")
    assert server.deliver(body).status_code == 200
    return f"m-{lead}"


def notes(amo: AmoStandin) -> dict[int, int]:
    return {lead: len(amo.notes(lead)) for lead in LEADS}


def test_a_kill_right_after_any_200_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.any_lead = True
        server = Otvet(tmp_path, **connected(amo))
        acknowledged = []
        for lead in LEADS:
            server.start()
            acknowledged.append(ask(server, lead))
            server.kill()
            assert message_ids(tmp_path) == acknowledged
        server.start()
        try:
            wait_for(server.settled, "all turns closed")
        finally:
            server.kill()
        assert notes(amo) == dict.fromkeys(LEADS, 1)


def test_the_workflow_file_may_be_lost(tmp_path: Path) -> None:
    with amocrm_standin() as amo:
        amo.any_lead = True
        server = Otvet(tmp_path, **connected(amo)).start()
        for lead in LEADS:
            ask(server, lead)
        server.kill()
        for file in tmp_path.glob("conversations-workflows.db*"):
            file.unlink()
        server.start()
        try:
            wait_for(server.settled, "all turns closed")
        finally:
            server.kill()
        assert notes(amo) == dict.fromkeys(LEADS, 1)


def test_the_workflow_tables_hold_no_word_of_a_client(tmp_path: Path, database_url: str) -> None:
    with amocrm_standin() as amo, manus_standin() as manus:
        amo.any_lead = True
        server = Otvet(tmp_path, OTVET_DATABASE_URL=database_url, **connected(amo, manus)).start()
        server.deliver(incoming("What does the purple umbrella cost?", lead_id=1000))
        wait_for(server.settled, "the turn closed")
        server.end()
    found = kept(database_url.replace("conversations.db", "conversations-workflows.db"))
    assert "turn-1-" in found
    assert "umbrella" not in found
