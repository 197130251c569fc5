"""A request of the Responses API that may go on without its caller.

Who asks for a response in the background gets it as `queued` once it is known that a provider can be asked, and edge
lets go. The provider is asked for a stream, of which the last event is kept. It costs what was used when there is an
answer, what came until then when its owner cancels it, and nothing when it fails: nobody gets anything of it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from msgspec import structs

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.background import ANSWERED, CANCELLED, FAILED, QUEUED, answered, cancelled, failed, queued
from tollgate_router.domain.background import ended as ended_as
from tollgate_router.domain.endpoints.form import Form
from tollgate_router.domain.openai_chat import ReplyUsage
from tollgate_router.domain.stored import StoredResponse
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import Refused, StoreUnavailable
from tollgate_router.exchange.remembering import AWAY, RememberedRequest
from tollgate_router.exchange.request import DROPPED
from tollgate_router.ports import ResponseStore
from tollgate_router.use_cases.watch_background import LEASE_US, WatchBackground

if TYPE_CHECKING:
    from tollgate_router.domain.target import Target
    from tollgate_router.exchange.session import Session

log = logging.getLogger(__name__)

_NOTHING: Final = ReplyUsage({}, estimated=False)
_STOPPED: Final = UpstreamProblem(
    errors.ERROR_KIND_UNAVAILABLE, "The gateway stopped before the response was whole. It is not charged."
)
_LATE: Final = UpstreamProblem(errors.ERROR_KIND_UPSTREAM_TIMEOUT, "The time that a request may take is up.")
_UNKEPT: Final = UpstreamProblem(errors.ERROR_KIND_UNAVAILABLE, "The response could not be stored.")
_UNWANTED: Final = UpstreamProblem(errors.ERROR_KIND_CANCELLED, "The response was cancelled.")
_BROKEN: Final = UpstreamProblem(errors.ERROR_KIND_INTERNAL, "")
# A response is there and paid for: a store that is away is given this long to come back, in seconds between tries.
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0, 8.0)


class BackgroundRequest(RememberedRequest):
    """`_alone` is what the store has of it from the moment on when its caller was let go, None until then."""

    __slots__ = ("_alone", "_closing", "_pause", "_watch", "begun", "key")

    def __init__(
        self,
        session: "Session",
        opened: wire.Open,
        store: ResponseStore,
        watch: WatchBackground,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(session, opened, store)
        self._watch = watch
        self._pause = pause
        self._alone: StoredResponse | None = None
        # What it came to is on its way into the store.
        self._closing = False
        self.key = opened.tenant.project_id, self._id
        self.begun = False

    @property
    def _created(self) -> int:
        return self._opened.started_at_us // 1_000_000

    # Letting the caller go.

    def _go_on(self, turns: list[StoredResponse]) -> None:
        if self._wanted.background:
            self._opened.stream = True
        super()._go_on(turns)

    def _attempt(self, target: "Target") -> None:
        if not self._wanted.background or self._alone is not None:
            super()._attempt(target)
            return
        assert not isinstance(self._members, Form), "a response is asked for in JSON"
        # It is written already: what no provider can be asked is refused while there is a caller to hear it.
        assert self._walk is not None
        assert self._walk.sending is not None
        try:
            model = self._opened.requested_model or self._opened.model
            response = queued(self._id, model, self._created, self._members)
        except Refused as refused:
            self._cannot_say(refused)
            return
        self._begin_step(self._let_go(target, response, self._walk.sending.dropped))

    async def _let_go(self, target: "Target", response: bytes, dropped: tuple[str, ...]) -> None:
        one = self._stored(response)
        one = structs.replace(one, status=QUEUED, running_until_us=one.created_at_us + LEASE_US)
        try:
            await self._store.add(one)
        except StoreUnavailable as error:
            log.warning("a response could not be stored", extra={"fields": {"error": str(error)}})
            if not self._ended:
                self._refuse(errors.ERROR_KIND_UNAVAILABLE, AWAY, 1000)
            return
        if self._ended:
            # Its caller left before it knew the id: nobody can ask for it.
            with contextlib.suppress(StoreUnavailable):
                await self._store.delete(*self.key)
            return
        headers = (wire.Header(name=DROPPED, value=", ".join(dropped).encode()),) if dropped else ()
        self._session.outbox.head(id=self._opened.id, status=200, headers=headers, detached=response)
        self._alone = one
        self._watch.add(self)
        self._session.guarded(self, super()._attempt, target)

    # While nobody waits for it.

    def _send(self, data: bytes) -> None:
        if self._alone is None:
            super()._send(data)
            return
        if not self._head_sent:
            self._head_sent = self.begun = True
            assert self._target is not None
            self._ticket = self._target.seat.answered(self._ticket)
        self._without_end(data)

    def stop(self) -> None:
        """Its owner does not want it any more. Never raises."""
        self._session.guarded(self, self.cancel, wire.CANCEL_REASON_CLIENT_GONE)

    def cancel(self, reason: int = 0) -> None:
        """Edge does not wait any more, or its owner does not want it."""
        if self._alone is None:
            super().cancel(reason)
        elif reason == wire.CANCEL_REASON_CLIENT_GONE:
            self._stop_call()
            self._end(wire.OUTCOME_CANCELLED, self._usage_so_far(), _UNWANTED)
        elif reason == wire.CANCEL_REASON_DEADLINE:
            self._stop_call()
            self._end(wire.OUTCOME_TIMEOUT, _NOTHING, _LATE)
        else:
            self.out_of_time()

    def out_of_time(self) -> None:
        """The process stops, or edge's does."""
        if self._alone is None:
            super().out_of_time()
        else:
            self._stop_call()
            self._end(wire.OUTCOME_UPSTREAM_CUT, _NOTHING, _STOPPED)

    def broke(self) -> None:
        """A step of ours failed."""
        if self._closing:
            # The step that stores its end is the one that did: the lease says the rest.
            self._close(wire.OUTCOME_UPSTREAM_CUT, _NOTHING, _BROKEN)
        else:
            super().broke()

    # The end.

    def _end(self, outcome: int, usage: ReplyUsage, problem: UpstreamProblem | None, data: bytes = b"") -> None:
        if self._alone is None:
            super()._end(outcome, usage, problem, data)
        elif not self._closing:
            self._closing = True
            self._begin_step(self._end_alone(self._alone, outcome, usage, problem))

    async def _end_alone(
        self, one: StoredResponse, outcome: int, usage: ReplyUsage, problem: UpstreamProblem | None
    ) -> None:
        event, self._last_event = self._last_event, b""
        if problem is None:
            status, response = answered(event.partition(b"data: ")[2], self._created)
        elif outcome == wire.OUTCOME_CANCELLED:
            status, response = CANCELLED, cancelled(one.response)
        else:
            status, response = FAILED, failed(one.response, problem)
        known = await self._finished(ended_as(one, status, response))
        if status == FAILED:
            usage = _NOTHING
        elif known in {CANCELLED, ""}:
            # Also where it was cancelled, or deleted, through another process when it was nearly there.
            outcome, problem = wire.OUTCOME_CANCELLED, _UNWANTED
        elif known not in ANSWERED:
            # Nobody gets it: the store stays away, or its owner was told that it was lost.
            outcome, usage, problem = wire.OUTCOME_UPSTREAM_CUT, _NOTHING, _UNKEPT
        self._session.guarded(self, self._close, outcome, usage, problem)

    async def _finished(self, one: StoredResponse) -> str | None:
        """Stores what it came to; returns what the store says it is then, None where the store stays away."""
        for pause in (*_PAUSES, 0.0):
            try:
                return await self._store.finish(one)
            except StoreUnavailable as error:
                log.warning("a response could not be stored", extra={"fields": {"error": str(error)}})
            if pause:
                await self._pause(pause)
        return None

    def _close(self, outcome: int, usage: ReplyUsage, problem: UpstreamProblem | None) -> None:
        self._watch.remove(self)
        super()._end(outcome, usage, problem)
