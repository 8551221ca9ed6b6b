"""Settings changed in the browser: what holds, what is refused, what is never shown; and the stop everywhere."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from otvet.users.users import Role
from tests.browsing import PASSWORD, add_user, stored, visit
from tests.running import Otvet, otvet, wait_for
from tests.standins.amocrm import AmoStandin, amocrm_standin
from tests.standins.openai import KEY, OpenAiStandin
from tests.standins.sender import incoming

LEAD = 27754599
SECRET_KEY = "sk-" + "never-shown-" * 3


@pytest.fixture
def amo() -> Iterator[AmoStandin]:
    with amocrm_standin() as standin:
        standin.rate = 1000
        standin.add_lead(LEAD)
        yield standin


class Signed:
    """Somebody who is signed in, without a browser."""

    def __init__(self, server: Otvet, name: str = "Olga") -> None:
        self.server = server
        self.http = httpx2.Client(base_url=server.url, trust_env=False, headers={"origin": server.url}, timeout=60)
        assert self.http.post("/sign-in", data={"name": name, "password": PASSWORD}).status_code == 303
        self.csrf = ""

    def get(self, path: str) -> str:
        answer = self.http.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 200, answer.text
        self.csrf = re.findall(r'name="csrf" value="([^"]+)"', answer.text)[0]
        return answer.text

    def post(self, path: str, **fields: str) -> httpx2.Response:
        if not self.csrf:
            self.get("/settings")
        return self.http.post(path, data={"csrf": self.csrf, **fields})


def of_group(html: str, key: str) -> dict[str, str]:
    """What a browser would send of a group's form as it stands."""
    (form,) = re.findall(rf'<form method="post" action="/settings/group/{key}".*?</form>', html, re.DOTALL)
    values = dict(re.findall(r'<input id="set_\w+" name="(\w+)" value="([^"]*)" autocomplete', form))
    values |= dict(re.findall(r'<textarea[^>]* name="(\w+)"[^>]*>([^<]*)</textarea>', form))
    for name, options in re.findall(r'<select id="set_\w+" name="([\w:]+)".*?>(.*?)</select>', form, re.DOTALL):
        values[name] = re.findall(r'value="([^"]*)" selected', options)[0]
    values |= dict(re.findall(r'type="checkbox" id="set_\w+" name="(\w+)" value="(true)" checked', form))
    return values


