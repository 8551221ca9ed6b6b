"""``GET /oauth/amocrm``: amoCRM sends the administrator's browser here after the consent was given or denied."""

from html import escape

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse

from otvet.account.consenting import Consenting
from otvet.account.consents import Answer
from otvet.errors import OtvetError
from otvet.i18n import N_, _, interface_language

log = structlog.get_logger(__name__)

LONGEST = 4096  # characters of a parameter; amoCRM's codes have about a thousand

TITLE = {True: N_("amoCRM is connected"), False: N_("amoCRM is not connected")}
NEXT = N_("You can close this page and go back to where you came from.")
PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="robots" content="noindex">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}</style>
</head><body><h1>{title}</h1><p>{sentence}</p><p>{next}</p></body></html>
"""
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the code stands in this page's address
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
}


class ConsentPage:
    """Takes the answer, and shows a page with the result."""

    def __init__(self, consenting: Consenting) -> None:
        self._consenting = consenting

    async def take(self, request: Request) -> HTMLResponse:
        given = {name: request.query_params.get(name, "")[:LONGEST] for name in ("state", "code", "referer", "error")}
        try:
            answer = await self._consenting.take(**given)
        except OtvetError as error:
            log.error("a consent could not be taken", reason=str(error))
            answer = Answer(False, str(error))
        return _page(answer)


def _page(answer: Answer) -> HTMLResponse:
    page = PAGE.format(
        language=interface_language(),
        title=escape(_(TITLE[answer.given])),
        sentence=escape(answer.sentence),
        next=escape(_(NEXT)) if answer.given else "",
    )
    return HTMLResponse(page, 200 if answer.given else 400, HEADERS)
