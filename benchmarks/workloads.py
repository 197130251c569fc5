"""The requests that are measured, and how one round of them is counted."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.native import Load, run_load
from benchmarks.processes import processor_seconds
from benchmarks.product import MODEL, Product

CHUNKS = 64
# What a request still costs when it was answered: its settle, its event, its row.
SETTLE_SECONDS = 0.3
REQUEST_PATH = ("edge", "router", "valkey")
PROMPT = "You are a helpful assistant. Answer in one short sentence. What is the capital of France, and which river?"


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of request. `events` is how many chunks its answer has; 0 is an answer that is no stream."""

    name: str
    connections: int
    requests: int
    events: int


SMALL = Workload("small chat request, 32 connections", connections=32, requests=3000, events=0)
STREAM = Workload("burst stream of 65 chunks, 16 connections", connections=16, requests=1000, events=CHUNKS + 1)


def body_of(workload: Workload, model: str) -> dict[str, Any]:
    """Returns what is asked for."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": PROMPT}],
        "max_completion_tokens": 64,
    }
    if workload.events:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


@dataclass(frozen=True, slots=True)
class Round:
    """Processor microseconds per request by kind of process, and what the client saw."""

    micros: dict[str, float]
    load: Load

    @property
    def path(self) -> float:
        """Edge, router and Valkey together."""
        return sum(self.micros[kind] for kind in REQUEST_PATH)


class Bench:
    """Measures products with the programs in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def request_file(self, product: Product, workload: Workload) -> Path:
        """Writes the bytes of a workload's request for this product."""
        text = json.dumps(body_of(workload, MODEL)).encode()
        path = self.directory / f"{product.port}-{workload.events}.request"
        path.write_bytes(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (product.api_key.encode(), len(text), text)
        )
        return path

    def load(self, product: Product, workload: Workload, requests: int, **more: Any) -> Load:
        """Runs a workload; every answer must be whole. Raises RuntimeError."""
        found = run_load(
            self.directory,
            product.port,
            self.request_file(product, workload),
            connections=workload.connections,
            requests=requests,
            events=workload.events,
            **more,
        )
        if found.good != requests:
            raise RuntimeError(f"not every request was answered whole: {found}")
        return found

    def round(self, product: Product, workload: Workload) -> Round:
        """Counts processor time over a workload's requests."""
        kinds = (*REQUEST_PATH, "billing")
        before = {kind: processor_seconds(product.pids(kind)) for kind in kinds}
        found = self.load(product, workload, workload.requests)
        time.sleep(SETTLE_SECONDS)
        after = {kind: processor_seconds(product.pids(kind)) for kind in kinds}
        return Round({kind: (after[kind] - before[kind]) * 1e6 / workload.requests for kind in kinds}, found)
