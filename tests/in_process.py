"""The web application in the test's own process, on a clock that the test moves. No engine runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from starlette.types import ASGIApp

from otvet.app.service import Service
from otvet.app.wiring import wire
from otvet.settings.loading import load_settings
from otvet.users import users
from otvet.users.users import Role
from otvet.web.application import create
from tests.browsing import PASSWORD
from tests.clocks import FakeClock

HOST = "otvet.test"
ORIGIN = f"http://{HOST}"


class Inside:
    """A service whose pages and API are called as functions."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.application: ASGIApp = create(service)

    def browser(self, address: str = "203.0.113.5", origin: str = ORIGIN, **headers: str) -> httpx2.AsyncClient:
        """A browser of its own, at this address; its forms come from a page at ``origin``."""
        transport = httpx2.ASGITransport(self.application, client=(address, 50000))
        return httpx2.AsyncClient(transport=transport, base_url=ORIGIN, headers={"origin": origin, **headers})

    async def add_user(self, name: str = "Olga", role: Role = Role.OWNER) -> int:
        """A user whose password is PASSWORD."""
        hashed, now = users.hashed(PASSWORD), self.service.clock.now()
        return await self.service.database.write(lambda connection: users.add(connection, name, hashed, role, now))


@asynccontextmanager
async def inside(url: str, clock: FakeClock | None = None, **settings: object) -> AsyncIterator[Inside]:
    """Pages and API on the prepared database at ``url``."""
    folder = Path.cwd() / "knowledge"
    service = wire(load_settings(database_url=url, knowledge_dir=folder, **settings), clock or FakeClock())
    service.database.start()
    try:
        yield Inside(service)
    finally:
        await service.database.stop()
        await service.http.aclose()
        await service.amocrm_http.aclose()
        if service.lock:
            service.lock.close()


async def sign_in(browser: httpx2.AsyncClient, name: str = "Olga", password: str = PASSWORD) -> httpx2.Response:
    """What the sign-in answers; the browser keeps the cookie."""
    return await browser.post("/sign-in", data={"name": name, "password": password})
