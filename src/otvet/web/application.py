"""The web application: routes put together around a service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

from otvet import __version__
from otvet.app import Service
from otvet.web.api import api, probes
from otvet.web.webhook import Webhook


def create(service: Service) -> ASGIApp:
    """Everything over HTTP; the service starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    # The interactive API pages load scripts from elsewhere; the schema alone is served.
    app = FastAPI(title="Otvet", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service
    app.include_router(probes)
    app.include_router(api)
    return Webhook(app, service.settings.webhook_path, service.webhook_secret, service.inbox)
