"""A stream from an edge whose spool fails: what waits to be written leaves all the same, and what comes later, too."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.versions import channel, snapshot

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.spool import Spool
from tollgate_router.exchange.session import Session

pytestmark = pytest.mark.unit


class Call:
    """A call that keeps what is sent; `failing` is raised instead."""

    writable = True

    def __init__(self) -> None:
        self.written: list[wire.RouterBatch] = []
        self.failing: list[Exception] = []

    def send(self, message: bytes) -> None:
        """Takes a batch."""
        if self.failing:
            raise self.failing.pop()
        self.written.append(wire.RouterBatch.FromString(message))

    @property
    def ends(self) -> list[int]:
        """The Ends that were sent, by their frame."""
        return [end.id for batch in self.written for end in batch.end]


class FailingOnce:
    """A spool whose first write raises what no spool should."""

    def __init__(self, whole: Spool) -> None:
        self._whole = whole
        self.failing = [RuntimeError("planted")]

    def flush(self) -> None:
        """Writes what has gathered."""
        if self.failing:
            raise self.failing.pop()
        self._whole.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


@pytest.fixture
async def router(tmp_path: Path) -> Router:
    return Router(tmp_path, snapshot([channel("a")]), exchange_pause_ms=0, exchange_data_pause_ms=0)


def asked_for_nothing(session: Session, frame_id: int) -> None:
    """Opens a request for a model that nobody has, which ends at once and has a usage event."""
    tenant = wire.Tenant(project_id="p", api_key_id="k", route_group="default")
    batch = wire.EdgeBatch()
    batch.open.add(id=frame_id, request_id="req", model="none", tenant=tenant, dialect=wire.DIALECT_OPENAI_CHAT)
    session.on_message(batch.SerializeToString())


async def until_sent(call: Call, frame_id: int) -> None:
    """Waits for an End."""
    async with asyncio.timeout(60):
        while frame_id not in call.ends:  # noqa: ASYNC110 - the loop's own turns are what is waited for.
            await asyncio.sleep(0)


async def test_a_spool_that_fails_once_stops_no_stream(router: Router) -> None:
    call = Call()
    session = Session(router.deps, cast("Any", call))
    failing = FailingOnce(router.spool)
    router.deps.recorder.spool = cast("Spool", failing)
    asked_for_nothing(session, 1)
    await until_sent(call, 1)
    asked_for_nothing(session, 2)
    await until_sent(call, 2)
    session.go_away("it is old")
    async with asyncio.timeout(60):
        while not call.written[-1].HasField("go_away"):  # noqa: ASYNC110 - as above.
            await asyncio.sleep(0)
    assert not failing.failing


async def test_a_batch_that_cannot_be_sent_stops_no_later_one(router: Router) -> None:
    call, failed = Call(), asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda *_: failed.set())
    session = Session(router.deps, cast("Any", call))
    call.failing.append(RuntimeError("planted"))
    asked_for_nothing(session, 1)
    await failed.wait()
    asked_for_nothing(session, 2)
    await until_sent(call, 2)
    assert call.ends == [2]


class Credited:
    """A request that takes credit, or cannot."""

    def __init__(self, failing: Exception | None = None) -> None:
        self._failing = failing
        self.credits: list[int] = []
        self.broken = 0

    def credit(self, size: int) -> None:
        """Takes it."""
        if self._failing is not None:
            raise self._failing
        self.credits.append(size)

    def broke(self) -> None:
        """Ends."""
        self.broken += 1


async def test_a_request_that_cannot_take_credit_ends_alone(router: Router) -> None:
    session = Session(router.deps, cast("Any", Call()))
    failing, working = Credited(RuntimeError("planted")), Credited()
    session.requests.update(cast("Any", {1: failing, 2: working}))
    batch = wire.EdgeBatch()
    for frame_id in (1, 2):
        batch.credit.add(id=frame_id, bytes=7)
    session.on_message(batch.SerializeToString())
    assert (failing.broken, working.credits) == (1, [7])


async def test_what_edge_keeps_is_published_as_kept_and_nothing_else_is(router: Router) -> None:
    session, stopping = Session(router.deps, cast("Any", Call())), asyncio.Event()
    for frame_id in (1, 2, 3):
        fields = {"tenant": wire.Tenant(project_id="p", api_key_id="k", route_group="default"), "model": "able"}
        batch = wire.EdgeBatch()
        batch.open.add(
            id=frame_id,
            request_id=f"req_{frame_id}",
            operation=wire.OPERATION_CHAT,
            dialect=wire.DIALECT_OPENAI_CHAT,
            body=b'{"messages":[]}',
            body_length=15,
            **fields,
        )
        session.on_message(batch.SerializeToString())
        router.upstream.calls[-1].reply()
    # The word about 3 comes before its Ack, as where a large batch is cut; of 99 nobody knows.
    session.on_message(wire.EdgeBatch(ack=[1, 2], ack_kept=[2, 3, 99]).SerializeToString())
    session.on_message(wire.EdgeBatch(ack=[3]).SerializeToString())
    assert session.unacknowledged == 0
    stopping.set()
    await router.deps.recorder.publisher.run(stopping)
    published = [events.UsageRecorded.FromString(record.value) for record in router.log.records]
    assert [(event.request_id, event.trace_kept) for event in published] == [
        ("req_1", False),
        ("req_2", True),
        ("req_3", True),
    ]
    assert {event.status for event in published} == {events.EVENT_STATUS_CONFIRMED}
