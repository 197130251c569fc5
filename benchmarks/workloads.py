"""The requests that are measured, and how one round of them is counted."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.native import Load, run_load
from benchmarks.processes import processor_seconds
from benchmarks.product import MODEL, REQUEST_PATH, Product
from benchmarks.subject import Subject

CHUNKS = 64
APART_MS = 20
# What a request still costs when it was answered: its settle, its event, its row.
SETTLE_SECONDS = 0.3
WARM_UP = 0.4
LIMIT_SECONDS = 300.0
PACED_LOOP = {"ramp": 1.3, "warm": 2.8, "window": 5}
OPEN_LOOP_CONNECTIONS = 64
# Requests a second: gateways are compared at the first one, the product alone is asked at all of them.
RATES = (200, 1_000, 2_000, 4_000)
OPEN_LOOP_REQUESTS = 1000
RATE_SECONDS = 2
# What a rate must keep to count as one that the product bears.
RATE_P99_MS = 20.0
# A probe that takes so much longer has failed: what an overloaded product owes is not waited for.
PROBE_LIMIT_SECONDS = 2 * RATE_SECONDS
PROMPT = "You are a helpful assistant. Answer in one short sentence. What is the capital of France, and which river?"


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of request. `events`: chunks of its answer, 0 is no stream; `body`: bytes at least."""

    name: str
    title: str
    connections: int
    requests: int
    events: int = 0
    body: int = 0
    apart_ms: int = 0


SMALL = Workload("small", "small chat request, 32 connections", 32, 3000)
MIDDLE = Workload("8 KB", "8 KB request, 32 connections", 32, 2000, body=8_000)
LARGE = Workload("100 KB", "100 KB request, 16 connections", 16, 500, body=100_000)
HUGE = Workload("1 MB", "1 MB request, 8 connections", 8, 80, body=1_000_000)
STREAM = Workload("burst", "burst stream of 65 chunks, 16 connections", 16, 1000, events=CHUNKS + 1)
COUNTED = (SMALL, MIDDLE, LARGE, HUGE, STREAM)
PACED = tuple(
    Workload(f"paced {count}", f"{count} streams of 65 chunks, {APART_MS} ms apart", count, 0, CHUNKS + 1, 0, APART_MS)
    for count in (256, 512)
)

# What has chunks, by name.
STREAMS = {workload.name: workload for workload in (STREAM, *PACED)}


