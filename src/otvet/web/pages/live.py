"""The stream of a page: what it shows, sent anew when it has changed.

What is sent is the present state of the page's parts, and its id is a digest of that state. So a stream that was cut,
a hidden tab or a restarted server can lose or double nothing: a browser that comes back with the id of what it has gets
nothing, and any other one gets the present state.
"""

import asyncio
import contextlib
import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import Request
from starlette.responses import StreamingResponse

from otvet.app.pulse import Pulse
from otvet.errors import StorageError
from otvet.users import kept_settings
from otvet.web.pages.rendering import fragment
from otvet.web.pages.signed import service_of

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
AT_MOST_EVERY = 0.5  # seconds
AT_LEAST_EVERY = 3.0
SHARE = 4
"""A stream waits for this many times as long as making its parts took, so that many streams leave room for the rest."""

Parts = Callable[[], Awaitable[dict[str, str]]]


def stream(request: Request, pulse: Pulse, parts: Parts) -> StreamingResponse:
    """A stream of ``parts``: {id of an element: its content as HTML}."""
    last = request.headers.get("last-event-id", "")
    return StreamingResponse(_events(request, pulse, parts, last), media_type="text/event-stream", headers=HEADERS)


async def _events(request: Request, pulse: Pulse, parts: Parts, last: str) -> AsyncIterator[bytes]:
    yield b": open\n\n"
    sent: dict[str, str] = {}
    async with contextlib.aclosing(pulse.beats()) as beats:
        async for _beat in beats:
            began = time.monotonic()
            try:
                shown = {**await _mode(request), **await parts()}
            except StorageError:
                continue  # the next beat shows it
            digest = _digest(shown)
            if digest == last:
                yield b": nothing new\n\n"
            else:
                yield _event(digest, {name: html for name, html in shown.items() if sent.get(name) != html})
            last, sent = digest, shown
            took = time.monotonic() - began
            await asyncio.sleep(min(max(AT_MOST_EVERY, SHARE * took), AT_LEAST_EVERY))


async def _mode(request: Request) -> dict[str, str]:
    """What the assistant does, which stands on every page."""
    switch = await service_of(request).database.read(kept_settings.switch)
    values = {"switch": switch, "who": request.state.who}
    return {
        "mode-now": fragment(request, "_mode_now.html", **values),
        "mode-act": fragment(request, "_mode_act.html", **values),
    }


def _digest(parts: dict[str, str]) -> str:
    whole = "\0".join(f"{name}\0{html}" for name, html in parts.items())
    return hashlib.sha256(whole.encode()).hexdigest()[:24]


def _event(id_: str, parts: dict[str, str]) -> bytes:
    html = "".join(
        f'<hx-partial hx-target="#{name}" hx-swap="innerMorph">{content}</hx-partial>'
        for name, content in parts.items()
    )
    lines = "".join(f"data: {line}\n" for line in re.split(r"\r\n|\r|\n", html))
    return f"id: {id_}\n{lines}\n".encode()
