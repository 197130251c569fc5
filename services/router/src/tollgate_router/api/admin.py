"""RouterAdminService: what the router knows of its channels, where a request would go, and an operator's word."""

import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from math import ceil, inf
from typing import Any, Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.router.v1 import router_pb2, router_pb2_grpc
from tollgate_kit.grpc_io import abort_with
from tollgate_router.domain.candidates import Ask
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.endpoints.sending import FORMS
from tollgate_router.domain.health.channel import ChannelHealth
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.health.states import Mode
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.sending import Sending
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.domain.walk import Walk
from tollgate_router.errors import InvalidBody
from tollgate_router.exchange.asking import ask_of, serving
from tollgate_router.exchange.explaining import explanation_of
from tollgate_router.exchange.service import ExchangeDeps

log = logging.getLogger(__name__)

_MODES: Final = {
    router_pb2.CHANNEL_MODE_ENABLED: Mode.ENABLED,
    router_pb2.CHANNEL_MODE_DRAINING: Mode.DRAINING,
    router_pb2.CHANNEL_MODE_DISABLED: Mode.DISABLED,
}
_WIRE_MODES: Final = {mode: number for number, mode in _MODES.items()}
# A channel of many models and keys is not written out whole.
_MOST_HINDRANCES: Final = 20

_NO_ROOM: Final = "the spool is full, or its disk cannot be written; new requests are refused"

SaveModes = Callable[[Mapping[str, tuple[Mode, str]]], Awaitable[None]]


class RouterAdmin(router_pb2_grpc.RouterAdminServiceServicer):
    def __init__(
        self, deps: ExchangeDeps, open_by_channel: Callable[[], dict[str, int]], health: Health, save_modes: SaveModes
    ) -> None:
        self._deps = deps
        self._open_by_channel = open_by_channel
        self._health = health
        self._save_modes = save_modes

    async def DescribeRouter(  # noqa: N802 - the name is the contract's.
        self, request: router_pb2.DescribeRouterRequest, context: Any
    ) -> router_pb2.DescribeRouterResponse:
        """Returns the snapshot in force and each channel's state."""
        del request, context
        snapshot, counters = self._deps.snapshot, self._deps.counters
        spool = self._deps.recorder.spool
        reply = router_pb2.DescribeRouterResponse(
            open_requests=self._deps.open_requests,
            spool_records=spool.records,
            spool_bytes=spool.bytes,
            spool_limit_bytes=self._deps.settings.spool_max_bytes,
            spool_problem=self._deps.recorder.publisher.problem or ("" if spool.has_room() else _NO_ROOM),
        )
        if snapshot is None:
            return reply
        reply.config_digest = snapshot.digest
        open_by_channel = self._open_by_channel()
        now = self._deps.clock.monotonic()
        for channel in snapshot.channels:
            ready = snapshot.ready.get(channel.name)
            state = reply.channels.add(
                channel=channel.name,
                provider=channel.provider,
                route_groups=channel.groups,
                models=channel.model_count,
                usable=ready is not None and ready.health.until <= now,
                reason=channel.problem,
                open_requests=open_by_channel.get(channel.name, 0),
                attempts=counters.attempts[channel.name],
                failures=counters.failures[channel.name],
            )
            if ready is not None:
                health = ready.health
                state.mode, state.mode_reason = _WIRE_MODES[health.mode], health.mode_reason
                state.extra_attempts = health.extra_attempts.total()
                state.hindrances.extend(_hindrances(health, now))
        return reply

    async def ExplainRoute(  # noqa: N802 - the name is the contract's.
        self, request: router_pb2.ExplainRouteRequest, context: Any
    ) -> router_pb2.ExplainRouteResponse:
        """Returns where such a request would go now, and why."""
        snapshot = self._deps.snapshot
        if snapshot is None:
            await _abort(context, errors.ERROR_KIND_UNAVAILABLE, "No configuration version has arrived yet.")
            return router_pb2.ExplainRouteResponse()
        if snapshot.route(request.route_group, request.model) is None:
            return router_pb2.ExplainRouteResponse()
        opened = _opened(request)
        try:
            ask = ask_of(opened, {} if opened.operation in FORMS else read_body(request.body or b"{}"))
        except InvalidBody:
            await _abort(context, errors.ERROR_KIND_INVALID_REQUEST, "The body must be a JSON object.")
            return router_pb2.ExplainRouteResponse()
        candidates = snapshot.serving(ask.route_group, ask.model, ask.operation)
        assert candidates is not None
        # Draws of its own: to ask does not change what requests draw.
        source = random.Random(self._deps.random.random())  # noqa: S311 - spreads load, keeps no secret.
        walk = Walk(snapshot, ask.model, candidates, lambda: ask, source, self._saying(opened, ask, request.body))
        now, target = self._deps.clock.monotonic(), None
        if isinstance(found := serving(snapshot, opened), UpstreamProblem):
            walk.refusal = found
        else:
            target = walk.first(now, ask.dialect, ask.body_bytes)
        return router_pb2.ExplainRouteResponse(explanation=explanation_of(snapshot, walk, target, now))

    def _saying(self, opened: wire.Open, ask: Ask, body: bytes) -> Callable[[Target], Sending] | None:
        """Returns what would write such a request for a target; None where no body is at hand, or it is a form."""
        if not body or opened.operation in FORMS:
            return None
        return partial(sending, opened, dict(ask.members), body=body, remembers=self._deps.responses is not None)

    async def SetChannelMode(  # noqa: N802 - the name is the contract's.
        self, request: router_pb2.SetChannelModeRequest, context: Any
    ) -> router_pb2.SetChannelModeResponse:
        """Holds a channel back or lets it serve again."""
        mode = _MODES.get(request.mode)
        if mode is None:
            await _abort(context, errors.ERROR_KIND_INVALID_REQUEST, "The mode is enabled, draining or disabled.")
        elif request.channel not in self._channels():
            await _abort(context, errors.ERROR_KIND_NOT_FOUND, f"No channel is called '{request.channel}'.")
        else:
            self._health.set_mode(request.channel, mode, request.reason)
            fields = {"channel": request.channel, "mode": mode.value, "reason": request.reason}
            log.warning("an operator set the mode of a channel", extra={"fields": fields})
            try:
                await self._save_modes(self._health.modes)
            except OSError as error:
                log.warning("the modes of channels cannot be kept", extra={"fields": {"error": str(error)}})
        return router_pb2.SetChannelModeResponse()

    def _channels(self) -> set[str]:
        snapshot = self._deps.snapshot
        return set() if snapshot is None else {channel.name for channel in snapshot.channels}


