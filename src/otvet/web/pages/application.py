"""The pages as an application of their own, behind the API: every answer carries the content policy."""

from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from otvet.app.service import Service
from otvet.errors import StorageError
from otvet.i18n import N_, _
from otvet.web.pages import (
    acting,
    amocrm,
    audit,
    chat,
    entrance,
    export,
    first_steps,
    gaps,
    health,
    inbox,
    instructions,
    knowledge,
    me,
    notices,
    numbers,
    people,
    settings,
    tokens,
    trial,
)
from otvet.web.pages.rendering import STATIC, asset, page
from otvet.web.pages.signed import GoTo, Refused, session_of

NO_PAGE = N_("there is no such page")
NO_DATABASE = N_("the database does not answer right now; try again in a moment")
FOR_EVER = "public, max-age=31536000, immutable"


class Assets(StaticFiles):
    """The files of ``static``. Their addresses change with their content, so a browser may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers["Cache-Control"] = FOR_EVER if scope["query_string"] else "no-cache"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer


def create(service: Service) -> FastAPI:
    """Make the pages."""
    # A redirect to the address without a slash would name the host of the request, which a proxy may have changed.
    pages = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    pages.state.service = service
    pages.mount("/static", Assets(directory=STATIC), name="static")
    of_chats, of_teaching = (inbox, chat, acting, export), (knowledge, gaps, instructions, trial)
    of_account = (first_steps, health, settings, amocrm, notices)
    of_people = (people, tokens, audit, me)
    for part in (entrance, *of_chats, *of_teaching, numbers, *of_account, *of_people):
        pages.include_router(part.router)
    pages.add_route("/manifest.webmanifest", _manifest, methods=["GET"])
    pages.add_exception_handler(GoTo, _go)
    pages.add_exception_handler(Refused, _refused)
    pages.add_exception_handler(HTTPException, _not_found)
    pages.add_exception_handler(StorageError, _no_database)
    return pages


async def _manifest(_request: Request) -> Response:
    """So that a phone can keep the pages as an application."""
    icon = {"src": asset("icon.svg"), "sizes": "any", "type": "image/svg+xml", "purpose": "any"}
    about = {"name": "Otvet", "short_name": "Otvet", "start_url": "/", "display": "standalone", "icons": [icon]}
    return JSONResponse(about, media_type="application/manifest+json")


async def _go(request: Request, error: Any) -> Response:
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"HX-Redirect": error.address})
    return RedirectResponse(error.address, 303)


async def _refused(request: Request, error: Any) -> Response:
    return await _sorry(request, error.status, error.sentence)


async def _not_found(request: Request, error: Any) -> Response:
    if request.url.path.startswith("/api/") or error.status_code == 405:
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
    return await _sorry(request, error.status_code, _(NO_PAGE))


async def _no_database(request: Request, _error: Any) -> Response:
    return page(request, "sorry.html", 503, sentence=_(NO_DATABASE), who=None)


async def _sorry(request: Request, status: int, sentence: str) -> Response:
    if request.headers.get("hx-request"):
        return page(request, "_sorry.html", status, sentence=sentence)
    session = await session_of(request)
    return page(request, "sorry.html", status, sentence=sentence, who=session and session.user)
