"""``otvet connect`` and the way to the client: what it makes, what it tells to click, and what is missing."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from dotenv import dotenv_values

from tests.running import Otvet, command, otvet, wait_for
from tests.standins.amocrm import AmoStandin
from tests.standins.bot import CLIENT_SECRET, request, token
from tests.standins.sender import incoming

LEAD = 27754599
BOT = 36143


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Otvet]:
    with otvet(tmp_path) as started:
        yield started


def connect(amo: AmoStandin, server: Otvet, *options: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    given = ("--account", amo.url, "--token", amo.token, "--public-url", server.url)
    return command(server.folder, "connect", "--yes", *given, *options, **({"COLUMNS": "400"} | settings))


def said(result: "subprocess.CompletedProcess[str]") -> str:
    return " ".join((result.stdout + result.stderr).split())


def env(server: Otvet) -> dict[str, str | None]:
    return dotenv_values(server.folder / ".env")


def typed(amo: AmoStandin, server: Otvet, *lines: str) -> str:
    """What is on the screen after somebody has typed the answers; the way in is known already."""
    given = ["--account", amo.url, "--token", amo.token, "--public-url", server.url]
    text = "".join(f"{line}\n" for line in lines)
    result = command(server.folder, "connect", *given, typed=text, COLUMNS="400")
    return said(result)


def test_notes_need_nothing(amo: AmoStandin, server: Otvet) -> None:
    result = connect(amo, server)
    assert "✓ Replies as notes in the deal: staff see them" in said(result)
    assert "OTVET_REPLY_VIA" not in env(server)
    assert amo.chats.fields == {}


# salesbot


def test_the_bots_steps_are_given_with_the_number_of_the_field(amo: AmoStandin, server: Otvet) -> None:
    result = connect(amo, server, "--reply-via", "salesbot")
    ((field_id, field),) = amo.chats.fields.items()
    assert field["type"] == "textarea"
    assert re.search(rf"^ +{{{{lead.cf.{field_id}}}}}$", result.stdout, re.MULTILINE)
    assert "Salesbots, and press Create a new bot" in said(result)
    assert "no trigger" in said(result)
    assert "✗ Replies as notes in the deal, until the Salesbot's number is known" in said(result)
    assert "otvet connect --reply-via salesbot --salesbot-id NUMBER" in said(result)
    assert result.returncode == 1
    assert "OTVET_REPLY_VIA" not in env(server)  # the server would not start


def test_from_nothing_to_a_reply_in_the_clients_chat(amo: AmoStandin, server: Otvet) -> None:
    printed = connect(amo, server, "--reply-via", "salesbot").stdout
    field_id = int(re.findall(r"lead\.cf\.(\d+)", printed)[0])
    amo.chats.add_bot(BOT, field_id)  # as a person does, by these steps
    result = connect(amo, server, "--reply-via", "salesbot", "--salesbot-id", str(BOT))
    assert result.returncode == 0, said(result)
    assert f"✓ Replies into the client's chat by the Salesbot {BOT}" in said(result)
    assert {name: env(server)[name] for name in ("OTVET_REPLY_VIA", "OTVET_SALESBOT_ID")} == {
        "OTVET_REPLY_VIA": "salesbot",
        "OTVET_SALESBOT_ID": str(BOT),
    }
    server.end()
    with otvet(server.folder, OTVET_PORT=server.url.rpartition(":")[2]) as started:
        started.deliver(incoming("How much is the delivery?"))
        wait_for(lambda: amo.chats.told(LEAD), "the reply in the chat")
        (server.folder / "knowledge").mkdir()
        (server.folder / "knowledge" / "ours.md").write_text("# Delivery\n\nThe delivery is 300 rubles.\n")
        last = connect(amo, server)
        assert "the reply will come into the chat" in said(last)
        assert "no trigger" not in said(last)  # nothing is left to click
    assert len(amo.chats.fields) == 1


def test_a_bot_that_is_not_there(amo: AmoStandin, server: Otvet) -> None:
    result = connect(amo, server, "--reply-via", "salesbot", "--salesbot-id", "7")
    assert (result.returncode, "✗ Replies amoCRM has no Salesbot 7" in said(result)) == (1, True)
    assert not {"OTVET_REPLY_VIA", "OTVET_SALESBOT_ID"} & env(server).keys()


def test_an_account_that_does_not_tell_of_its_bots(amo: AmoStandin, server: Otvet) -> None:
    amo.chats.has_v4 = False
    result = connect(amo, server, "--reply-via", "salesbot", "--salesbot-id", str(BOT))
    assert (result.returncode, "cannot be seen from here (HTTP 404)" in said(result)) == (0, True)
    assert env(server)["OTVET_SALESBOT_ID"] == str(BOT)


def test_a_bot_that_is_switched_off(amo: AmoStandin, server: Otvet) -> None:
    amo.chats.add_bot(BOT)
    amo.chats.off.add(BOT)
    result = connect(amo, server, "--reply-via", "salesbot", "--salesbot-id", str(BOT))
    assert (result.returncode, "The bot is switched off" in said(result)) == (0, True)


def test_a_field_of_ones_own(amo: AmoStandin, server: Otvet) -> None:
    amo.chats.add_bot(BOT)
    name = "Reply of the assistant (Otvet)"
    amo.chats.fields |= {
        5: {"id": 5, "type": "text", "name": name},
        6: {"id": 6, "type": "textarea", "name": f"{name} "},
        7: {"id": 7, "type": "textarea", "name": "Notes"},
    }
    bot = ("--reply-via", "salesbot", "--salesbot-id", str(BOT))
    assert "lead.cf.6" in said(connect(amo, server, *bot))
    assert len(amo.chats.fields) == 4  # with the bot's; no further one was made


def test_a_field_whose_number_was_set_in_the_version_before(amo: AmoStandin, server: Otvet) -> None:
    amo.chats.add_bot(BOT)
    amo.chats.fields |= {5: {"id": 5, "type": "textarea"}, 6: {"id": 6, "type": "text"}}
    bot = ("--reply-via", "salesbot", "--salesbot-id", str(BOT))
    gone = connect(amo, server, *bot, OTVET_SALESBOT_FIELD_ID="7")
    assert (gone.returncode, "no field 7 in its deals" in said(gone)) == (1, True)
    assert "the field 6 is no text area" in said(connect(amo, server, *bot, OTVET_SALESBOT_FIELD_ID="6"))
    assert "lead.cf.5" in said(connect(amo, server, *bot, OTVET_SALESBOT_FIELD_ID="5"))
    assert "lead.cf.5" in said(connect(amo, server, *bot))  # it was kept
    assert len(amo.chats.fields) == 3  # no further one was made


def test_a_field_that_was_deleted_or_is_another_accounts_is_made_anew(amo: AmoStandin, server: Otvet) -> None:
    amo.chats.add_bot(BOT)
    bot = ("--reply-via", "salesbot", "--salesbot-id", str(BOT))
    connect(amo, server, *bot)
    amo.chats.fields.clear()
    printed = said(connect(amo, server, *bot))
    (field_id,) = amo.chats.fields
    assert f"lead.cf.{field_id}" in printed


def test_a_field_that_may_not_be_made(amo: AmoStandin, server: Otvet) -> None:
    amo.fault(path="/api/v4/leads/custom_fields", method="POST", status=403, times=None)
    result = connect(amo, server, "--reply-via", "salesbot", "--salesbot-id", str(BOT))
    assert (result.returncode, "✗ Replies" in said(result)) == (1, True)
    assert "✓ Webhook" in said(result)  # the rest is done all the same


# widget and talk


def test_the_widgets_step_is_given_and_the_server_knows_its_address(amo: AmoStandin, server: Otvet) -> None:
    result = connect(amo, server, "--reply-via", "widget", "--client-secret", CLIENT_SECRET)
    assert result.returncode == 0, said(result)
    assert CLIENT_SECRET not in said(result)
    assert env(server)["OTVET_AMOCRM_CLIENT_SECRET"] == CLIENT_SECRET
    assert env(server)["OTVET_AMOCRM_TOKEN"] == amo.token
    step: dict[str, Any] = json.JSONDecoder().raw_decode(result.stdout[result.stdout.index("{") :])[0]
    assert step["handler"] == "widget_request"
    assert "{{json.reply}}" in result.stdout
    server.end()
    with otvet(server.folder, OTVET_PORT=server.url.rpartition(":")[2]):
        said_there = request(
            amo.chats.wait(LEAD), "How much is it?", token(entity_id=LEAD, iss=amo.url, exp=time.time() + 300)
        )
        answer = httpx2.post(step["params"]["url"], content=said_there, trust_env=False)
    assert answer.status_code == 200


def test_the_secret_key_may_come_later_than_the_token(amo: AmoStandin, server: Otvet) -> None:
    connect(amo, server)
    way = ("--reply-via", "widget", "--client-secret", CLIENT_SECRET)
    result = command(server.folder, "connect", "--yes", *way, COLUMNS="400")
    assert result.returncode == 0, said(result)
    assert (env(server)["OTVET_AMOCRM_TOKEN"], env(server)["OTVET_AMOCRM_CLIENT_SECRET"]) == (amo.token, CLIENT_SECRET)


def test_a_widget_needs_the_secret_key(amo: AmoStandin, server: Otvet) -> None:
    result = connect(amo, server, "--reply-via", "widget")
    assert (result.returncode, "--client-secret" in result.stderr) == (2, True)
    assert "OTVET_REPLY_VIA" not in env(server)


def test_a_widget_needs_a_public_address(tmp_path: Path, amo: AmoStandin) -> None:
    given = ("--account", amo.url, "--token", amo.token, "--reply-via", "widget", "--client-secret", CLIENT_SECRET)
    result = command(tmp_path, "connect", "--yes", *given, COLUMNS="400")
    assert "✗ Replies amoCRM cannot reach this server" in said(result)


def test_talks_say_what_plan_they_need(amo: AmoStandin, server: Otvet) -> None:
    result = connect(amo, server, "--reply-via", "talk")
    assert "on the plans Pro and Enterprise (500 messages a month)" in said(result)
    assert "not verified" in said(result)  # the stand-in is not Kommo's
    assert env(server)["OTVET_REPLY_VIA"] == "talk"


def test_channels_may_have_different_ways(amo: AmoStandin, server: Otvet) -> None:
    amo.chats.add_bot(BOT)
    via = "telegram=salesbot, waba=talk, *=note"
    result = connect(amo, server, "--reply-via", via, "--salesbot-id", str(BOT))
    assert f"by the Salesbot {BOT}" in said(result)
    assert "Chats API add-on" in said(result)
    assert env(server)["OTVET_REPLY_VIA"] == via


@pytest.mark.quick
def test_a_way_that_there_is_not(amo: AmoStandin, server: Otvet) -> None:
    result = connect(amo, server, "--reply-via", "pigeon")
    assert (result.returncode, "OTVET_REPLY_VIA" in result.stderr) == (1, True)
    assert amo.log == []


# Typed


def test_the_bot_is_chosen_from_the_accounts_own(amo: AmoStandin, server: Otvet) -> None:
    amo.chats.add_bot(BOT)
    printed = typed(amo, server, "9", "2", "", "many", "7", str(BOT))
    assert f"{BOT} Bot {BOT}" in printed
    assert "enter a number from 1 to 4" in printed
    assert "enter a whole number above 0" in printed
    assert "amoCRM has no Salesbot 7" in printed
    assert "✗" not in printed
    assert env(server)["OTVET_REPLY_VIA"] == "salesbot"
    assert "How are replies" not in typed(amo, server)  # it is not asked twice


def test_the_bot_may_come_later(amo: AmoStandin, server: Otvet) -> None:
    amo.chats.has_v4 = False
    printed = typed(amo, server, "2", "", "")
    assert "read data-id" in printed
    assert "OTVET_REPLY_VIA" not in env(server)
    assert env(server)["OTVET_AMOCRM_TOKEN"] == amo.token


def test_what_was_seen_to_work_is_kept_when_the_dialogue_is_broken_off(amo: AmoStandin, server: Otvet) -> None:
    typed(amo, server, "2")
    assert env(server)["OTVET_AMOCRM_TOKEN"] == amo.token
