"""A file server and a transcription endpoint on one real socket."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.standins.faults import Faults
from tests.standins.server import serving

OGG = b"OggS" + bytes(200)


class SpeechStandin:
    """files: what is at /files/NAME. heard: headers and body of each transcription; said: the answer to it."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {"voice.ogg": OGG}
        self.redirects: dict[str, str] = {}
        self.fetched: list[dict[str, str]] = []
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.said: Any = {"text": "How much is the delivery?"}
        routes = [
            Route("/files/{name}", self._file),
            Route("/v1/audio/transcriptions", self._transcribe, methods=["POST"]),
        ]
        self.app = Faults(Starlette(routes=routes))

    async def _file(self, request: Request) -> Response:
        self.fetched.append(dict(request.headers))
        name = request.path_params["name"]
        if name in self.redirects:
            return RedirectResponse(self.redirects[name], 302)
        return Response(self.files[name], media_type="text/html") if name in self.files else Response(status_code=404)

    async def _transcribe(self, request: Request) -> Response:
        self.heard.append((dict(request.headers), await request.body()))
        return Response(json.dumps(self.said), media_type="application/json") if self.said else JSONResponse({}, 500)


@contextmanager
def speech_standin() -> Iterator[SpeechStandin]:
    standin = SpeechStandin()
    with serving(standin.app, 0) as standin.url:
        yield standin
