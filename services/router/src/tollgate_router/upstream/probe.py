"""Active probes over the same client, pools and rules as requests."""

import asyncio
from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_kit.clock import Clock
from tollgate_router.domain.failure import UpstreamFailure
from tollgate_router.domain.probes import ProbeRequest
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import (
    NO_HINTS,
    Hints,
    UpstreamProblem,
    error_word,
    problem_of_failure,
)
from tollgate_router.upstream.client import UpstreamClient
from tollgate_router.upstream.sink import Timeouts

_TIMEOUTS: Final = Timeouts(connect=5.0, first_byte=10.0, idle=10.0, total=15.0)
_MOST_BYTES: Final = 64 * 1024
_NO_TOKEN: Final = UpstreamProblem(errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, "no access token", blameless=True)


class UpstreamProbe:
    def __init__(self, client: UpstreamClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def ask(self, target: Target, request: ProbeRequest) -> UpstreamProblem | None:
        proof = b""
        if (signer := target.signer) is not None:
            path, now_us = target.full_path(request.path), self._clock.now_us()
            made = signer.proof(request.method, target.origin.authority, path, request.body, now_us)
            if made is None:
                # Who renews the token says so himself where there is none.
                return _NO_TOKEN
            proof = made
        sink = _Sink(request, target)
        call = self._client.send(
            target, request.path, request.body, request.headers, sink, _TIMEOUTS, method=request.method, proof=proof
        )
        try:
            return await sink.outcome
        finally:
            call.cancel()


class _Sink:
    """Keeps the beginning of what comes, and says what it means at the end."""

    def __init__(self, request: ProbeRequest, target: Target) -> None:
        self.outcome: asyncio.Future[UpstreamProblem | None] = asyncio.get_running_loop().create_future()
        self._accepted = request.accepted
        self._errors = target.quirks.errors
        self._status = 0
        self._hints = NO_HINTS
        self._body: list[bytes] = []
        self._size = 0

    def upstream_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._status = status
        self._hints = Hints(word=error_word(headers))

    def upstream_data(self, data: bytes) -> None:
        if self._size < _MOST_BYTES:
            self._body.append(data)
            self._size += len(data)

    def upstream_end(self) -> None:
        good = self._status == 200 or self._status in self._accepted
        self._settle(None if good else self._errors.of_reply(self._status, b"".join(self._body), self._hints))

    def upstream_failed(self, failure: UpstreamFailure) -> None:
        self._settle(problem_of_failure(failure))

    def _settle(self, problem: UpstreamProblem | None) -> None:
        if not self.outcome.done():
            self.outcome.set_result(problem)
