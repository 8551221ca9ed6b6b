"""Notices: in this browser, and elsewhere by Apprise."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from otvet.i18n import N_, _
from otvet.settings.checks import addresses
from otvet.users import audit
from otvet.web.pages.rendering import page
from otvet.web.pages.signed import Owner, Viewer, service_of

router = APIRouter()

TRIAL = N_("This is a trial notice of Otvet: notices arrive here.")
SENT = N_("The trial notice was sent. See whether it has arrived.")
NOT_SENT = N_("The trial notice could not be sent to all addresses: see the addresses of OTVET_NOTIFY.")


@router.get("/settings/notices")
async def show(request: Request, who: Viewer) -> Response:
    return page(request, "notices.html", who=who, count=len(addresses(service_of(request).settings.notify)), told=None)


@router.post("/settings/notices/test")
async def test(request: Request, who: Owner) -> Response:
    """Send a trial notice to all addresses."""
    service = service_of(request)
    now = service.clock.now()
    sent = service.notices is not None and await service.notices.send(_(TRIAL))
    await service.database.write(lambda connection: audit.note(connection, who.user.name, "notice-test", "", now))
    count = len(addresses(service.settings.notify))
    return page(request, "notices.html", who=who, count=count, told=_(SENT if sent else NOT_SENT), sent=sent)
