"""One request at the router: the real request, recorder, spool and outbox around providers that the test plays."""

import random
from pathlib import Path
from typing import Any

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.clock import ManualClock
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool
from tollgate_kit.tracing import NoTracing
from tollgate_router.domain.failure import FailureKind, UpstreamFailure
from tollgate_router.domain.snapshot import Snapshot
from tollgate_router.exchange.outbox import Outbox
from tollgate_router.exchange.recorder import Recorder
from tollgate_router.exchange.request import Request
from tollgate_router.exchange.service import ExchangeDeps
from tollgate_router.settings import RouterSettings
from tollgate_router.telemetry import RouterCounters

REPLY = b'{"choices":[{"index":0}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'


class Call:
    """One upstream call, which the test answers."""

    def __init__(self, target: Any, body: bytes, sink: Any, timeouts: Any) -> None:
        self.target, self.body, self.sink, self.timeouts = target, body, sink, timeouts
        self.cancelled = False
        self.proof = b""

    def cancel(self) -> None:
        """Stops it."""
        self.cancelled = True

    def pause(self) -> None:
        """Reads no more."""

    def resume(self) -> None:
        """Reads on."""

    def reply(self, status: int = 200, body: bytes = REPLY, **headers: str) -> None:
        """Answers as a whole."""
        self.sink.upstream_head(status, [(name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()])
        self.sink.upstream_data(body)
        self.sink.upstream_end()

    def chunk(self) -> None:
        """Sends a piece of a stream."""
        self.sink.upstream_head(200, [])
        self.sink.upstream_data(CHUNK)

    def fail(self, kind: FailureKind = FailureKind.CUT, *, sent: bool = True) -> None:
        """Breaks off; `sent`: the provider may have acted on it."""
        self.sink.upstream_failed(UpstreamFailure(kind, sent=sent))


class Upstream:
    """Keeps the calls."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def send(
        self,
        target: Any,
        _path: bytes,
        body: Any,
        _told: Any,
        sink: Any,
        timeouts: Any,
        *,
        proof: bytes = b"",
        content_type: bytes = b"",
    ) -> Call:
        """Returns a new call."""
        assert not content_type or isinstance(body, tuple), "only a form is no JSON"
        self.calls.append(Call(target, body, sink, timeouts))
        self.calls[-1].proof = proof
        return self.calls[-1]


class Log:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    async def send(self, _topic: str, records: Any) -> None:
        """Takes them."""
        self.records += records

    async def close(self) -> None:
        """Nothing to close."""


class Router:
    """Requests on one stream; `events` are those that the spool was given, `ends` the End frames."""

    def __init__(self, directory: Path, snapshot: Snapshot, *, responses: Any = None, **settings: Any) -> None:
        self.clock = ManualClock()
        self.upstream = Upstream()
        self.spool = Spool.open(directory)
        self.log = Log()
        where = dict.fromkeys(("address", "config_addresses"), "unix:/nowhere") | {"event_log_url": "sqlite:///nowhere"}
        folders = {"state_directory": directory, "spool_directory": directory}
        recorder = Recorder(
            spool=self.spool,
            publisher=Publisher(self.spool, self.log, "topic", gather_seconds=0),
            tracing=NoTracing(),
            random_source=random.Random(1),
            sample_ratio=0,
            slow_us=10**9,
        )
        self.deps = ExchangeDeps(
            settings=RouterSettings(**where, **folders, **settings),
            clock=self.clock,
            recorder=recorder,
            upstream=self.upstream,  # type: ignore[arg-type]
            counters=RouterCounters(),
            random_source=random.Random(1),
            responses=responses,
        )
        self.deps.snapshot = snapshot
        self.outbox = Outbox(lambda _: None)
        self.recorded: list[Any] = []

    def ended(self, _frame_id: int, recorded: list[Any]) -> None:
        """A request has ended; called by it."""
        self.recorded += recorded

    def guarded(self, _request: Request, function: Any, *arguments: Any) -> None:
        """Runs a step; called by requests."""
        function(*arguments)

    def open(self, model: str = "able", *, body: bytes = b'{"messages":[]}', **fields: Any) -> Request:
        """Begins a request."""
        tenant = wire.Tenant(project_id="p", api_key_id="k", route_group="default")
        values = {"dialect": wire.DIALECT_OPENAI_CHAT, "operation": wire.OPERATION_CHAT, "model": model}
        values |= {"body_length": len(body)} | fields
        frame = wire.Open(id=1, request_id="req", body=body, tenant=tenant, **values)
        request = Request(self, frame)  # type: ignore[arg-type]
        request.begin()
        return request

    @property
    def events(self) -> list[events.UsageRecorded]:
        """The events of requests that have ended, in their order."""
        return [events.UsageRecorded.FromString(one.payload) for one in self.recorded]

    def end(self) -> wire.End:
        """Returns the End that waits to be sent."""
        frames = [frame for message in self.outbox.take() for frame in wire.RouterBatch.FromString(message).end]
        (found,) = frames
        return found

    def open_calls(self) -> int:
        """Returns how many calls the health of all channels counts as under way."""
        assert self.deps.snapshot is not None
        return sum(key.open for ready in self.deps.snapshot.ready.values() for key in ready.health.keys.values())
