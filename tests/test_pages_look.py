"""Every page in both themes and on a phone: nothing that axe-core calls serious, nothing wider than the screen."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.browsing import DESKTOP, PHONE, Visit, add_user, visit
from tests.running import Otvet, otvet, wait_for
from tests.standins.sender import incoming

PAGES = (
    "/",
    "/?box=drafts",
    "/?box=all",
    "/?box=all&q=manager",
    "/chats/1",
    "/chats/1/info",
    "/chats/2",
    "/chats/2/replies/2",
    "/try",
    "/start",
    "/knowledge",
    "/knowledge/gaps",
    "/knowledge/instructions",
    "/numbers?days=7",
    "/health",
    "/settings",
    "/settings/amocrm",
    "/settings/notices",
    "/settings/people",
    "/settings/tokens",
    "/settings/audit",
    "/me",
    "/no-such-page",
)
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Otvet]:
    """A shop with a hand-off, an answer and a draft."""
    folder: Path = tmp_path_factory.mktemp("look")
    with otvet(folder, OTVET_OUT_OF_HOURS="answer") as started:
        add_user(started)
        started.deliver(incoming("call a manager please", message_id="m-1", lead_id=101, chat_id="c-1", contact_id=1))
        started.deliver(incoming("hello <b>there</b>", message_id="m-2", lead_id=102, chat_id="c-2", contact_id=2))
        wait_for(started.settled, "the questions closed")
        yield started


def faults(page: Page) -> list[str]:
    """What axe-core calls serious, as "rule: where"."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['target']}" for one in found if one["impact"] in SERIOUS for node in one["nodes"]]


def walked(visitor: Visit) -> Iterator[tuple[str, Page]]:
    for path in PAGES:
        visitor.page.goto(path)
        yield path, visitor.page
        visitor.errors = [error for error in visitor.errors if "404" not in error or path not in error]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(server: Otvet, browser: Browser, dark: bool) -> None:
    with visit(browser, server, width=DESKTOP, dark=dark) as olga:
        olga.page.goto("/sign-in")
        found = {"/sign-in": faults(olga.page)}
        olga.sign_in()
        for path, page in walked(olga):
            found[path] = faults(page)
        assert {path: some for path, some in found.items() if some} == {}


def test_nothing_is_wider_than_a_phone(server: Otvet, browser: Browser) -> None:
    with visit(browser, server, width=PHONE) as olga:
        olga.sign_in()
        wide = {
            path: width
            for path, page in walked(olga)
            if (width := page.evaluate("document.documentElement.scrollWidth")) > PHONE["width"]
        }
        assert wide == {}


def test_every_page_is_readable_without_scripts_and_no_link_is_dead(server: Otvet, browser: Browser) -> None:
    with visit(browser, server, scripts=False) as olga:
        olga.sign_in()
        leads_to: dict[str, str] = {}
        for path, page in walked(olga):
            assert page.locator("main").inner_text().strip(), path
            found = (link.get_attribute("href") or "" for link in page.locator("a[href^='/']").all())
            leads_to |= dict.fromkeys(found, path)
        dead = {
            f"{path} -> {address}": status
            for address, path in leads_to.items()
            if (status := olga.page.request.get(address, headers={"accept": "text/html"}).status) >= 400
        }
        assert dead == {}
