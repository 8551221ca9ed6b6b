"""The web application: the routes around a service, made anew when settings change."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from otvet import __version__
from otvet.account import consents
from otvet.app.changing import Changing
from otvet.app.service import Service
from otvet.settings import old_names
from otvet.settings.settings import WEBHOOK_PATH
from otvet.web.api import api, probes
from otvet.web.changes import changes
from otvet.web.oauth import ConsentPage
from otvet.web.pages import application as pages
from otvet.web.search import search
from otvet.web.webhook import Webhook
from otvet.widget.door import PATH as SALESBOT_PATH
from otvet.widget.door import SalesbotWebhook


def create(service: Service) -> ASGIApp:
    """Make the application; the service starts and stops with it."""
    return Application(service)


class Application:
    """Hands each request to the routes in force. While settings change, those of before go on storing what comes in."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._routes = routes(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._routes(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """The service's life, as the server tells its begin and its end."""
        await receive()
        changing = Changing(self._service, self._renew)
        try:
            await self._service.start()
        except BaseException as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        changing.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await changing.stop()
        await self._service.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _renew(self) -> None:
        self._routes = routes(self._service)


def routes(service: Service) -> ASGIApp:
    """The routes around the service's parts."""
    # The interactive API pages load scripts from elsewhere; the schema alone is served.
    app = FastAPI(title="Otvet", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.service = service
    app.include_router(probes)
    app.include_router(api)
    app.include_router(changes)
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