@pytest.mark.quick
def test_a_changed_setting_holds_without_a_restart_and_says_who_changed_it(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        olga = Signed(server)
        form = of_group(olga.get("/settings"), "says")
        answer = olga.post("/settings/group/says", **form | {"person_phrases": "let me speak to the boss"})
        assert answer.status_code == 303

        # While the parts are made anew, what comes in is stored, and answered by the new rules.
        server.deliver(incoming("let me speak to the boss", message_id="m-1", lead_id=77))
        wait_for(
            lambda: stored(server, "SELECT left_because FROM turns") == [("asked",)], "the new phrase is understood"
        )
        assert server.log.read_text().count("the parts are made anew") == 1
        assert "Olga," in olga.get("/settings")
        assert stored(server, "SELECT who, did, what FROM audit WHERE did = 'set'") == [("Olga", "set", "settings")]
        assert server.get("/ready")["status"] == "ready"


def test_a_value_is_chosen_by_its_name_or_else_written(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        olga = Signed(server)

        def form() -> dict[str, str]:
            return of_group(olga.get("/settings"), "when")

        def kept() -> list[tuple[object, ...]]:
            return stored(server, "SELECT value FROM kept_settings WHERE name = 'out_of_hours'")

        assert form()["chosen:out_of_hours"] == "answer"
        olga.post("/settings/group/when", **form() | {"working_hours": "mon-fri 09:00-18:00"})
        for choice, text, stands in (
            ({"chosen:out_of_hours": "silent"}, {}, [("silent",)]),
            ({"chosen:out_of_hours": ""}, {"out_of_hours": "We open at nine."}, [("We open at nine.",)]),
            ({"chosen:out_of_hours": "answer"}, {}, []),  # the default: nothing need be kept
        ):
            assert olga.post("/settings/group/when", **form() | choice | text).status_code == 303
            assert kept() == stands
            assert form() | choice | text == form()  # and the page shows it so


def test_what_is_wrong_is_refused_with_the_settings_own_sentence_and_changes_nothing(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        olga = Signed(server)
        when, replies = (of_group(olga.get("/settings"), key) for key in ("when", "replies"))
        for group, form, wrong, sentence in [
            ("when", when, {"timezone": "Moscow"}, "give a time zone such as Europe/Moscow"),
            ("when", when, {"replies_a_day": "none"}, "give a whole number"),
            ("when", when, {"mode": "sometimes"}, "give one of: auto, draft, off"),
            ("when", when, {"chosen:out_of_hours": "silent"}, "OTVET_OUT_OF_HOURS needs OTVET_WORKING_HOURS"),
            ("when", when, {"mode": "draft", "working_hours": "always"}, "working"),
            ("replies", replies, {"chosen:reply_via": "salesbot"}, "give the number of the Salesbot"),
            ("replies", replies, {"chosen:reply_via": "", "reply_via": "post"}, "give one of note, salesbot"),
        ]:
            answer = olga.post(f"/settings/group/{group}", **form | wrong)
            assert answer.status_code == 422, wrong
            assert sentence in answer.text, wrong
        assert stored(server, "SELECT * FROM kept_settings") == []
        assert olga.post("/settings/group/nothing").status_code == 404


def test_the_environment_holds_over_what_is_kept_and_the_page_says_so(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        olga = Signed(server)
        form = of_group(olga.get("/settings"), "when")
        assert olga.post("/settings/group/when", **form | {"mode": "draft", "replies_a_day": "7"}).status_code == 303
        server.end()
    with otvet(tmp_path, OTVET_MODE="off") as server:
        olga = Signed(server)
        html = olga.get("/settings")
        assert "set in the environment: OTVET_MODE" in html
        values = of_group(html, "when")
        assert (values["mode"], values["replies_a_day"]) == ("off", "7")
        olga.post("/settings/group/when", **values | {"mode": "auto"})
        assert ("mode", "draft") in stored(server, "SELECT name, value FROM kept_settings")
        server.deliver(incoming("How much is it?", message_id="m-1", lead_id=77))
        wait_for(lambda: stored(server, "SELECT reason FROM turns") == [("off",)], "the environment's mode holds")


def test_a_kept_value_that_cannot_be_used_is_left_out_and_said(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        olga = Signed(server)
        form = of_group(olga.get("/settings"), "when")
        olga.post("/settings/group/when", **form | {"working_hours": "mon-fri 09:00-18:00", "replies_a_day": "7"})
        server.end()
    with server_file(tmp_path) as connection:
        connection.execute("UPDATE kept_settings SET value = 'whenever' WHERE name = 'working_hours'")
        for name, value in (("reply_via", "salesbot"), ("manus_api_key", "not encrypted"), ("port", "80")):
            row = f"SELECT '{name}', '{value}', changed_at, changed_by FROM kept_settings LIMIT 1"
            connection.execute(f"INSERT INTO kept_settings {row}")
    with otvet(tmp_path) as server:
        html = Signed(server).get("/settings")
        assert of_group(html, "when")["replies_a_day"] == "7"
        assert "whenever" in html or "working hours" in html
        assert 'class="setting wrong" id="setting-working_hours"' in html
        assert 'class="setting wrong" id="setting-reply_via"' in html
        assert 'class="setting wrong" id="setting-manus_api_key"' in html
        assert server.log.read_text().count("left out") == 3


def server_file(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "conversations.db")


def test_a_secret_is_encrypted_and_never_shown(tmp_path: Path, service: OpenAiStandin) -> None:
    with otvet(tmp_path) as server:
        add_user(server)
        olga = Signed(server)
        form = of_group(olga.get("/settings"), "writers")
        model = {"openai_base_url": f"{service.url}/v1", "openai_model": "some-model", "openai_api_key": SECRET_KEY}
        assert olga.post("/settings/group/writers", **form | model).status_code == 303
        html = olga.get("/settings")
        assert SECRET_KEY not in html
        assert "set; type to replace it" in html
        everything = (tmp_path / "conversations.db").read_bytes() + (tmp_path / "conversations.db-wal").read_bytes()
        assert SECRET_KEY.encode() not in everything
        assert SECRET_KEY not in server.log.read_text()
        server.deliver(incoming("Do you deliver to Tver?", message_id="m-1", lead_id=77))
        wait_for(lambda: service.requests, "the model is asked with the key that was set")
        assert service.requests[0]["headers"]["authorization"] == f"Bearer {SECRET_KEY}"
        answer = olga.post("/settings/group/writers", **of_group(html, "writers") | {"openai_model": "another"})
        assert answer.status_code == 303
        assert "openai_api_key" in {row[0] for row in stored(server, "SELECT name FROM kept_settings")}
        olga.post(
            "/settings/group/writers", **of_group(olga.get("/settings"), "writers") | {"remove:openai_api_key": "true"}
        )
        assert "openai_api_key" not in {row[0] for row in stored(server, "SELECT name FROM kept_settings")}


def test_only_an_owner_changes_settings_and_a_viewer_stops_nothing(tmp_path: Path) -> None:
    with otvet(tmp_path) as server:
        add_user(server, "Maria", Role.MANAGER)
        add_user(server, "Viktor", Role.VIEWER)
        maria, viktor = Signed(server, "Maria"), Signed(server, "Viktor")
        assert "an owner changes them" in maria.get("/settings")
        assert maria.post("/settings/group/when", mode="off").status_code == 403
        assert viktor.post("/assistant/stop").status_code == 403
        assert stored(server, "SELECT * FROM kept_settings") == []
        assert maria.post("/assistant/stop").status_code == 303
        assert viktor.post("/assistant/go-on").status_code == 403
        assert "Maria stopped it everywhere" in viktor.get("/settings")


def test_a_stop_holds_for_the_reply_that_is_being_written(
    tmp_path: Path, browser: Browser, amo: AmoStandin, service: OpenAiStandin
) -> None:
    service.thinks_seconds = 4
    connected = {
        "OTVET_AMOCRM_BASE_URL": amo.url,
        "OTVET_AMOCRM_TOKEN": amo.token,
        "OTVET_OPENAI_BASE_URL": f"{service.url}/v1",
        "OTVET_OPENAI_MODEL": "some-model",
        "OTVET_OPENAI_API_KEY": KEY,
        "OTVET_MODE": "auto",
    }
    with otvet(tmp_path, **connected) as server:
        add_user(server)
        with visit(browser, server) as olga, visit(browser, server) as other:
            page, elsewhere = olga.sign_in().page, other.sign_in().page
            server.deliver(incoming("Do you deliver to Tver?", message_id="m-1", lead_id=LEAD))
            wait_for(lambda: service.requests, "the reply is being written")
            page.click("#mode-now")
            page.get_by_role("button", name="Stop it everywhere").click()
            expect(page.locator("#mode-now")).to_contain_text("Stopped")
            expect(elsewhere.locator("#mode-now")).to_contain_text("Stopped")
            wait_for(
                lambda: stored(server, "SELECT state, reason FROM turns") == [("handed", "stopped")], "left to staff"
            )
            assert amo.notes(LEAD) == []
            service.thinks_seconds = 0
            page.click("#mode-now")
            page.get_by_role("button", name="Let it work again").click()
            expect(page.locator("#mode-now")).to_contain_text("Answers by itself")
            server.deliver(incoming("And to Tula?", message_id="m-2", lead_id=LEAD))
            wait_for(lambda: amo.notes(LEAD), "it answers again")


def test_another_process_takes_the_change_up_too(tmp_path: Path, prepared_postgres_url: str) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    shared = {"OTVET_DATABASE_URL": prepared_postgres_url, "OTVET_SECRET_KEY": "a key of both processes"}
    with otvet(folders[0], **shared) as one, otvet(folders[1], **shared) as two:
        add_user(one)
        olga = Signed(one)
        form = of_group(olga.get("/settings"), "says")
        assert olga.post("/settings/group/says", **form | {"person_phrases": "to the boss"}).status_code == 303
        known = wait_for(lambda: one.get("/ready")["settings"], "the change is taken up")
        wait_for(lambda: two.get("/ready")["settings"] == known, "and by the other process")
        assert of_group(Signed(two).get("/settings"), "says")["person_phrases"] == "to the boss"
        assert "made anew" in two.log.read_text()
        assert olga.post("/assistant/stop").status_code == 303
        two.deliver(incoming("How much is it?", message_id="m-1", lead_id=77))
        wait_for(lambda: two.get("/api/turns?state=handed")["turns"], "the stop holds in the other process")
        assert two.get("/api/turns?state=handed")["turns"][0]["reason"]
