"""A real browser on the pages: Debian's Chromium, through Playwright. No page may write to its console."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from otvet.storage.database import Database
from otvet.users import users
from otvet.users.users import Role
from tests.running import Otvet

PROGRAM = "/usr/bin/chromium"
# Without these Chromium calls home at every start.
QUIET = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PASSWORD = "correct horse"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(QUIET))
        try:
            yield browser
        finally:
            browser.close()


@cache
def _hashed() -> str:
    return users.hashed(PASSWORD)


def add_user(server: Otvet, name: str = "Olga", role: Role = Role.OWNER) -> None:
    """A user whose password is PASSWORD."""
    database = Database(server.environment.get("OTVET_DATABASE_URL", f"sqlite:///{server.folder}/conversations.db"))
    try:
        with database.writes.begin() as connection:
            users.add(connection, name, _hashed(), role, datetime.now(UTC))
    finally:
        database.close()


def first_code(folder: Path) -> str:
    """The code of the first visit, as the log of the start says it."""
    found = re.search(r"set-up\?code=(\S+)", (folder / "otvet.log").read_text())
    assert found, "the log names no code"
    return found[1]


class Visit:
    """Somebody's browser at a server's pages; ``errors`` is what the console and the scripts said."""

    def __init__(self, browser: Browser, server: Otvet, *, width: dict[str, int], dark: bool, scripts: bool) -> None:
        self.server = server
        self.context = browser.new_context(
            base_url=server.url,
            viewport=width,  # type: ignore[arg-type]
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
        )
        self.context.set_default_timeout(30_000)
        self.errors: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def sign_in(self, name: str = "Olga") -> "Visit":
        self.page.goto("/sign-in")
        self.page.fill("#name", name)
        self.page.fill("#password", PASSWORD)
        self.page.click("button.primary")
        self.page.wait_for_url("**/")
        return self


@contextmanager
def visit(
    browser: Browser, server: Otvet, *, width: dict[str, int] = DESKTOP, dark: bool = False, scripts: bool = True
) -> Iterator[Visit]:
    """A browser of its own; at its end the console must be clean."""
    visitor = Visit(browser, server, width=width, dark=dark, scripts=scripts)
    try:
        yield visitor
        assert visitor.errors == [], visitor.errors
    finally:
        visitor.context.close()


def stored(server: Otvet, query: str) -> list[tuple[object, ...]]:
    """What a query of the server's SQLite file gives."""
    with sqlite3.connect(f"file:{server.folder}/conversations.db?mode=ro", uri=True) as connection:
        return connection.execute(query).fetchall()
