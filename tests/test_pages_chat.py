"""A chat and the drafts in a real browser: what is done there is what clients and colleagues see."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from otvet.amocrm.chat_calls import FIELD_CODE
from otvet.users.users import Role
from tests.browsing import PASSWORD, PHONE, add_user, stored, visit
from tests.running import Otvet, otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.chats import Seen
from tests.standins.openai import OpenAiStandin
from tests.standins.sender import body as events
from tests.standins.sender import incoming, message, outgoing
from tests.test_end_to_end import connected

expect.set_options(timeout=30_000)  # machines are busy

LEAD = 27754599
BOT = 17
_numbers = count(1)


@contextmanager
def shop(folder: Path, model: OpenAiStandin | None = None, **settings: str) -> Iterator[tuple[Otvet, AmoStandin]]:
    """Otvet on a stand-in amoCRM in which a Salesbot brings replies to clients; a model writes them if one is given."""
    with amocrm_standin() as amo:
        amo.add_lead(LEAD)
        amo.rate = 1000
        field = amo.chats.add_bot(BOT)
        amo.chats.fields[field]["code"] = FIELD_CODE
        ways = {"OTVET_REPLY_VIA": "salesbot", "OTVET_SALESBOT_ID": str(BOT), "OTVET_REPLY_NOTE": "no"}
        if model is not None:
            ways |= {"OTVET_OPENAI_BASE_URL": f"{model.url}/v1", "OTVET_OPENAI_MODEL": "m", "OTVET_OPENAI_API_KEY": "k"}
        with otvet(folder, **{**connected(amo), **ways, **settings}) as server:
            add_user(server)
            amo.chats.on_seen = lambda seen: _comes_back(server, seen)
            yield server, amo


def _comes_back(server: Otvet, seen: Seen) -> None:
    """What a client got is reported as an outgoing message of the bot."""
    about = {"message_id": seen.id, "lead_id": seen.lead_id, "chat_id": f"chat-{seen.lead_id}"}
    about |= {"created_at": int(time.time()), "author": {"type": "bot", "name": "SalesBot"}}
    server.deliver(outgoing(seen.text, event="outgoing_message", **about))


def writes(server: Otvet, text: str, lead_id: int = LEAD, **more: Any) -> None:
    """A client writes, in the chat of the deal."""
    number = next(_numbers)
    about = {"message_id": f"m-{number}", "lead_id": lead_id, "chat_id": f"chat-{lead_id}", "contact_id": lead_id + 1}
    server.deliver(incoming(text, **{**about, "created_at": int(time.time()), **more}))


def state_of(server: Otvet, turn_id: int) -> str:
    ((state,),) = stored(server, f"SELECT state FROM turns WHERE id = {turn_id}")
    return str(state)


def chat_of(server: Otvet, lead_id: int = LEAD) -> str:
    ((id_,),) = wait_for(
        lambda: stored(server, f"SELECT id FROM conversations WHERE amocrm_lead_id = {lead_id}"), "a chat"
    )
    return f"/chats/{id_}"


def bubbles(page: Page, sender: str) -> list[str]:
    return page.locator(f".bubble.{sender} .bubble-text").all_inner_texts()


# Writing takes over


def test_what_is_being_written_is_stopped_and_a_person_goes_on(
    tmp_path: Path, browser: Browser, service: OpenAiStandin
) -> None:
    service.thinks_seconds = 3
    service.answer = lambda _body: "What the model says."
    with shop(tmp_path, service) as (server, amo), visit(browser, server) as olga:
        page = olga.sign_in().page
        writes(server, "Do you have blankets?")
        page.goto(chat_of(server))
        expect(page.locator("#being-written")).to_be_visible()
        wait_for(lambda: service.requests, "the model is asked")
        page.get_by_role("button", name="Stop it and take over").click()
        expect(page.locator("#being-written")).to_have_count(0)
        expect(page.get_by_role("button", name="Give back to the assistant")).to_be_visible()
        wait_for(server.settled, "the end of the work")
        page.fill("#say-text", "Olga here: two are left.")
        page.locator("#say-text").press("Control+Enter")
        expect(page.locator(".bubble.manager")).to_contain_text("Olga here: two are left.")
        expect(page.locator(".bubble.manager .bubble-foot")).to_contain_text("Manager · Olga")
        expect(page.locator(".bubble.manager .bubble-foot")).to_contain_text("salesbot")
        assert amo.chats.told(LEAD) == ["Olga here: two are left."]  # and nothing of the model's
        assert stored(server, "SELECT who, did FROM audit WHERE did IN ('pause', 'say') ORDER BY id") == [
            ("Olga", "pause"),
            ("Olga", "say"),
        ]
        # A question that is left to a person closes by writing too.
        page.get_by_role("button", name="Give back to the assistant").click()
        writes(server, "call a manager please")
        expect(page.locator("#left")).to_contain_text("asked for a person")
        page.fill("#say-text", "I am here.")
        page.get_by_role("button", name="Send to the client").click()
        expect(page.locator("#left")).to_have_count(0)
        assert amo.chats.told(LEAD)[-1] == "I am here."


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"OTVET_REPLY_VIA": "note"}, "only become notes"),
        ({"OTVET_REPLY_VIA": "telegram=note, *=salesbot"}, "only become"),
    ],
)
def test_where_nothing_can_be_written_the_page_says_so(
    tmp_path: Path, browser: Browser, settings: dict[str, str], says: str
) -> None:
    with shop(tmp_path, **settings) as (server, amo), visit(browser, server) as olga:
        writes(server, "Do you have blankets?")
        page = olga.sign_in().page
        page.goto(chat_of(server))
        expect(page.locator(".say-not")).to_contain_text(says)
        link = page.locator(".say-not a")
        assert link.get_attribute("href") == f"{amo.url}/leads/detail/{LEAD}"
        token = page.locator("input[name=csrf]").first.get_attribute("value")
        answer = page.request.post(
            f"{chat_of(server)}/say", form={"csrf": token or "", "text": "Hello"}, headers={"origin": server.url}
        )
        assert answer.status == 409
        assert stored(server, "SELECT count(*) FROM messages WHERE sender_type = 'manager'") == [(0,)]


@contextmanager
def signed_in(server: Otvet, name: str = "Olga") -> Iterator[httpx2.Client]:
    """A client of the pages without a browser, signed in."""
    with httpx2.Client(base_url=server.url, trust_env=False, headers={"origin": server.url}, timeout=60) as client:
        client.post("/sign-in", data={"name": name, "password": PASSWORD})
        yield client


def posted(client: httpx2.Client, page: str, path: str, **fields: str) -> httpx2.Response:
    """A form of a page, sent."""
    token = re.search(r'name="csrf" value="([^"]+)"', client.get(page).text)
    assert token
    return client.post(path, data={"csrf": token[1], **fields})


def test_what_was_written_survives_a_kill_and_is_sent_once(tmp_path: Path) -> None:
    with shop(tmp_path, OTVET_MODE="off") as (server, amo):
        writes(server, "Do you have blankets?")
        here = chat_of(server)
        with signed_in(server) as client:
            for text in ("One.", "Two."):
                assert posted(client, here, f"{here}/say", text=text).status_code == 303
        server.kill()
        server.start()
        wait_for(lambda: len(amo.chats.told(LEAD)) == 2 and server.settled(), "both messages")
        assert amo.chats.told(LEAD) == ["One.", "Two."]
        states = stored(server, "SELECT state, way, responder FROM turns WHERE reply IS NOT NULL")
        assert states == [("sent", "salesbot", "person")] * 2
        said = "SELECT content, sender_type FROM messages WHERE sender_type <> 'client' ORDER BY id"
        assert stored(server, said) == [("One.", "manager"), ("Two.", "manager")]


def test_a_question_is_answered_now_though_the_client_may_still_write(tmp_path: Path, service: OpenAiStandin) -> None:
    with shop(tmp_path, service, OTVET_QUIET_SECONDS="600") as (server, amo):
        writes(server, "Do you have blankets?")
        here = chat_of(server)
        with signed_in(server) as client:
            assert "/turns/1/now" in client.get(here).text
            assert posted(client, here, "/turns/1/now").status_code == 303
            wait_for(lambda: amo.chats.told(LEAD), "the answer")
            wait_for(server.settled, "the end")
            late = posted(client, here, "/turns/1/now")
            assert late.status_code == 409
            assert "waits no more" in late.text


# Drafts


@pytest.mark.quick
def test_drafts_are_approved_edited_and_rejected_by_keys_of_a_russian_keyboard(
    tmp_path: Path, browser: Browser, service: OpenAiStandin
) -> None:
    service.answer = lambda _body: "The draft."
    leads = [LEAD + number for number in range(3)]
    with shop(tmp_path, service, OTVET_MODE="draft") as (server, amo), visit(browser, server) as olga:
        for lead in leads:
            amo.add_lead(lead)
            writes(server, "Do you have blankets?", lead)
        wait_for(lambda: stored(server, "SELECT count(*) FROM turns WHERE state = 'draft'") == [(3,)], "three drafts")
        page = olga.sign_in().page
        page.goto("/?box=drafts")
        page.locator(".row").last.click()
        page.wait_for_url("**/chats/*")
        first = page.url

        def press(code: str, key: str) -> None:  # what a Russian layout sends
            page.evaluate(
                "([code, key]) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown',"
                " {code, key, bubbles: true, cancelable: true}))",
                [code, key],
            )

        press("KeyA", "ф")
        page.wait_for_url(lambda url: url != first)
        press("KeyE", "у")
        expect(page.locator("#state .draft-form textarea")).to_be_focused()
        page.locator("#state .draft-form textarea").fill("By hand.")
        press("KeyX", "ч")  # in a field: a letter, and nothing more
        expect(page.locator("#state .draft-form textarea")).to_have_value("By hand.")
        second = page.url
        page.locator("#state .draft-form textarea").press("Control+Enter")
        page.wait_for_url(lambda url: url != second)
        press("KeyX", "ч")
        page.wait_for_url("**/?box=drafts")
        expect(page.locator(".rows .empty")).to_contain_text("No draft waits")
        wait_for(server.settled, "the drafts are sent")
        assert sorted(seen.text for seen in amo.chats.seen) == ["By hand.", "The draft."]
        assert stored(server, "SELECT did FROM audit WHERE did IN ('approve', 'edit', 'reject') ORDER BY id") == [
            ("approve",),
            ("edit",),
            ("reject",),
        ]


def test_two_approve_the_same_draft_and_a_client_writes_on_while_one_edits(
    tmp_path: Path, browser: Browser, service: OpenAiStandin
) -> None:
    service.answer = lambda _body: "The draft."
    with (
        shop(tmp_path, service, OTVET_MODE="draft") as (server, amo),
        visit(browser, server) as olga,
        visit(browser, server) as ivan,
    ):
        add_user(server, "Ivan", Role.MANAGER)
        writes(server, "Do you have blankets?")
        here = chat_of(server)
        for one, name in ((olga, "Olga"), (ivan, "Ivan")):
            one.sign_in(name).page.goto(here)
            expect(one.page.locator(".draft-form textarea:visible")).to_have_value("The draft.")
        # Ivan edits; Olga's page is quicker. His stream is held, so that his form is still there.
        ivan.page.route("**/live/**", lambda route: route.abort())
        ivan.page.reload()
        ivan.page.locator(".draft-form textarea:visible").fill("Ivan's own text.")
        olga.page.get_by_role("button", name="Approve and send").click()
        expect(olga.page.locator(".bubble.assistant:not(.draft)")).to_contain_text("The draft.")
        ivan.page.get_by_role("button", name="Approve and send").click()
        expect(ivan.page.get_by_role("alert")).to_contain_text("Olga has sent this draft already")
        expect(ivan.page.locator("#kept-text")).to_have_value("Ivan's own text.")
        expect(ivan.page).to_have_url(f"{server.url}{here}?box=person")
        assert amo.chats.told(LEAD) == ["The draft."]
        ivan.page.unroute("**/live/**")

        # The client writes on while Olga edits the next draft.
        writes(server, "And how much?")
        area = olga.page.locator("#state .draft-form textarea")
        expect(area).to_have_value("The draft.")
        area.fill("Olga's careful words")
        olga.page.keyboard.press("ArrowLeft")
        writes(server, "In blue, please")
        kept = olga.page.locator("#kept-text")
        expect(kept).to_have_value("Olga's careful words")
        expect(kept).to_be_focused()
        expect(olga.page.locator("#kept")).to_contain_text("the client has written on")
        expect(olga.page.locator("#state .draft-form textarea")).to_have_value("The draft.")  # the new one
        olga.page.get_by_role("button", name="Send it as your own words").click()
        expect(olga.page.locator(".bubble.manager")).to_contain_text("Olga's careful words")
        wait_for(server.settled, "all is sent")
        assert amo.chats.told(LEAD) == ["The draft.", "Olga's careful words"]
        ivan.errors.clear()  # Chromium notes the stream that was held and the answer of 409


def test_a_reply_is_suggested_where_the_assistant_is_off_and_written_anew(
    tmp_path: Path, browser: Browser, service: OpenAiStandin
) -> None:
    said = iter(["First try.", "Second try."])
    service.answer = lambda _body: next(said)
    with shop(tmp_path, service, OTVET_MODE="off") as (server, amo), visit(browser, server) as olga:
        page = olga.sign_in().page
        writes(server, "Do you have blankets?")
        wait_for(server.settled, "nothing is done")
        page.goto(chat_of(server))
        page.get_by_role("button", name="Suggest a reply").click()
        expect(page.locator("#state .draft-form textarea")).to_have_value("First try.")
        page.get_by_role("button", name="Write it anew").click()
        expect(page.locator("#state .draft-form textarea")).to_have_value("Second try.")
        assert amo.chats.seen == []
        page.get_by_role("button", name="Approve and send").click()
        expect(page.locator(".bubble.assistant:not(.draft)")).to_contain_text("Second try.")
        wait_for(server.settled, "it is sent")
        assert amo.chats.told(LEAD) == ["Second try."]


# How a reply came about, and what is done about it


def test_a_reply_unfolds_is_rated_and_corrected_and_the_client_erased(
    tmp_path: Path, browser: Browser, service: OpenAiStandin
) -> None:
    folder = tmp_path / "knowledge"
    folder.mkdir()
    (folder / "shop.md").write_text("## Do you have blankets\n\nYes, of wool.\n", "utf-8")
    service.answer = lambda _body: "Yes, of wool."
    with shop(tmp_path, service) as (server, amo), visit(browser, server) as olga:
        page = olga.sign_in().page
        writes(server, "Do you have blankets?")
        wait_for(server.settled, "an answer")
        here = chat_of(server)
        page.goto(here)
        page.get_by_text("How it came about").click()
        made = page.locator(".made-body")
        for words in (
            "the AI model",
            "m-0613",
            "Do you have blankets",
            "shop.md",
            "128",
            "given 120, written 8",
            "nothing doubtful",
            "sent to the client's chat (salesbot)",
            "wrote a reply",
            "it came back",
        ):
            expect(made).to_contain_text(words)
        made.get_by_label("What is wrong with it?").fill("Linen too")
        made.get_by_role("button", name="A bad reply").click()
        expect(page.get_by_role("status").first).to_contain_text("noted")
        page.get_by_text("How it came about").click()
        expect(made).to_contain_text("Olga: Linen too")
        made.get_by_text("Correct it").click()
        made.get_by_label("The right reply").fill("Yes, of wool and of linen.")
        made.get_by_label("Keep it as knowledge").check()
        made.get_by_role("button", name="Correct").click()
        expect(page.get_by_role("status").first).to_contain_text("answers.md")
        expect(page.locator(".bubble.manager")).to_contain_text("Yes, of wool and of linen.")
        wait_for(lambda: amo.chats.told(LEAD) == ["Yes, of wool.", "Yes, of wool and of linen."], "the correction")
        kept = (folder / "answers.md").read_text("utf-8")
        assert kept == "# Do you have blankets?\n\nYes, of wool and of linen.\n"

        # The chat as files
        page.goto(f"{here}/info")
        with page.expect_download() as got:
            page.get_by_role("link", name="JSON").click()
        told = json.loads(Path(got.value.path()).read_text("utf-8"))
        assert [one["sender"] for one in told["messages"]] == ["client", "assistant", "manager"]
        assert told["messages"][1]["good"] is False
        assert told["messages"][2]["name"] == "Olga"
        with page.expect_download() as got:
            page.get_by_role("link", name="Markdown").click()
        text = Path(got.value.path()).read_text("utf-8")
        assert text.startswith("# Client 1\n")
        assert "> Yes, of wool and of linen." in text

        # Erasing asks for the name
        page.get_by_role("link", name="Erase the client").click()
        page.fill("#erase-name", "Somebody else")
        page.get_by_role("button", name="Erase for good").click()
        expect(page.get_by_role("alert")).to_contain_text("not the name")
        olga.errors.clear()  # Chromium notes each answer of 409
        page.fill("#erase-name", "client 1")
        page.get_by_role("button", name="Erase for good").click()
        page.wait_for_url("**/?box=all")
        assert stored(server, "SELECT count(*) FROM ratings") == [(0,)]
        assert stored(server, "SELECT DISTINCT content FROM messages") == [("",)]
        words = ("Client 1", "wool", "Linen")
        assert not [row for row in stored(server, "SELECT * FROM audit") if any(word in str(row) for word in words)]


def test_a_viewer_changes_nothing_and_a_manager_erases_nobody(tmp_path: Path) -> None:
    with shop(tmp_path) as (server, _amo):
        writes(server, "Do you have blankets?")
        wait_for(server.settled, "an answer")
        here = chat_of(server)
        for name, role in (("Vera", Role.VIEWER), ("Ivan", Role.MANAGER)):
            add_user(server, name, role)
            with signed_in(server, name) as client:
                refused = 403 if role == Role.VIEWER else None
                for path in (f"{here}/say", "/turns/1/now", "/turns/1/suggest", "/turns/1/anew", "/turns/1/correct"):
                    assert client.post(path, data={"text": "x"}).status_code == 403, path  # without a form's token
                assert client.get(f"{here}/erase").status_code == 403
                assert client.get(f"{here}/export.json").status_code == 200
                page = client.get(here).text
                assert ("/say" in page) == (refused is None)
                assert "/erase" not in page


# Live


def test_nothing_is_missing_or_doubled_after_a_cut_a_hidden_tab_and_a_restart(tmp_path: Path, browser: Browser) -> None:
    with otvet(tmp_path, OTVET_MODE="off") as server:
        add_user(server)
        port = server.url.rpartition(":")[2]
        for number in range(70):
            writes(server, f"Number {number}")
        with visit(browser, server) as olga:
            page = olga.sign_in().page
            page.goto(f"{chat_of(server)}?box=all")
            expect(page.locator(".bubble")).to_have_count(60)
            page.evaluate("document.querySelector('#scroll').scrollTop = 300")
            page.wait_for_function("document.querySelector('#scroll').scrollTop === 300")
            page.fill("#q", "typed")
            page.evaluate(
                "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
                "document.dispatchEvent(new Event('visibilitychange'))"
            )
            writes(server, "In a hidden tab")
            expect(page.locator("#log")).to_contain_text("In a hidden tab")
            server.kill()
            server.environment["OTVET_PORT"] = port
            server.start()
            writes(server, "After the restart")
            expect(page.locator("#log")).to_contain_text("After the restart")
            writes(server, "call a manager please", OTHER)
            expect(page).to_have_title("Client 1 · All · Otvet")
            page.evaluate(
                "Object.defineProperty(document, 'hidden', {value: false, configurable: true});"
                "document.dispatchEvent(new Event('visibilitychange'))"
            )
            writes(server, "The last one")
            expect(page.locator("#log")).to_contain_text("The last one")
            said = bubbles(page, "client")
            assert said == [f"Number {number}" for number in range(10, 70)] + [
                "In a hidden tab",
                "After the restart",
                "The last one",
            ]
            assert page.evaluate("document.querySelector('#scroll').scrollTop") == 300
            assert page.input_value("#q") == "typed"
            expect(page.locator("#q")).to_be_focused()
            # Earlier messages, without moving what is read
            page.evaluate("document.querySelector('#scroll').scrollTop = 0")
            top = "document.querySelector('#message-11').getBoundingClientRect().top"
            before = page.evaluate(top)
            page.get_by_role("link", name="Earlier messages").evaluate("one => one.click()")
            expect(page.locator("#message-1")).to_be_attached()
            assert bubbles(page, "client")[0] == "Number 0"
            page.wait_for_function(f"Math.abs({top} - {before}) < 60")  # but for the line that was clicked
            olga.errors.clear()  # Chromium notes the connection that was refused


OTHER = LEAD + 5


# Others' words stay words


HOSTILE = (
    '<script>document.title="taken"</script><img src=x onerror=alert(1)><b hx-get="/sign-out" hx-trigger="load">x</b>'
    '<hx-partial hx-target="#state">x</hx-partial> {{ 7 * 7 }} &lt;i&gt; "\' ]]> --> \u202egpj.exe\u200b'
    " javascript:alert(1)"
)


@pytest.mark.quick
def test_what_others_send_is_never_markup(tmp_path: Path, browser: Browser) -> None:
    with otvet(tmp_path, OTVET_MODE="draft") as server:
        add_user(server)
        file = {"type": "file", "link": "javascript:alert(1)", "file_name": HOSTILE}
        about = {"author_name": HOSTILE, "origin": HOSTILE, "lead_id": LEAD, "chat_id": "chat-h"}
        server.deliver(incoming(HOSTILE, message_id="h-1", **about))
        server.deliver(events(("message", "add", [message("", message_id="h-2", attachment=file, **about)])))
        wait_for(server.settled, "an answer")
        with visit(browser, server) as olga:
            page = olga.sign_in().page
            for address in ("/?box=all", chat_of(server), f"{chat_of(server)}/info", f"{chat_of(server)}/erase"):
                page.goto(address)
                page.wait_for_load_state("load")
                shown = page.locator("main").inner_text()
                assert "<script>" in shown
                assert "{{ 7 * 7 }}" in shown
                assert not set(shown) & set("\u202e\u200b")
                assert page.locator("main :is(script, img, [onerror], hx-partial, [hx-get='/sign-out'])").count() == 0
                assert page.locator("a[href^='javascript:' i]").count() == 0
                assert "taken" not in page.title().replace(HOSTILE, "")[:5]
            page.goto(chat_of(server))
            server.deliver(incoming(HOSTILE, message_id="h-3", **about))  # and as it comes live
            expect(page.locator(".bubble.client")).to_have_count(3)
            assert page.locator("main :is(script, img, [onerror], hx-partial, [hx-get='/sign-out'])").count() == 0
            if (made := page.get_by_text("How it came about")).count():
                made.first.click()
                expect(page.locator(".made-body dl").first).to_be_visible()


# Keys


def test_keys_move_open_and_act_are_shown_and_can_be_switched_off(tmp_path: Path, browser: Browser) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        for number in range(3):
            writes(server, "call a manager please", LEAD + number)
        wait_for(lambda: stored(server, "SELECT count(*) FROM handoffs") == [(3,)], "three hand-offs")
        with visit(browser, server) as olga:
            page = olga.sign_in().page
            rows = page.locator(".row")
            expect(rows).to_have_count(3)
            page.keyboard.press("j")
            page.keyboard.press("j")
            expect(rows.nth(1)).to_be_focused()
            page.keyboard.press("k")
            expect(rows.nth(0)).to_be_focused()
            page.keyboard.press("Enter")
            page.wait_for_url("**/chats/*")
            opened = page.url.partition("?")[0]
            page.keyboard.press("u")
            page.wait_for_url(lambda url: "/chats/" in url and not url.startswith(opened))
            page.keyboard.press("t")  # the client asked for a person, so the assistant was silent already
            expect(page.get_by_role("button", name="Take over")).to_be_visible()
            page.keyboard.press("t")
            expect(page.get_by_role("button", name="Give back to the assistant")).to_be_visible()
            for button in page.locator("[data-key]:visible").all():
                key = button.get_attribute("data-key") or ""
                beside = button.locator("xpath=ancestor-or-self::*[self::form or self::a or self::p][1]").inner_text()
                assert key.split()[-1] in beside, key
            page.keyboard.press("/")
            expect(page.locator("#q")).to_be_focused()
            page.keyboard.press("Escape")
            page.keyboard.press("Shift+Slash")
            expect(page.locator("#keys")).to_be_visible()
            page.keyboard.press("Escape")
            page.keyboard.press("g")
            page.keyboard.press("c")
            page.wait_for_url(f"{server.url}/")
            switched = "UPDATE users SET shortcuts = 0"
            _write(server, switched)
            page.reload()
            page.keyboard.press("j")
            expect(page.locator(".row:focus")).to_have_count(0)
            page.keyboard.press("/")
            expect(page.locator("#q")).not_to_be_focused()


def _write(server: Otvet, statement: str) -> None:
    with sqlite3.connect(server.folder / "conversations.db") as connection:
        connection.execute(statement)


# Phone, and no scripts


def test_on_a_phone_list_chat_and_information_stand_alone(tmp_path: Path, browser: Browser) -> None:
    with shop(tmp_path, OTVET_MODE="off") as (server, _amo), visit(browser, server, width=PHONE) as olga:
        for number in range(5):
            writes(server, f"A long word: {'x' * 80} {number}", LEAD + number)
        page = olga.sign_in().page
        wide = "document.documentElement.scrollWidth"
        here = chat_of(server)
        for address, shown, hidden in (
            ("/?box=all", ".list", ".chat"),
            (here, ".chat", ".list"),
            (f"{here}/info", ".info", ".chat"),
            (f"{here}/erase", ".panel", ".list"),
        ):
            page.goto(address)
            expect(page.locator(shown).first).to_be_visible()
            expect(page.locator(f"{hidden}:visible")).to_have_count(0)
            assert page.evaluate(wide) <= 360, address
        page.goto("/?box=all")
        page.locator(".row").last.click()
        page.get_by_role("link", name="About the client").click()
        page.wait_for_url("**/info*")
        page.get_by_role("link", name="Back to the chat").click()
        page.get_by_role("link", name="Back to the list").click()
        page.wait_for_url("**/?box=all")


def test_without_scripts_all_can_be_read_and_done(tmp_path: Path, browser: Browser) -> None:
    with shop(tmp_path, OTVET_MODE="off") as (server, amo), visit(browser, server, scripts=False) as olga:
        for number in range(65):
            writes(server, f"Number {number}")
        page = olga.sign_in().page
        page.goto(chat_of(server))
        page.get_by_role("link", name="Earlier messages").click()
        expect(page.locator(".bubble").first).to_contain_text("Number 0")
        expect(page.get_by_role("navigation")).to_be_visible()
        page.get_by_role("link", name="Back to the chat").click()
        page.fill("#say-text", "Written without scripts.")
        page.get_by_role("button", name="Send to the client").click()
        wait_for(lambda: amo.chats.told(LEAD) == ["Written without scripts."], "the message")
        page.reload()
        page.get_by_text("How it came about").click()
        page.get_by_role("link", name="Show").click()
        expect(page.get_by_role("heading", name="How it came about")).to_be_visible()
