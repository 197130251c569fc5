"""Sending an attempt: at once, or when there is an access token for it."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import structs

from tollgate_router.domain.failure import FailureKind, UpstreamFailure
from tollgate_router.domain.upstream_errors import Bench, UpstreamProblem
from tollgate_router.exchange.several import SeveralCalls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tollgate_router.domain.dialects.translate import Sending
    from tollgate_router.domain.target import Target
    from tollgate_router.exchange.service import ExchangeDeps
    from tollgate_router.upstream.client import Timeouts, UpstreamCall, UpstreamSink

    Told = Iterable[tuple[bytes, bytes]]

_TOO_LATE: Final = UpstreamFailure(FailureKind.TOTAL_TIMEOUT, sent=False)
_NO_PROOF: Final = UpstreamFailure(FailureKind.NO_PROOF, sent=False)

Call: TypeAlias = "UpstreamCall | AwaitedCall | SeveralCalls"


def dispatch(
    deps: "ExchangeDeps", target: "Target", asked: "Sending", told: "Told", sink: "UpstreamSink", timeouts: "Timeouts"
) -> "Call":
    """Sends and returns the call's handle; `sink` hears nothing before this returned."""
    if asked.bodies:
        return _several(deps, target, asked, told, sink, timeouts)
    return _one(deps, target, asked, told, sink, timeouts)


def _several(
    deps: "ExchangeDeps", target: "Target", asked: "Sending", told: "Told", sink: "UpstreamSink", timeouts: "Timeouts"
) -> SeveralCalls:
    def send(body: bytes, one: "UpstreamSink") -> "UpstreamCall | AwaitedCall":
        return _one(deps, target, structs.replace(asked, body=body, bodies=()), told, one, timeouts)

    if (quota := target.seat.channel.quota) is not None:
        # The first was counted as the attempt.
        for _ in asked.bodies[1:]:
            quota.begin(deps.clock.monotonic())
    most_bytes = deps.settings.max_reply_bytes
    return SeveralCalls(asked.bodies, send, sink, seconds=timeouts.total, most_bytes=most_bytes)


def _one(
    deps: "ExchangeDeps", target: "Target", asked: "Sending", told: "Told", sink: "UpstreamSink", timeouts: "Timeouts"
) -> "UpstreamCall | AwaitedCall":
    signer = target.signer
    if signer is None:
        return _send(deps, target, asked, told, sink, timeouts, b"")
    proof = _proof(deps, target, asked)
    if proof is not None:
        return _send(deps, target, asked, told, sink, timeouts, proof)
    return AwaitedCall(deps, target, asked, told, sink, timeouts)


def _send(
    deps: "ExchangeDeps",
    target: "Target",
    asked: "Sending",
    told: "Told",
    sink: "UpstreamSink",
    timeouts: "Timeouts",
    proof: bytes,
) -> "UpstreamCall":
    kind = asked.content_type
    return deps.upstream.send(target, asked.path, asked.body, told, sink, timeouts, content_type=kind, proof=proof)


def _proof(deps: "ExchangeDeps", target: "Target", asked: "Sending") -> bytes | None:
    assert target.signer is not None
    path = target.full_path(asked.path)
    return target.signer.proof(b"POST", target.origin.authority, path, asked.body, deps.clock.now_us())


def forget_proof(target: "Target", problem: UpstreamProblem) -> None:
    """Sends no token again that the provider refuses."""
    if problem.bench is Bench.CREDENTIALS and target.signer is not None:
        target.signer.rejected()


class AwaitedCall:
    """A call that waits for an access token, and then is that of the client, within what is left of its time."""

    __slots__ = ("_call", "_give_up", "_send", "_sink", "_timer")

    def __init__(
        self,
        deps: "ExchangeDeps",
        target: "Target",
        asked: "Sending",
        told: "Told",
        sink: "UpstreamSink",
        timeouts: "Timeouts",
    ) -> None:
        until = deps.clock.monotonic() + timeouts.total

        def send() -> "UpstreamCall | UpstreamFailure":
            left = until - deps.clock.monotonic()
            if left <= 0:
                return _TOO_LATE
            proof = _proof(deps, target, asked)
            if proof is None:
                return _NO_PROOF
            return _send(deps, target, asked, told, sink, replace(timeouts, total=left), proof)

        self._send: Callable[[], UpstreamCall | UpstreamFailure] = send
        self._sink = sink
        self._call: UpstreamCall | None = None
        assert target.signer is not None
        self._give_up = target.signer.wait(self._go)
        self._timer = asyncio.get_running_loop().call_later(timeouts.total, self._late)

    def _late(self) -> None:
        self._give_up()
        self._sink.upstream_failed(_TOO_LATE)

    def _go(self, problem: str) -> None:
        self._timer.cancel()
        sent = replace(_NO_PROOF, detail=problem) if problem else self._send()
        if isinstance(sent, UpstreamFailure):
            self._sink.upstream_failed(sent)
        else:
            self._call = sent

    def pause(self) -> None:
        """Nothing comes before the call is under way, so that nothing has to be held back."""
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """Reads on."""
        if self._call is not None:
            self._call.resume()

    def cancel(self) -> None:
        """Ends it, wherever it is."""
        self._give_up()
        self._timer.cancel()
        if self._call is not None:
            self._call.cancel()
