"""The requests that are measured, and how one round of them is counted."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.native import Load, run_load
from benchmarks.processes import processor_seconds
from benchmarks.product import MODEL, Product

CHUNKS = 64
APART_MS = 20
# What a request still costs when it was answered: its settle, its event, its row.
SETTLE_SECONDS = 0.3
WARM_UP = 0.4
PACED_LOOP = {"ramp": 1.3, "warm": 2.8, "window": 5}
REQUEST_PATH = ("edge", "router", "valkey")
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
    """Streams within a window: the share that arrived of what the upstream sends, and microseconds of each stream."""

    delivered: float
    micros: float
    load: Load


class Bench:
    """Measures products with the programs in a directory. `upstream`: the port that is asked directly."""

    def __init__(self, directory: Path, upstream: int, upstream_pid: int) -> None:
        self.directory = directory
        self.upstream = upstream
        self.upstream_pid = upstream_pid

    def load(
        self, product: Product | None, workload: Workload, requests: int, *, keys: Sequence[str] = (), **more: Any
    ) -> Load:
        """Runs a workload at a product, or directly at the upstream. Every answer must be whole, else RuntimeError."""
        presented = keys or [product.api_key if product else "none"]
        file = self.directory / "load.request"
        with file.open("wb") as written:
            written.writelines(request_of(workload, MODEL, {"authorization": f"Bearer {key}"}) for key in presented)
        options: dict[str, Any] = {
            "connections": workload.connections,
            "requests": requests,
            "events": workload.events,
            "limit": 60,
        }
        options |= {"variants": len(presented)} | more
        found = run_load(self.directory, product.port if product else self.upstream, file, **options)
        if found.failed or (requests and found.good != requests):
            raise RuntimeError(f"not every request was answered whole: {found}")
        return found

    def round(self, product: Product, workload: Workload, **more: Any) -> Round:
        """Counts processor time over a workload's requests."""
        pids = {kind: product.pids(kind) for kind in (*REQUEST_PATH, "billing")}
        before = {kind: processor_seconds(found) for kind, found in pids.items()}
        found = self.load(product, workload, workload.requests, **more)
        time.sleep(SETTLE_SECONDS)
        spent = {kind: processor_seconds(found) - before[kind] for kind, found in pids.items()}
        return Round({kind: seconds * 1e6 / workload.requests for kind, seconds in spent.items()}, found)

    def warm_up(self, product: Product, workload: Workload) -> None:
        """Sends some requests of a workload that is counted."""
        self.load(product, workload, round(workload.requests * WARM_UP))

    def paced(self, product: Product | None, workload: Workload) -> Paced:
        """Counts processor time and gaps over a window of paced streams, at a product or directly at the upstream."""
        nominal = workload.connections * workload.events / (CHUNKS * APART_MS / 1000) * PACED_LOOP["window"]
        spent: list[float] = []

        def sample() -> None:
            spent.append(processor_seconds(product.pids(*REQUEST_PATH) if product else [self.upstream_pid]))

        found = self.load(product, workload, 0, marked=sample, **PACED_LOOP)
        streams = found.events / workload.events
        return Paced(found.events / nominal, (spent[1] - spent[0]) * 1e6 / streams if streams else 0, found)
