"""Work that is planted into a gateway to see that the budgets of a request notice it.

Nothing of ours is patched: each plant is a part that a constructor takes, in front of the one that does the work.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from opentelemetry.trace import SpanKind
from services.edge.tests.fakes.inference import FakeKeys
from tests.integration.gateway import Gateway

from tollgate_kit.tracing import SpanRecord, parse_traceparent

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_JSON: Final = b'{"a":1}'
Work = Callable[[], object]


def call_once() -> object:
    """Calls a function of ours."""
    return parse_traceparent("")


def decode_by_function() -> object:
    return msgspec.json.decode(_JSON)


def decode_by_decoder() -> object:
    return _MEMBERS.decode(_JSON)


def decode_in_python() -> object:
    return json.loads(_JSON)


def begin_task() -> object:
    """The coroutine is a library's, the task is of the part that begins it."""
    return asyncio.get_running_loop().create_task(asyncio.sleep(0))


def begin_task_by_hand() -> object:
    return asyncio.ensure_future(asyncio.sleep(0))


def write_line() -> object:
    logging.getLogger("tollgate_planted").info("planted")
    return None


def make_span() -> object:
    return SpanRecord("planted", "", "", 0, 0, SpanKind.INTERNAL, {})


class _Front:
    """Stands in front of a part; what it does not do itself that part does."""

    def __init__(self, real: Any, work: Callable[..., object]) -> None:
        self._real, self._work = real, work

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Keys(FakeKeys):
    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def cached(self, presented: bytes) -> Any:
        self._work()
        return super().cached(presented)


class _Loop(_Front):
    """Edge looks at the time when it has written what a batch brought."""

    def time(self) -> float:
        self._work()
        return float(self._real.time())


class _Marks:
    def of(self, body: bytes, _peer: str, _forwarded: bytes) -> tuple[str, int]:
        return "", len(bytearray(body))


class _Client(_Front):
    def send(self, target: Any, path: bytes, body: bytes, told: Any, sink: Any, timeouts: Any, **options: Any) -> Any:
        return self._real.send(target, path, self._work(body), told, sink, timeouts, **options)


class _Reads(_Front):
    def send(self, target: Any, path: bytes, body: bytes, told: Any, sink: Any, timeouts: Any, **options: Any) -> Any:
        return self._real.send(target, path, body, told, _Sink(sink, self._work), timeouts, **options)


class _Sink(_Front):
    def upstream_data(self, data: bytes) -> None:
        self._work()
        self._real.upstream_data(data)


class _Recorder(_Front):
    def record(self, *asked: Any) -> Any:
        extra, _ = self._real.record(*asked)
        self._real.confirm(extra)
        return self._real.record(*asked)


@contextlib.contextmanager
def at_the_door(gateway: Gateway, work: Work) -> Iterator[None]:
    """Once for a request, in edge."""
    was, gateway.inference.authenticator = gateway.inference.authenticator, _Keys(work)
    yield
    gateway.inference.authenticator = was


@contextlib.contextmanager
def for_each_batch(gateway: Gateway, work: Work) -> Iterator[None]:
    """Whenever edge has written what a batch brought."""
    was = gateway.inference.loop
    gateway.inference.loop = _Loop(was, work)  # type: ignore[assignment] - it does all that a loop does.
    yield
    gateway.inference.loop = was


@contextlib.contextmanager
def for_each_read(gateway: Gateway, work: Work) -> Iterator[None]:
    """Whenever the router has read a part of a reply."""
    deps = gateway.routers[0].parts.deps
    was = deps.upstream
    deps.upstream = _Reads(was, work)  # type: ignore[assignment] - it does all that the client does.
    yield
    deps.upstream = was


@contextlib.contextmanager
def copying_at_the_door(gateway: Gateway) -> Iterator[None]:
    """Edge copies a body once more."""
    gateway.inference.marks = _Marks()  # type: ignore[assignment] - the one method that is asked.
    yield
    gateway.inference.marks = None


@contextlib.contextmanager
def copying_at_the_router(gateway: Gateway) -> Iterator[None]:
    """The router copies a body once more."""
    deps = gateway.routers[0].parts.deps
    was = deps.upstream
    deps.upstream = _Client(was, lambda body: bytes(bytearray(body)))  # type: ignore[assignment] - as above.
    yield
    deps.upstream = was


@contextlib.contextmanager
def recording_twice(gateway: Gateway) -> Iterator[None]:
    """The router writes a second usage event."""
    deps = gateway.routers[0].parts.deps
    was = deps.recorder
    deps.recorder = _Recorder(was, lambda: None)  # type: ignore[assignment] - it does all that a recorder does.
    yield
    deps.recorder = was


def asking_redis(gateway: Gateway) -> Work:
    """Returns work that is one more round trip."""
    return lambda: gateway.holds.pipe.submit(b"*1\r\n$4\r\nPING\r\n", lambda _: None)


def holding_again(gateway: Gateway) -> Work:
    """Returns work that is one more hold, of its own round trip."""
    pack = gateway.holds.pack
    return lambda: gateway.holds.pipe.submit(pack("org_1", 60, (b"h", "req_planted", 1)), lambda _: None)


def settling_twice(gateway: Gateway) -> Work:
    """Returns work that is two settles which travel alone."""
    packed = gateway.holds.pack("org_1", 60, (b"s", "req_planted", 1))
    return lambda: [gateway.holds.pipe.submit(packed, lambda _: None) for _ in range(2)]
