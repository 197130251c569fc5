"""What every reply has, whatever went wrong inside: a request id, and CORS where browsers may call."""

from collections.abc import Callable
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

EXPOSED: Final = b"x-request-id, request-id, retry-after, retry-after-ms, x-should-retry"
_PRIVATE: Final = ("/api/", "/healthz", "/readyz")
# Clients that run in a browser ask these with a key, as they ask for answers.
_OPEN: Final = frozenset({"/api/pricing", "/api/status", "/api/usage/token", "/api/usage/token/", "/api/user/self"})


def is_private(path: str) -> bool:
    """Says whether browsers of other origins are kept out of this path."""
    return path.startswith(_PRIVATE) and path not in _OPEN


class Frame:
    """Outermost: it also wraps the handler of errors that nobody expected."""

    def __init__(self, app: ASGIApp, new_request_id: Callable[[], str]) -> None:
        self._app = app
        self._new_request_id = new_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        headers = dict(scope["headers"])
        added = [(b"x-request-id", request_id.encode())]
        if b"origin" in headers and not is_private(scope["path"]):
            added += [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED)]
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await _preflight(headers, added, send)
                return

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        await self._app(scope, receive, framed)


async def _preflight(headers: dict[bytes, bytes], added: list[tuple[bytes, bytes]], send: Send) -> None:
    answer: list[tuple[bytes, bytes]] = [
        *added,
        (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
        (b"access-control-allow-headers", headers.get(b"access-control-request-headers", b"*")),
        (b"access-control-max-age", b"86400"),
        (b"vary", b"access-control-request-headers"),
        (b"content-length", b"0"),
    ]
    if headers.get(b"access-control-request-private-network") == b"true":
        # A page of the internet that calls a gateway on this machine or in this network.
        answer.append((b"access-control-allow-private-network", b"true"))
    await send({"type": "http.response.start", "status": 204, "headers": answer})
    await send({"type": "http.response.body", "body": b""})


def request_id_of(scope: Any) -> str:
    """Returns the id that the frame gave the request."""
    return str(scope["state"]["request_id"])