def chunk_micros(small: Sequence[float], streams: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Returns what a chunk costs by the name of its streams: a stream less a small request, medians, over its chunks.

    Takes what rounds cost, in microseconds; what was not measured is left out.
    """
    return {
        name: (median(costs) - median(small)) / STREAMS[name].events
        for name, costs in streams.items()
        if small and costs
    }


def requests_at(rate: int) -> int:
    """Returns how many requests are sent at `rate` a second."""
    return max(OPEN_LOOP_REQUESTS, rate * RATE_SECONDS)


def body_of(workload: Workload, model: str) -> dict[str, Any]:
    """Returns what is asked for."""
    asked = PROMPT + " word" * (workload.body // 5)
    if workload.apart_ms:
        asked += f" Say a word every {workload.apart_ms} ms."
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": asked}],
        "max_completion_tokens": 64,
    }
    if workload.events:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def request_of(workload: Workload, model: str, headers: Mapping[str, str]) -> bytes:
    """Returns the bytes of a request, head and body."""
    text = json.dumps(body_of(workload, model)).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"%bcontent-length: %d\r\n\r\n%b" % (lines.encode(), len(text), text)
    )


@dataclass(frozen=True, slots=True)
class Round:
    """Processor microseconds per request by kind of process, and what the client saw."""

    micros: dict[str, float]
    load: Load

    @property
    def path(self) -> float:
        """Edge, router and Valkey together."""
        return sum(self.micros[kind] for kind in REQUEST_PATH)


@dataclass(frozen=True, slots=True)
class Paced:
    """Streams within a window: the share that arrived of what the upstream sends, and microseconds of each stream.

    `micros` and `memory`, in bytes when the window ended with its streams open, go by the name of a subject.
    """

    delivered: float
    micros: dict[str, float]
    memory: dict[str, int]
    load: Load


class NotWhole(RuntimeError):  # noqa: N818 - a state of what is measured.
    """Not every request was answered as it should; says what the client saw."""


class Bench:
    """Measures with the programs in a directory. `upstream`: the port that is asked directly."""

    def __init__(self, directory: Path, upstream: int, upstream_pid: int) -> None:
        self.directory = directory
        self.upstream = Subject("upstream", upstream, {"authorization": "Bearer none"}, MODEL, [upstream_pid])

    def load(
        self,
        asked: Subject,
        workload: Workload,
        requests: int,
        *,
        keys: Sequence[str] = (),
        models: Sequence[str] = (),
        strict: bool = True,
        **more: Any,
    ) -> Load:
        """Runs a workload; `keys` or `models`, of equal length each, are sent in turn instead of the subject's own.

        Raises NotWhole when an answer is not whole, unless it need not be `strict`.
        """
        variants = [
            (model, asked.headers | ({"authorization": f"Bearer {key}"} if key else {}))
            for model in models or [asked.model]
            for key in keys or [""]
        ]
        file = self.directory / "load.request"
        with file.open("wb") as written:
            written.writelines(request_of(workload, model, headers) for model, headers in variants)
        options: dict[str, Any] = {
            "connections": workload.connections,
            "requests": requests,
            "events": asked.events if workload.events else 0,
            "limit": LIMIT_SECONDS,
        }
        options |= {"variants": len(variants)} | more
        found = run_load(self.directory, asked.port, file, **options)
        if strict and (found.failed or (requests and found.good != requests)):
            raise NotWhole(f"{asked.name} did not answer every request whole: {found}")
        return found

    def round(self, product: Product, workload: Workload, **more: Any) -> Round:
        """Counts processor time over a workload's requests."""
        pids = {kind: product.pids(kind) for kind in (*REQUEST_PATH, "billing")}
        before = {kind: processor_seconds(found) for kind, found in pids.items()}
        found = self.load(product.subject(), workload, workload.requests, **more)
        time.sleep(SETTLE_SECONDS)
        spent = {kind: processor_seconds(found) - before[kind] for kind, found in pids.items()}
        return Round({kind: seconds * 1e6 / workload.requests for kind, seconds in spent.items()}, found)

    def warm_up(self, product: Product, workload: Workload, **more: Any) -> None:
        """Sends some requests of a workload that is counted."""
        self.load(product.subject(), workload, round(workload.requests * WARM_UP), **more)

    def added_latency(self, asked: Subject, share: float = 1.0, rate: int = RATES[0]) -> tuple[Load, Load]:
        """Returns what the client saw of the upstream, and then of a subject in front of it, at `rate` a second.

        `share`: of the requests, for a subject that is too slow for all.
        """
        requests = round(requests_at(rate) * share)
        open_loop = {"rate": rate, "connections": OPEN_LOOP_CONNECTIONS}
        direct, found = (self.load(one, SMALL, requests, **open_loop) for one in (self.upstream, asked))
        return direct, found

    def bears(self, asked: Subject, rate: int) -> tuple[bool, Load]:
        """Tells whether a subject answers `rate` requests a second whole and in time, and what the client saw."""
        found = self.load(
            asked,
            SMALL,
            requests := requests_at(rate),
            strict=False,
            rate=rate,
            connections=OPEN_LOOP_CONNECTIONS,
            limit=PROBE_LIMIT_SECONDS + requests / rate,
        )
        return found.good == requests and not found.failed and found.p99_ms <= RATE_P99_MS, found

    def paced(self, asked: Sequence[Subject], workload: Workload) -> Paced:
        """Counts over a window of paced streams at the first subject, and processor time of every one.

        Streams that fail are counted in `load`, and not raised.
        """
        first = asked[0]
        nominal = workload.connections * first.events / (CHUNKS * APART_MS / 1000) * PACED_LOOP["window"]
        spent: list[list[float]] = []
        memory: dict[str, int] = {}

        def sample() -> None:
            spent.append([one.processor_seconds() for one in asked])
            if len(spent) == 2:
                memory.update({one.name: one.memory_bytes() for one in asked})

        found = self.load(first, workload, 0, strict=False, marked=sample, **PACED_LOOP)
        streams = found.events / first.events
        micros = {
            one.name: (after - before) * 1e6 / streams if streams else 0.0
            for one, before, after in zip(asked, *spent, strict=True)
        }
        return Paced(found.events / nominal, micros, memory, found)
