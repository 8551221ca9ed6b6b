"""Take the pictures of the pages for the documents: each page light, dark and on a phone, on a made-up day of a shop.

Run: python -m tools.screenshots [FOLDER]    (needs Chromium; without a folder into docs/pictures)
"""

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page
from tests.browsing import PHONE, add_user, chromium, visit
from tests.running import Cold, Otvet, wait_for
from tests.standins.amocrm import amocrm_standin
from tests.standins.sender import incoming
from tests.test_end_to_end import connected

from otvet.users.users import Role

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "pictures"
WIDE = {"width": 1440, "height": 900}
CLIENTS = (
    (101, "Здравствуйте! Сколько стоит доставка по Москве?", "telegram"),
    (102, "Есть ли плед из мериноса в сером цвете?", "waba"),
    (103, "Позовите, пожалуйста, менеджера", "telegram"),
    (104, "Вторую неделю жду заказ, это безобразие!", "avito"),
    (105, "Как ухаживать за шерстяным пледом?", "telegram"),
    (106, "А самовывоз есть?", "waba"),
)
PAGES = {
    "chats": "/chats/3?box=person",
    "answered": "/chats/1?box=all",
    "drafts": "/chats/6?box=drafts",
    "try": "/try",
    "start": "/start",
    "knowledge": "/knowledge",
    "gaps": "/knowledge/gaps",
    "numbers": "/numbers?days=7",
    "health": "/health",
    "settings": "/settings",
    "people": "/settings/people",
}
NAMES = ("Анна", "Борис", "Вера", "Глеб", "Дина", "Егор")


def knowledge(folder: Path) -> Path:
    """The made-up shop's files as its own: without the line that keeps an example from clients."""
    folder.mkdir()
    for file in (ROOT / "knowledge").iterdir():
        lines = file.read_text("utf-8").splitlines(keepends=True)
        (folder / file.name).write_text("".join(lines[1:] if "пример" in lines[0] else lines), "utf-8")
    return folder


def a_day(server: Otvet) -> None:
    """Six clients write, each in a deal of their own."""
    for number, (lead, text, channel) in enumerate(CLIENTS):
        about = {"chat_id": f"chat-{lead}", "contact_id": lead, "origin": channel, "author_name": NAMES[number]}
        now = int(time.time())
        server.deliver(incoming(text, message_id=f"m-{lead}", lead_id=lead, created_at=now, **about))
    wait_for(server.settled, "all questions closed")


def a_draft_and_a_trial(page: Page, server: Otvet) -> None:
    """The last client's deal waits for approval of each reply from now on; and Olga tries the assistant herself."""
    page.goto("/chats/6?box=all")
    page.select_option("#mode-of-deal", "draft")
    page.locator("#mode-of-deal").locator("xpath=ancestor::form").locator("button").click()
    lead, _text, channel = CLIENTS[5]
    about = {"chat_id": f"chat-{lead}", "contact_id": lead, "origin": channel, "author_name": NAMES[5]}
    now = int(time.time())
    server.deliver(incoming("Как оплатить заказ?", message_id="m-draft", lead_id=lead, created_at=now, **about))
    wait_for(server.settled, "the draft waits")
    page.goto("/try")
    page.fill("#text", "Сколько стоит доставка за город?")
    page.press("#text", "Enter")
    page.locator(".bubble.assistant").wait_for()


def take(page: Page, folder: Path, kind: str) -> None:
    for name, address in PAGES.items():
        page.goto(address)
        page.wait_for_timeout(300)  # the chart is drawn, the stream has begun
        page.screenshot(path=folder / f"{name}-{kind}.png")


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else KEPT
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, amocrm_standin() as amo, chromium() as browser:
        amo.any_lead = True
        settings = connected(amo) | {
            "OTVET_LANG": "ru",
            "OTVET_KNOWLEDGE_DIR": str(knowledge(Path(place, "knowledge"))),
        }
        server = Cold(Path(place), **settings)
        server.start()
        try:
            add_user(server, "Ольга", Role.OWNER)
            a_day(server)
            with visit(browser, server) as olga:
                a_draft_and_a_trial(olga.sign_in("Ольга").page, server)
            for kind, width, dark in (("light", WIDE, False), ("dark", WIDE, True), ("phone", PHONE, False)):
                with visit(browser, server, width=width, dark=dark) as olga:
                    take(olga.sign_in("Ольга").page, folder, kind)
        finally:
            server.end()


if __name__ == "__main__":
    main()
