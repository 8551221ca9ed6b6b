"""The connection to amoCRM, made in the browser: what ``otvet connect`` does, with its steps shown as they are done."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy.engine import Connection
from starlette.responses import RedirectResponse, Response

from otvet.account import connecting, reply_setup, setup
from otvet.account.account import redirect_url
from otvet.amocrm.addresses import HERE, account_address, host_of
from otvet.app import connecting as jobs
from otvet.app import in_force
from otvet.app.in_force import InForce
from otvet.delivery.methods import FIELD
from otvet.errors import OtvetError, UsageError
from otvet.i18n import N_, _
from otvet.settings.by_channel import SALESBOT, WAYS, WIDGET
from otvet.settings.groups import AMOCRM
from otvet.storage import keyvalue
from otvet.web.pages.live import stream
from otvet.web.pages.rendering import fragment, page
from otvet.web.pages.settings import NOTHING, field_of, keep, look
from otvet.web.pages.signed import Owner, Viewer, Who, service_of

router = APIRouter()

HERE_IS = "/settings/amocrm"
GIVE_ONE = N_("give a long-lived token, or the ID and the secret key of an integration")
OF_ANOTHER = N_("this is another account: give its own token or its own keys")
NO_WAY = N_("choose where the replies go")
NO_NUMBER = N_("the Salesbot's number is a whole number")


@router.get(HERE_IS)
async def shown(request: Request, who: Viewer) -> Response:
    return await _page(request, who)


async def _page(
    request: Request, who: Who, status: int = 200, *, typed: Mapping[str, str] = NOTHING, wrong: str = ""
) -> Response:
    found = await look(request)
    fields = {name: field_of(found, name, typed, NOTHING) for name in AMOCRM}
    suggested = typed.get("public_url") or found.settings.public_url or _suggested(request)
    values = await _progress(request, who)
    return page(
        request,
        "amocrm.html",
        status,
        **values,
        fields=fields,
        typed=typed,
        wrong=wrong,
        suggested=suggested,
        ways=reply_setup.ANSWERS,
        via=found.settings.reply_via,
        redirect=redirect_url(suggested),
        found=found,
    )


def _suggested(request: Request) -> str:
    """The address under which the page was opened, if amoCRM could reach it too."""
    host = request.url.hostname or ""
    return f"https://{request.url.netloc}" if "." in host and host not in HERE and not host[-1].isdigit() else ""


async def _progress(request: Request, who: Who) -> dict[str, Any]:
    """What the live part of the page shows."""
    service = service_of(request)
    now = service.clock.now()

    def read(connection: Connection) -> tuple[connecting.Progress, str | None]:
        return connecting.recall(connection, now), keyvalue.recall(connection, FIELD)

    progress, field_id = await service.database.read(read)
    settings = service.settings
    guides = []
    if any(step.name == _(reply_setup.NAME) for step in progress.steps):
        wanted = SALESBOT if progress.bots or not settings.salesbot_id else settings.reply_via
        if field_id and wanted == SALESBOT:
            guides.append(reply_setup.guide_to_bot(int(field_id)))
        elif wanted == WIDGET:
            guides.append(reply_setup.guide_to_widget(settings.salesbot_url(service.webhook_secret)))
    return {"who": who, "progress": progress, "guides": guides}


@router.get("/live/amocrm")
async def live(request: Request, who: Viewer) -> Response:
    async def parts() -> dict[str, str]:
        return {"progress": fragment(request, "_amocrm_progress.html", **await _progress(request, who))}

    return stream(request, service_of(request).pulse, parts)


@router.post(f"{HERE_IS}/connect")
async def connect(request: Request, who: Owner) -> Response:
    found = await look(request)
    typed = {name: who.text(name).strip() for name in ("amocrm_base_url", "public_url", "amocrm_client_id")}
    try:
        changes = _wanted(found, who)
        in_force.changed(found, changes)
        jobs.begin(
            service_of(request), partial(jobs.connect, changes=changes, code=who.text("code").strip()), who.user.name
        )
    except OtvetError as error:
        return await _page(request, who, 422, typed=typed, wrong=str(error))
    return RedirectResponse(f"{HERE_IS}#progress", 303)


def _wanted(found: InForce, who: Who) -> dict[str, str]:
    """The settings that were typed. UsageError or SettingsError, each with a sentence, if they cannot be."""
    present = found.settings
    base_url = account_address(who.text("amocrm_base_url").strip() or present.amocrm_base_url or "")
    public_url = who.text("public_url").strip()
    token, client_id = who.text("amocrm_token").strip(), who.text("amocrm_client_id").strip()
    secret = who.text("amocrm_client_secret").strip()
    same = present.amocrm_base_url is not None and host_of(present.amocrm_base_url) == host_of(base_url)
    changes = {"amocrm_base_url": base_url}
    if public_url:
        changes["public_url"] = setup.public_address(public_url)
    if token:
        changes["amocrm_token"] = connecting.token_in(token)
        if secret:
            changes["amocrm_client_secret"] = secret
    elif (secret or (same and present.amocrm_client_secret)) and client_id and (secret or not present.amocrm_token):
        changes |= {"amocrm_client_id": client_id, "amocrm_token": ""}
        if secret:
            changes["amocrm_client_secret"] = secret
    elif not same:
        raise UsageError(_(OF_ANOTHER if present.amocrm_base_url else GIVE_ONE))
    elif not present.amocrm_connected:
        raise UsageError(_(GIVE_ONE))
    if not same and not secret and "amocrm_token" in changes:
        changes |= {"amocrm_client_secret": ""}  # the keys of one account are never sent to another
    return {name: value for name, value in changes.items() if not found.is_fixed(name)}


@router.post(f"{HERE_IS}/check")
async def check(request: Request, who: Owner) -> Response:
    try:
        jobs.begin(service_of(request), partial(jobs.connect, changes={}), who.user.name)
    except OtvetError as error:
        return await _page(request, who, 422, wrong=str(error))
    return RedirectResponse(f"{HERE_IS}#progress", 303)


@router.post(f"{HERE_IS}/replies")
async def replies(request: Request, who: Owner) -> Response:
    via, number = who.text("reply_via").strip(), who.text("salesbot_id").strip() or who.text("bot").strip()
    try:
        if via not in WAYS:
            raise UsageError(_(NO_WAY))
        if number and not (number.isascii() and number.isdigit() and len(number) < 16):
            raise UsageError(_(NO_NUMBER))
        secret = who.text("amocrm_client_secret").strip()
        work = partial(jobs.settle_replies, via=via, salesbot_id=number, client_secret=secret)
        jobs.begin(service_of(request), work, who.user.name)
    except OtvetError as error:
        return await _page(request, who, 422, wrong=str(error))
    return RedirectResponse(f"{HERE_IS}#progress", 303)


@router.post(f"{HERE_IS}/disconnect")
async def disconnect(request: Request, who: Owner) -> Response:
    """Forget the account's token and keys; replies are kept from then on."""
    found = await look(request)
    names = [name for name in AMOCRM if name != "public_url" and name in found.kept and not found.is_fixed(name)]
    await keep(request, who, found, dict.fromkeys(names, ""))
    return RedirectResponse(HERE_IS, 303)
