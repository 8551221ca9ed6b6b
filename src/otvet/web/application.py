"""The web application: the routes around a service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp

from otvet import __version__
from otvet.account import consents
from otvet.app.service import Service
from otvet.settings import old_names
from otvet.settings.settings import WEBHOOK_PATH
from otvet.web.api import api, probes
from otvet.web.oauth import ConsentPage
from otvet.web.pages import application as pages
from otvet.web.search import search
from otvet.web.webhook import Webhook
from otvet.widget.door import PATH as SALESBOT_PATH
from otvet.widget.door import SalesbotWebhook


def create(service: Service) -> ASGIApp:
    """Make the application; the service starts and stops with it."""

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
    app.include_router(search)
    app.add_route(consents.PATH, ConsentPage(service.consenting).take, methods=["GET"])
    settings = service.settings
    if settings.amocrm_client_secret and settings.amocrm_base_url:
        bots = SalesbotWebhook(
            service.database,
            service.clock,
            service.inbox,
            service.worker.put,
            service.webhook_secret,
            settings.amocrm_client_secret.get_secret_value(),
            settings.amocrm_base_url,
        )
        app.add_route(SALESBOT_PATH, bots.take, methods=["POST"])
    app.mount("/", pages.create(service))  # last: what is above goes first
    webhook = Webhook(app, WEBHOOK_PATH, service.webhook_secret, service.inbox)
    if (old_path := old_names.webhook_path(old_names.given())) is None:
        return webhook
    return Webhook(webhook, old_path, service.webhook_secret, service.inbox)
