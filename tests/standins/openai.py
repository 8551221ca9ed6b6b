"""A stand-in for a chat-completions endpoint on a real socket, and for GigaChat's OAuth beside it.

Each request is kept as it came: path, headers and body. Faults are those of ``tests.standins.faults``.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standins.faults import Faults
from tests.standins.server import serving

ANSWER = "Да, доставляем."
KEY = "sk-standin-key"


class OpenAiStandin:
    """What a test sees of the stand-in, and all that it can tell it.

    url: the base address, without /v1; chat completions are under any path that ends in ``/chat/completions``.
    requests: ``path``, ``headers`` (names in small letters) and ``body`` of each call that got past the faults.
    tokens: those that the OAuth endpoint gave out; once there is one, chat takes no other.
    credentials: what the OAuth endpoint takes.
    answer: makes the answer to a request's body where nothing was said beforehand.
    thinks_seconds: how long an answer takes.
    """

    def __init__(self) -> None:
        self.url = ""
        routes = [
            Route("/{prefix:path}chat/completions", self._complete, methods=["POST"]),
            Route("/api/v2/oauth", self._oauth, methods=["POST"]),
        ]
        self.app = Faults(Starlette(routes=routes))
        self.reset()

    def reset(self) -> None:
        """Be as new."""
        self.requests: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], str] = lambda _body: ANSWER
        self.refused_parameters: set[str] = set()
        self.credentials = "Y2xpZW50OnNlY3JldA=="
        self.tokens: list[str] = []
        self.token_seconds = 1800.0
        self.thinks_seconds = 0.0
        self.oauth_requests: list[dict[str, Any]] = []
        self.app.clear()
        self.app.log.clear()

    def say(self, content: object, *, finish_reason: str | None = "stop", **message: Any) -> None:
        """What the next call is answered with; afterwards ANSWER again."""
        said = {"role": "assistant", "content": content, **message}
        self.answers.append({"choices": [{"index": 0, "message": said, "finish_reason": finish_reason}]})

    def fault(self, status: int, code: str | None = None, **error: Any) -> None:
        """Let the next call fail with OpenAI's envelope, which quotes what nobody may see."""
        told = {"message": f"quoted: {KEY} and a client's words", "code": code, **error}
        self.app.plan(path="*/chat/completions", status=status, body=JSONResponse({"error": told}).body.decode())

    @property
    def body(self) -> dict[str, Any]:
        """Of the only call so far."""
        (request,) = self.requests
        return dict(request["body"])

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append({"path": request.url.path, "headers": dict(request.headers), "body": body})
        if self.tokens and request.headers.get("authorization") != f"Bearer {self.tokens[-1]}":
            return JSONResponse({"status": 401, "message": "Token has expired"}, 401)
        for name in ("max_tokens", "temperature"):
            if name in body and name in self.refused_parameters:
                error = {"message": f"Unsupported: {name}", "param": name, "code": "unsupported_parameter"}
                return JSONResponse({"error": error}, 400)
        if not self.answers:
            self.say(self.answer(body))
        answer = self.answers.pop(0)
        await asyncio.sleep(self.thinks_seconds)
        usage = {"prompt_tokens": 120, "completion_tokens": 8, "total_tokens": 128}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": int(time.time())}
        return JSONResponse({**head, "model": f"{body['model']}-0613", "usage": usage, **answer})

    async def _oauth(self, request: Request) -> Response:
        form = (await request.body()).decode()
        self.oauth_requests.append({"headers": dict(request.headers), "form": form})
        uuid.UUID(request.headers["rquid"])  # it must be there, and be one
        if request.headers.get("authorization") != f"Basic {self.credentials}":
            return JSONResponse({"code": 6, "message": "credentials doesn't match db data"}, 401)
        self.tokens.append(f"token-{len(self.tokens) + 1}")
        expires_at = int((time.time() + self.token_seconds) * 1000)
        return JSONResponse({"access_token": self.tokens[-1], "expires_at": expires_at})


@contextmanager
def openai_standin(**options: Any) -> Iterator[OpenAiStandin]:
    """A running stand-in with its ``url``; the options are those of ``serving``."""
    standin = OpenAiStandin()
    with serving(standin.app, **options) as url:
        standin.url = url
        yield standin
