"""Counts what the parts of the request path do in this thread: calls, decodes, tasks, copies, spans, lines of log.

What happens is put down to the part whose code is nearest on the stack: a library, or a fake that a test handed in,
counts as the part that called it.
"""

import asyncio
import contextlib
import json
import logging
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, Final

import msgspec

from tollgate_edge.inference.exchange import InferenceExchange
from tollgate_holds.pipe import RedisPipe
from tollgate_kit.tracing import SpanRecord
from tollgate_router.exchange.request import Request
from tollgate_router.upstream.client import UpstreamClient

PARTS: Final = {"tollgate_edge": "edge", "tollgate_router": "router", "tollgate_streams": "streams"}
# All of the standard library's ways to read JSON end here.
_IN_PYTHON: Final[frozenset[CodeType]] = frozenset({json.JSONDecoder.raw_decode.__code__})
_OF_DECODER: Final = ("decode", "decode_lines")
_OF_PYDANTIC: Final = ("from_json", "validate_json")
_READ: Final = Request.upstream_data.__code__
_DELIVERED: Final = InferenceExchange.deliver.__code__
_SUBMIT: Final = RedisPipe.submit.__code__
_CALL: Final = RedisPipe._call.__code__  # The one way around `submit`.
_HOLD, _SETTLE = b"$1\r\nh\r\n", b"$1\r\ns\r\n"
# It goes by the clock, however few chunks come.
_TIMER: Final = UpstreamClient._tick.__code__
_SPAN: Final = SpanRecord.__init__.__code__
# A copy of a body may be a little shorter than the body that it was measured by.
_MISSING: Final = 0.1


def place_of(frame: FrameType | None) -> tuple[str, str]:
    """Returns the part whose code is nearest on the stack, and its function; two empty words where there is none."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        part = PARTS.get(module.partition(".")[0])
        if part is not None:
            return part, f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "", ""


def _part_of_call(frame: FrameType) -> str:
    """Returns the part that calls a function of ours; empty for any other, and below a timer."""
    part = ""
    if not str(frame.f_globals.get("__name__", "")).startswith("tollgate_"):
        return part
    at: FrameType | None = frame
    while at is not None:
        if at.f_code is _TIMER:
            return ""
        part = part or PARTS.get(str(at.f_globals.get("__name__", "")).partition(".")[0], "")
        at = at.f_back
    return part


def is_json_decode(function: Any) -> bool:
    """Says whether a built-in function, as a profile hook is told of it, reads JSON.

    What C calls by itself no hook is told of: `map(decoder.decode, …)` goes uncounted.
    """
    owner, name = getattr(function, "__self__", None), function.__name__
    if isinstance(owner, msgspec.json.Decoder):
        return name in _OF_DECODER
    return function is msgspec.json.decode or (name in _OF_PYDANTIC and "pydantic" in type(owner).__module__)


def _trip(packed: bytes) -> str:
    return "hold" if _HOLD in packed else "settle" if _SETTLE in packed else "other"


class Counts:
    """By part. `places` says for each kind in which functions it was."""

    def __init__(self) -> None:
        # Of functions of ours, those of timers left out.
        self.calls: Counter[str] = Counter()
        self.decodes: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        # To Redis: those with a hold, those with settles only, and others.
        self.trips: Counter[str] = Counter()
        self.spans = self.reads = self.deliveries = 0
        self.log_lines: list[str] = []
        self._size = self._before = 0
        self._last = ("", "")

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """Counts everything but copies."""
        loop, logger = asyncio.get_running_loop(), logging.getLogger()
        handler = logging.Handler(logging.INFO)
        handler.emit = lambda record: self.log_lines.append(record.getMessage())  # type: ignore[method-assign]
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        loop.set_task_factory(self._task)
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(None)
            loop.set_task_factory(None)
            logger.removeHandler(handler)
            logger.setLevel(level)

    @contextlib.contextmanager
    def counting_copies(self, size: int) -> Iterator[None]:
        """Counts the times that a Python object of `size` bytes or little more comes to be.

        It looks after every instruction of ours, and after every function of a library. What a library keeps outside
        of Python's memory is not seen.
        """
        self._size = size
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        sys.settrace(self._stepped)
        try:
            yield
        finally:
            sys.settrace(None)
            tracemalloc.stop()

    def _count(self, kind: str, counter: Counter[str], place: tuple[str, str], times: int = 1) -> None:
        counter[place[0]] += times
        self.places[f"{kind} {place[1]}"] += times

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            if is_json_decode(argument):
                self._count("decode", self.decodes, place_of(frame))
        elif event == "call":
            code = frame.f_code
            self.calls[_part_of_call(frame)] += 1
            self.spans += code is _SPAN
            self.reads += code is _READ
            self.deliveries += code is _DELIVERED
            if code is _SUBMIT or code is _CALL:
                self.trips[_trip(frame.f_locals.get("packed", b""))] += 1
            if code in _IN_PYTHON:
                self._count("decode", self.decodes, place_of(frame))

    def _task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Task[Any]":
        self._count("task", self.tasks, place_of(sys._getframe(1)))
        return asyncio.Task(coroutine, loop=loop, **options)

    def _stepped(self, frame: FrameType, event: str, _: Any) -> Any:
        peak = tracemalloc.get_traced_memory()[1]
        # One that grew as it was written is longer than what is in it.
        times = int((peak - self._before) / self._size + _MISSING)
        if times:
            self._count("copy", self.copies, self._last, times)
        # What comes next is the work of this frame, or of its caller once this one is left.
        self._last = place_of(frame.f_back if event == "return" else frame)
        self._before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in PARTS:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._stepped
