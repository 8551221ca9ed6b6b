"""The search on the pages: found words are marked, a hit opens the chat at its message, and back leads to the list."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from otvet.screens import inbox
from tests.browsing import add_user, visit
from tests.running import Otvet, otvet, wait_for
from tests.standins.sender import incoming


def wrote(server: Otvet, text: str, number: int, lead: int = 77, **about: object) -> None:
    names = {"message_id": f"m-{lead}-{number}", "lead_id": lead, "chat_id": f"chat-{lead}", "contact_id": lead}
    server.deliver(incoming(text, created_at=1695482791 + number, **(names | about)))  # type: ignore[arg-type]


def finds(server: Otvet, text: str, count: int) -> None:
    """Wait for the job that makes the index."""
    wait_for(lambda: len(server.get("/api/search", params={"q": text})["chats"]) == count, f"{count} chats with {text}")


def test_a_search_marks_words_and_opens_the_chat_at_the_hit(tmp_path: Path, browser: Browser) -> None:
    with otvet(tmp_path, OTVET_MODE="off") as server:
        add_user(server)
        wrote(server, "Сколько стоит <b>доставка</b> в Тверь?", 0)
        for number in range(1, 65):
            wrote(server, f"Ещё вопрос {number}", number)
        wrote(server, "А доставки бывают? мерино́с", 1, lead=78, origin="whatsapp")
        wrote(server, "Здравствуйте", 1, lead=79, author_name="Доставкина Ольга")
        finds(server, "доставкой", 2)
        with visit(browser, server) as olga:
            page = olga.sign_in().page
            page.keyboard.press("/")
            page.keyboard.type("доставкой")
            page.keyboard.press("Enter")
            expect(page.locator(".row")).to_have_count(2)
            expect(page.locator(".row mark")).to_have_text(["доставки", "доставка"])
            expect(page.locator(".row").last).to_contain_text("<b>доставка</b> в Тверь?")
            page.locator(".row").last.click()
            hit = page.locator(".bubble", has_text="Тверь")
            expect(hit).to_be_in_viewport()
            expect(hit.locator("mark")).to_have_text("доставка")
            expect(page.locator(".row[aria-current]")).to_contain_text("deal 77")
            # What comes in does not take it out of sight.
            wrote(server, "И последний вопрос", 500)
            expect(page.locator(".bubble", has_text="И последний вопрос")).to_have_count(1, timeout=30_000)
            expect(hit).to_be_in_viewport()
            expect(page.locator(".row[aria-current]")).to_contain_text("deal 77")
            page.go_back()
            expect(page.locator("#q")).to_have_value("доставкой")
            expect(page.locator(".row mark")).to_have_count(2)
            page.locator(".channels").get_by_role("link", name="whatsapp").click()
            expect(page.locator(".row")).to_have_count(1)
            page.get_by_role("link", name="Show all channels").click()
            expect(page.locator(".row")).to_have_count(2)
            page.fill("#q", "доставкина")
            page.keyboard.press("Enter")
            expect(page.locator(".row")).to_contain_text(["Доставкина Ольга"])
            page.fill("#q", '"AND* -<script>')
            page.keyboard.press("Enter")
            expect(page.locator(".empty").first).to_contain_text("Nothing was found")


def test_the_list_is_filtered_by_channel_and_goes_on_page_by_page(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "PAGE", 2)  # the server is a copy of this process
    with otvet(tmp_path, OTVET_MODE="off") as server:
        add_user(server)
        for lead in range(1, 6):
            wrote(server, "Здравствуйте", 1, lead=lead, origin="telegram" if lead % 2 else "whatsapp")
        with visit(browser, server) as olga:
            page = olga.sign_in().page
            page.goto("/?box=all")
            seen = []
            while True:
                seen += page.locator(".row").all_inner_texts()
                if not page.locator("#rows a.more").count():
                    break
                page.locator("#rows a.more").click()
            assert len(seen) == 5
            page.goto("/?box=all&channel=whatsapp")
            expect(page.locator(".row")).to_have_count(2)


@pytest.mark.quick
def test_the_api_finds_too(tmp_path: Path) -> None:
    with otvet(tmp_path, OTVET_MODE="off") as server:
        wrote(server, "Сколько стоит доставка?", 0)
        finds(server, "доставкой", 1)
        found = server.get("/api/search", params={"q": "доставкой"})
        (one,) = found["chats"]
        assert one["lead_id"] == 77
        assert one["words"] == "Сколько стоит [доставка]?"
        assert isinstance(one["message_id"], int)
        assert found["next"] is None


def test_a_killed_index_job_goes_on_where_it_was(tmp_path: Path) -> None:
    with otvet(tmp_path, OTVET_MODE="off") as server:
        wrote(server, "Первая доставка", 0)
        finds(server, "доставка", 1)
        wrote(server, "Вторая доставка", 1, lead=78)
        server.kill()
    with otvet(tmp_path, OTVET_MODE="off") as server:
        finds(server, "доставка", 2)
