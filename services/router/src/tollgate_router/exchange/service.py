"""ExchangeService: what all streams of a router process share, and the drain."""

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tollgate_kit.clock import Clock
from tollgate_router.exchange.held import Memories
from tollgate_router.exchange.recorder import Recorder
from tollgate_router.exchange.rest import Rest
from tollgate_router.exchange.session import Session
from tollgate_router.ports import ResponseStore
from tollgate_router.settings import RouterSettings
from tollgate_router.telemetry import RouterCounters
from tollgate_router.upstream.client import Timeouts, UpstreamClient
from tollgate_router.use_cases.watch_background import WatchBackground
from tollgate_streams.server import ServerCall, StreamServer

if TYPE_CHECKING:
    from tollgate_router.domain.snapshot import Snapshot

log = logging.getLogger(__name__)

_PATH: Final = "/tollgate.exchange.v1.ExchangeService/Exchange"
_MAX_TIMEOUTS: Final = 10_000
# For the Ends of what is cut off, and edge's Acks.
_LAST_SECONDS: Final = 1.0


class ExchangeDeps:
    """What sessions and requests use. `snapshot` is swapped by one assignment; without `responses` none are stored."""

    def __init__(
        self,
        *,
        settings: RouterSettings,
        clock: Clock,
        recorder: Recorder,
        upstream: UpstreamClient,
        counters: RouterCounters,
        random_source: random.Random,
        responses: ResponseStore | None = None,
    ) -> None:
        self.responses = responses
        self.background = None if responses is None else WatchBackground(responses, clock)
        self.settings = settings
        self.clock = clock
        self.recorder = recorder
        self.upstream = upstream
        self.counters = counters
        self.random = random_source
        self.rest = Rest(settings.exchange_data_pause_ms / 1000)
        self.memories = Memories(
            bodies=settings.max_body_memory_bytes,
            replies=settings.max_gathered_reply_bytes,
            most_each=settings.max_reply_bytes,
        )
        self.snapshot: Snapshot | None = None
        self.sessions: set[Session] = set()
        self.open_requests = 0
        self.stopping = False
        self._timeouts: dict[int, Timeouts] = {}

    def timeouts(self, timeout_ms: int) -> Timeouts:
        """Returns the limits of one upstream call: the settings', and what is left of the request's own.

        Rounded up to a tenth of a second, so that most requests share one object, which takes 0.6 µs to make.
        """
        tenths = -(-timeout_ms // 100)
        found = self._timeouts.get(tenths)
        if found is None:
            settings = self.settings
            own = tenths / 10 if tenths else settings.total_timeout_seconds
            if len(self._timeouts) >= _MAX_TIMEOUTS:
                self._timeouts.clear()
            found = self._timeouts[tenths] = Timeouts(
                connect=settings.connect_timeout_seconds,
                first_byte=settings.first_byte_timeout_seconds,
                idle=settings.idle_timeout_seconds,
                total=min(settings.total_timeout_seconds, own),
            )
        return found


class ExchangeService:
    """Serves Exchange; renews streams by age and drains them when the process stops."""

    def __init__(self, deps: ExchangeDeps) -> None:
        self._deps = deps

    def register(self, server: StreamServer) -> None:
        """Adds the method."""
        server.add_stream(_PATH, self._accept)

    def _accept(self, call: ServerCall) -> Session:
        deps = self._deps
        session = Session(deps, call)
        deps.sessions.add(session)
        deps.counters.streams += 1
        session.age_timer = asyncio.get_running_loop().call_later(
            deps.settings.stream_age_seconds, session.go_away, "the stream is old"
        )
        if deps.stopping:
            session.go_away("the router stops", stopping=True)
        return session

    async def drain(self, seconds: float) -> None:
        """Asks edges for no new requests, waits for those that are open, and ends the replies that take longer."""
        self._deps.stopping = True
        sessions = tuple(self._deps.sessions)
        for session in sessions:
            session.go_away("the router stops", stopping=True)
        if sessions and not await _all_drained(sessions, seconds):
            log.warning("the time to drain is up", extra={"fields": {"open_requests": self._deps.open_requests}})
            for session in sessions:
                session.out_of_time()
            await _all_drained(sessions, _LAST_SECONDS)


async def _all_drained(sessions: Sequence[Session], seconds: float) -> bool:
    waiting = [asyncio.create_task(session.drained()) for session in sessions]
    _, late = await asyncio.wait(waiting, timeout=seconds)
    for task in late:
        task.cancel()
    return not late
