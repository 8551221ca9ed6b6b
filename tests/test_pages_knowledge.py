"""The trial chat and the knowledge pages: in a real browser what must be seen there, over HTTP what must be refused."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from otvet.users.users import Role
from tests.browsing import PASSWORD, add_user, first_code, stored, visit
from tests.running import Otvet, command, otvet, wait_for
from tests.standins.amocrm import amocrm_standin
from tests.standins.openai import openai_standin
from tests.standins.sender import incoming
from tests.test_end_to_end import connected

DELIVERY = "# Сколько стоит доставка\n\nДоставка по городу стоит {price} рублей.\n"
OPEN_TURNS = "SELECT count(*) FROM turns WHERE state IN ('waiting', 'answering', 'sending')"
HOSTILE = "<script>alert(1)</script><b hx-get='/'>x</b>"


def knowledge(folder: Path, **files: str) -> Path:
    made = folder / "knowledge"
    made.mkdir(exist_ok=True)
    for name, text in files.items():
        (made / f"{name}.md").write_text(text, encoding="utf-8")
    return made


class Signed:
    """A user's browser without a window."""

    def __init__(self, server: Otvet, name: str = "Olga") -> None:
        origin = {"origin": server.url}
        self._http = httpx2.Client(base_url=server.url, headers=origin, trust_env=False, timeout=30)
        assert self._http.post("/sign-in", data={"name": name, "password": PASSWORD}).status_code == 303
        ((self._csrf,),) = stored(server, "SELECT csrf FROM sessions ORDER BY id DESC LIMIT 1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.close()

    def get(self, path: str) -> httpx2.Response:
        return self._http.get(path)

    def text(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def field(self, path: str, name: str) -> str:
        """A hidden field of a page."""
        found = re.search(rf'name="{name}" value="([^"]*)"', self.text(path))
        assert found, f"no field {name} on {path}"
        return found[1]

    def post(self, path: str, *, files: Any = None, **fields: str) -> httpx2.Response:
        return self._http.post(path, data={"csrf": self._csrf, **fields}, files=files)

    def upload(self, name: str, content: bytes, **fields: str) -> httpx2.Response:
        return self.post("/knowledge/upload", files={"file": (name, content)}, **fields)


@pytest.mark.quick
def test_a_first_visit_leads_to_a_reply_with_its_reasons_beside_it(tmp_path: Path, browser: Browser) -> None:
    knowledge(tmp_path, delivery=DELIVERY.format(price=300))
    with otvet(tmp_path) as server, visit(browser, server) as first:
        page = first.page
        page.goto(f"/set-up?code={first_code(tmp_path)}")
        page.fill("#name", "Olga")
        page.fill("#password", PASSWORD)
        page.click("button.primary")
        expect(page).to_have_url(f"{server.url}/try")
        page.get_by_role("button", name="Сколько стоит доставка?").click()
        expect(page.locator(".bubble.assistant")).to_contain_text("300 рублей")
        steps = page.locator("#steps")
        expect(steps).to_contain_text("delivery.md · Сколько стоит доставка")
        expect(steps).to_contain_text("By the knowledge folder")
        expect(steps).to_contain_text("nothing to doubt")
        expect(steps).to_contain_text("This reply, at once.")
        expect(page.get_by_role("link", name="Open the check-list")).to_have_attribute("href", "/start")
        page.fill("#text", HOSTILE)
        page.press("#text", "Enter")
        expect(page.locator(".bubble.client").last).to_contain_text("<script>alert(1)</script>")
        expect(page.locator("#text")).to_have_value("")
        expect(page.locator(".bubble.assistant")).to_have_count(2)
        page.get_by_role("button", name="Begin anew").click()
        expect(page.locator(".bubble")).to_have_count(0)
        page.goto("/?box=all")
        expect(page.locator(".row")).to_have_count(0)
        assert server.get("/api/stats")["conversations"] == 0
        assert "alert" not in str(stored(server, "SELECT content FROM messages"))
        assert "0 trial chats erased" in command(tmp_path, "simulate", "--clean").stdout


def test_a_file_is_uploaded_and_the_answer_changes(tmp_path: Path, browser: Browser) -> None:
    knowledge(tmp_path, delivery=DELIVERY.format(price=300))
    newer = tmp_path / "delivery.md"
    newer.write_text(DELIVERY.format(price=450), encoding="utf-8")
    with otvet(tmp_path) as server:
        add_user(server)
        with visit(browser, server) as olga:
            page = olga.sign_in().page
            page.goto("/knowledge")
            page.set_input_files("#file", newer)
            page.get_by_role("checkbox").check()
            page.get_by_role("button", name="Upload").click()
            expect(page.locator("#preview")).to_contain_text("450 рублей")
            page.fill("#text", DELIVERY.format(price=500) + "\n# Парковка\n\nВо дворе.\n")
            expect(page.locator("#preview")).to_contain_text("Парковка")
            page.goto("/try")
            page.fill("#text", "сколько стоит доставка?")
            page.press("#text", "Enter")
            expect(page.locator(".bubble.assistant")).to_contain_text("450 рублей")


def test_a_gap_is_answered_and_tried_on_the_spot(tmp_path: Path, browser: Browser) -> None:
    knowledge(tmp_path, delivery=DELIVERY.format(price=300))
    with otvet(tmp_path) as server:
        add_user(server)
        server.deliver(incoming("А гравировку на кольцах делаете?", lead_id=77))
        server.deliver(incoming("Есть ли у вас матрасы?", lead_id=78, chat_id="other", contact_id=5))
        wait_for(server.settled, "the turns closed")
        with visit(browser, server) as olga:
            page = olga.sign_in().page
            page.goto("/knowledge/gaps")
            gap = page.locator(".gap", has_text="гравировку")
            gap.locator("summary").click()
            gap.get_by_label("Question, as").fill("Делаете ли вы гравировку")
            gap.get_by_label("Answer, word").fill("Да, от 500 ₽.")
            gap.get_by_role("button", name="Save and try").click()
            expect(page.locator("#result")).to_contain_text("answers it now")
            expect(page.locator("#told")).to_contain_text("Да, от 500 ₽.")
            expect(page.locator(".gap")).to_have_count(1)
            page.get_by_role("button", name="Needs no answer").click()
            expect(page.locator(".empty")).to_contain_text("Nothing is missing")
        assert "Делаете ли вы гравировку" in (tmp_path / "knowledge" / "answers.md").read_text()
        assert server.get("/api/gaps")["gaps"] == []
        kept = str(stored(server, "SELECT words FROM closed_gaps"))
        assert "грав" not in kept  # nothing to read of what a client wrote


def test_nothing_of_a_trial_goes_to_a_connected_account(tmp_path: Path) -> None:
    """Neither a note, nor a task for the person who is asked for, nor a look at the made-up deal."""
    knowledge(tmp_path, delivery=DELIVERY.format(price=300))
    with amocrm_standin() as amo, otvet(tmp_path, **connected(amo), OTVET_MODE="off") as server:
        add_user(server)
        with Signed(server) as olga:
            for text in ("Сколько стоит доставка?", "Позовите менеджера!", "Алло?"):
                olga.post("/try", text=text)
                wait_for(lambda: stored(server, OPEN_TURNS) == [(0,)], "the turn closed")  # no number counts it
            shown = olga.text("/try")
        assert "300 рублей" in shown
        assert "Nothing: the assistant is switched off." in shown
        assert "the assistant is paused" in shown  # as for a client who has asked for a person
        amo.add_lead(27754599)
        server.deliver(incoming("Сколько стоит доставка?"))  # the jobs have looked at all when they have seen this one
        wait_for(lambda: any("27754599" in path for path in paths(amo)), "the real deal was read")
        assert [path for path in paths(amo) if re.search(r"9[5-9]\d{7}", path)] == []
        assert amo.notes(27754599) == []


def paths(amo: Any) -> list[str]:
    return [str(one) for one in amo.log]


def test_the_folder_is_changed_only_as_its_editor_saw_it(tmp_path: Path) -> None:
    folder = knowledge(tmp_path, delivery=DELIVERY.format(price=300))
    with otvet(tmp_path) as server:
        add_user(server)
        with Signed(server) as olga:
            begun = olga.field("/knowledge/files/delivery.md", "digest")
            (folder / "delivery.md").write_text(DELIVERY.format(price=350))  # by somebody else
            conflict = olga.post("/knowledge/files/delivery.md", digest=begun, text="# Моё\n\nслово")
            assert conflict.status_code == 409
            assert "слово" in conflict.text
            assert "350 рублей" in conflict.text
            assert "350" in (folder / "delivery.md").read_text()
            seen = olga.field("/knowledge/files/delivery.md", "digest")
            saved = olga.post("/knowledge/files/delivery.md", digest=seen, text="# Моё\r\n\r\nслово")
            assert saved.status_code == 303
            assert (folder / "delivery.md").read_text() == "# Моё\n\nслово"
            assert olga.post("/knowledge/files/delivery.md/delete", digest=seen).status_code == 409
            now = olga.field("/knowledge/files/delivery.md", "digest")
            assert olga.post("/knowledge/files/delivery.md/delete", digest=now).status_code == 303
            assert list(folder.iterdir()) == []
        assert stored(server, "SELECT who, did, what FROM audit WHERE did LIKE 'knowledge%'") == [
            ("Olga", "knowledge-edit", "delivery.md"),
            ("Olga", "knowledge-delete", "delivery.md"),
        ]


def test_an_upload_is_limited_named_safely_and_overwrites_nothing_unasked(tmp_path: Path) -> None:
    folder = knowledge(tmp_path, delivery=DELIVERY.format(price=300))
    with otvet(tmp_path) as server:
        add_user(server)
        with Signed(server) as olga:
            kept = olga.upload("delivery.md", DELIVERY.format(price=1).encode())
            assert kept.headers["location"] == "/knowledge/files/delivery%202.md?was=delivery.md"
            assert "A file delivery.md is there already" in olga.text(kept.headers["location"])
            assert "300" in (folder / "delivery.md").read_text()
            for name in ("../../evil.md", "/etc/evil.md", "..\\evil.md"):
                assert olga.upload(name, b"# a\n\nb", replace="yes").status_code == 303
            for name, content in (("a.zip", b"x"), ("a.exe", b"x"), ("a.md", b"x" * (2 * 1024 * 1024 + 1))):
                assert olga.upload(name, content).status_code == 422
            assert olga.upload("huge.md", b"x" * (5 * 1024 * 1024)).status_code == 413
            assert sorted(file.name for file in folder.iterdir()) == ["delivery 2.md", "delivery.md", "evil.md"]
            assert not (tmp_path / "evil.md").exists()
            olga.upload("page.md", f"# {HOSTILE}\n\n{HOSTILE} {{{{ 7*7 }}}}\n".encode())
            (folder / "<img src=x>.md").write_text("# a\n\nb")
            (folder / "\udcff.md").write_text("# a\n\nb")  # not a name in any alphabet
            for page in ("/knowledge", "/knowledge/files/page.md", "/knowledge/files/%3Cimg%20src%3Dx%3E.md"):
                shown = olga.text(page)
                assert "<script>alert" not in shown
                assert "<b hx-get" not in shown
                assert "<img" not in shown
            (folder / "raw.md").write_bytes(b"\xff\xfe\x00")
            assert "cannot be edited here" in olga.text("/knowledge/files/raw.md")
            for name in ("..%2Fconversations.db", "%2e%2e", "nothing.md", "..%2F..%2Fetc%2Fpasswd"):
                assert olga.get(f"/knowledge/files/{name}").status_code == 404


def test_instructions_have_versions_and_are_tried_before_they_go_live(tmp_path: Path) -> None:
    file = tmp_path / "instructions.md"
    file.write_text("Be brief.\n")
    with openai_standin() as model:
        ai = {"OTVET_OPENAI_BASE_URL": f"{model.url}/v1", "OTVET_OPENAI_MODEL": "m", "OTVET_RESPONDERS": "openai"}
        with otvet(tmp_path, **ai) as server:
            add_user(server)
            with Signed(server) as olga:
                home = "/knowledge/instructions"
                assert "nothing was answered yet" in olga.post(f"{home}/replay", text="x", count="3").text
                server.deliver(incoming("Сколько стоит доставка?"))
                wait_for(server.settled, "the turn closed")
                assert "which may cost money" in olga.text(home)
                asked = len(model.requests)
                model.say("Мы доставляем, конечно.")
                assert olga.post(f"{home}/replay", text="Speak as a poet.", count="3").status_code == 303
                shown = wait_for(lambda: "1 changed" in (text := olga.text(f"{home}/replay")) and text, "it is written")
                assert "Сколько стоит доставка?" in str(shown)
                assert len(model.requests) == asked + 1
                assert "Speak as a poet." in str(model.requests[-1])
                assert file.read_text() == "Be brief.\n"  # not live yet
                digest = olga.field(home, "digest")
                assert olga.post(home, digest=digest, text="Be kind.").status_code == 303
                assert olga.post(home, digest=digest, text="Be late.").status_code == 409
                assert file.read_text() == "Be kind."
                versions = stored(server, "SELECT id, text, who FROM instruction_versions ORDER BY id")
                assert [row[1:] for row in versions] == [("Be brief.\n", ""), ("Be kind.", "Olga")]
                first, second = (row[0] for row in versions)
                difference = olga.text(f"{home}/versions/{second}")
                assert '<p class="gone"><span class="sr">removed:</span>Be brief.</p>' in difference
                digest = olga.field(home, "digest")
                olga.post(f"{home}/versions/{first}/back", digest=digest)
                assert file.read_text() == "Be brief.\n"


def test_without_an_ai_the_instructions_say_that_they_change_nothing(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        with Signed(server) as olga:
            home = "/knowledge/instructions"
            assert "No AI is connected" in olga.text(home)
            assert olga.post(f"{home}/replay", text="x", count="3").status_code == 409


CHANGES = [
    ("/try", Role.MANAGER),
    ("/try/anew", Role.MANAGER),
    ("/knowledge/upload", Role.MANAGER),
    ("/knowledge/new", Role.MANAGER),
    ("/knowledge/preview", Role.MANAGER),
    ("/knowledge/files/delivery.md", Role.MANAGER),
    ("/knowledge/files/delivery.md/delete", Role.MANAGER),
    ("/knowledge/gaps/answer", Role.MANAGER),
    ("/knowledge/gaps/dismiss", Role.MANAGER),
    ("/knowledge/instructions", Role.OWNER),
    ("/knowledge/instructions/replay", Role.OWNER),
    ("/knowledge/instructions/replay/stop", Role.OWNER),
    ("/knowledge/instructions/versions/1/back", Role.OWNER),
]
READ = ("/try", "/knowledge", "/knowledge/files/delivery.md", "/knowledge/gaps", "/knowledge/instructions")


def test_viewers_read_managers_teach_and_owners_instruct(tmp_path: Path) -> None:
    knowledge(tmp_path, delivery=DELIVERY.format(price=300))
    with otvet(tmp_path) as server:
        for role in Role:
            add_user(server, role, role)
        anonymous = httpx2.get(f"{server.url}/knowledge", trust_env=False)
        assert (anonymous.status_code, anonymous.headers["location"]) == (303, "/sign-in?next=/knowledge")
        for role in Role:
            with Signed(server, role) as somebody:
                for page in READ:
                    somebody.text(page)
                allowed = {address for address, needed in CHANGES if role.covers(needed)}
                taken = {
                    address for address, _needed in CHANGES if somebody.post(address, question="?").status_code != 403
                }
                assert taken == allowed


def test_a_form_of_unknown_or_great_length_is_not_read(tmp_path: Path) -> None:
    def in_pieces() -> Iterator[bytes]:
        yield from [b"name=", *[b"x" * 1024] * 1024]

    with otvet(tmp_path) as server:
        add_user(server)
        for content in (in_pieces(), b"name=" + b"x" * 5 * 1024 * 1024):
            answer = httpx2.post(
                f"{server.url}/sign-in", content=content, headers={"origin": server.url}, trust_env=False
            )
            assert answer.status_code == 413