def _opened(request: router_pb2.ExplainRouteRequest) -> wire.Open:
    """Returns the request that is asked about, as edge would open it."""
    return wire.Open(
        model=request.model,
        operation=request.operation or wire.OPERATION_CHAT,
        dialect=request.dialect or wire.DIALECT_OPENAI_CHAT,
        tenant=wire.Tenant(
            route_group=request.route_group, project_id=request.project_id, api_key_id=request.api_key_id
        ),
        headers=request.headers,
        body_length=len(request.body),
    )


async def _abort(context: Any, kind: int, message: str) -> None:
    await abort_with(context, errors.Error(kind=kind, message=message))  # type: ignore[arg-type]  # A number for an enum.


def _hindrances(health: ChannelHealth, now: float) -> Iterator[router_pb2.Hindrance]:
    """Yields what is held back within a channel, each thing once; nothing while an operator holds back all of it."""
    if health.mode is not Mode.ENABLED:
        return
    seen: set[tuple[str, str]] = set()
    for seat in health.seats.values():
        found = seat.hindrance(now)
        if found is None:
            continue
        subject = seat.subject(now)
        if (subject, found.obstacle.value) in seen or len(seen) >= _MOST_HINDRANCES:
            continue
        seen.add((subject, found.obstacle.value))
        wait_ms = 0 if found.until == inf else ceil((found.until - now) * 1000)
        yield router_pb2.Hindrance(subject=subject, obstacle=found.obstacle.value, detail=found.detail, wait_ms=wait_ms)
