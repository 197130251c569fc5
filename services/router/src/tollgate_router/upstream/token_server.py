"""Asking token servers, over the same client and behind the same guard as providers."""

import asyncio
from typing import Final

from tollgate_router.domain.failure import UpstreamFailure
from tollgate_router.domain.target import Target
from tollgate_router.domain.tokens import Token, read_token
from tollgate_router.upstream.client import UpstreamClient
from tollgate_router.upstream.sink import Timeouts

_TIMEOUTS: Final = Timeouts(connect=5.0, first_byte=10.0, idle=10.0, total=15.0)
_MOST_BYTES: Final = 64 * 1024


class TokenServer:
    def __init__(self, client: UpstreamClient) -> None:
        self._client = client

    async def fetch(self, target: Target, form: bytes, hidden: str = "") -> Token | str:
        """Returns a token, or why there is none, in words without `hidden`. Never raises."""
        sink = _Sink(hidden)
        call = self._client.send(target, b"", form, (), sink, _TIMEOUTS)
        try:
            return await sink.outcome
        finally:
            call.cancel()


class _Sink:
    def __init__(self, hidden: str) -> None:
        self._hidden = hidden
        self.outcome: asyncio.Future[Token | str] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._body = b""

    def upstream_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        del headers
        self._status = status

    def upstream_data(self, data: bytes) -> None:
        if len(self._body) < _MOST_BYTES:
            self._body += data

    def upstream_end(self) -> None:
        self._settle(read_token(self._status, self._body, self._hidden))

    def upstream_failed(self, failure: UpstreamFailure) -> None:
        self._settle(f"the token server cannot be reached: {failure.kind.value} {failure.detail}".strip())

    def _settle(self, found: Token | str) -> None:
        if not self.outcome.done():
            self.outcome.set_result(found)
