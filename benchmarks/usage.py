"""`python -m benchmarks.usage [--part NAME] [--events N | --rows N]`: what booking usage and asking about it costs.

With `--rows`, so many rows are made inside the engine, and only the kept questions are asked of them.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import usage_alone, usage_fresh, usage_insert, usage_outage, usage_views
from benchmarks.events import KEYS, MODELS, EventSource, publish, template_of
from benchmarks.machine import load, machine, percentile, spread
from benchmarks.processes import processor_seconds
from benchmarks.product import Product, running
from benchmarks.results import Results, add_option
from tollgate_cli.home import Home

EVENTS = 200_000
BACKLOG = usage_alone.EVENTS * usage_alone.ROUNDS
ROUNDS = 4
QUESTIONS = 40
WAIT_SECONDS = 600.0
POLL_SECONDS = 0.05
PARTS = ("insert", "alone", "unsynced", "kafka", "outage", "booking", "questions", "freshness")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.usage", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, help=f"How many; {EVENTS}, of a backlog {BACKLOG}.")
    parser.add_argument("--questions", type=int, default=QUESTIONS, help=f"How often each is asked; {QUESTIONS}.")
    add_option(parser)
    parser.add_argument("--rows", type=int, default=0, help="Make so many rows, and ask the kept questions of them.")
    parser.add_argument("--keep", type=Path, help="Where rows are made and kept; rows that are there are asked.")
    parser.add_argument("--part", action="append", choices=PARTS, help="Only this part; may be given again.")
    options = parser.parse_args(arguments)
    results = Results("benchmarks.usage")
    parts = set(options.part or PARTS)
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        print(machine(), flush=True)
        if options.rows:
            usage_views.run(options.keep or Path(name) / "views", results, options.rows, options.questions)
        else:
            _run(Path(name), results, parts, options)
        print(f"\nAt the end: {load()}")
        results.write(options.json)
    return 0


def _run(directory: Path, results: Results, parts: set[str], options: argparse.Namespace) -> None:
    if "insert" in parts:
        usage_insert.run(directory, results)
    for kind in usage_alone.TITLES:
        # What smaller batches give back of the memory is seen beside the others.
        if kind in parts or (kind == "smaller" and "alone" in parts):
            usage_alone.run(directory / kind, results, max(1, (options.events or BACKLOG) // usage_alone.ROUNDS), kind)
    if "outage" in parts:
        usage_outage.run(directory / "outage", results, options.events or usage_outage.EVENTS)
    if not parts & {"booking", "questions", "freshness"}:
        return
    with running(directory / "product") as product:
        product.chat()
        source, redis = _source(product), f"unix://{Home(product.home).socket('valkey')}"
        if parts & {"booking", "questions"}:
            names = _book(product, redis, source, results, max(1, (options.events or EVENTS) // ROUNDS))
            if "questions" in parts:
                _ask(product, results, names, options.questions)
        if "freshness" in parts:
            usage_fresh.run(product, redis, source, results)


def _source(product: Product) -> EventSource:
    """Returns a source of events of the tenant whose request the product has just booked."""
    _wait(product, 1)
    _, page = product.call("GET", "/api/v1/requests?limit=1", product.admin_key)
    return EventSource(template_of(page["items"][0]), seed=1)


def _book(product: Product, redis: str, source: EventSource, results: Results, count: int) -> list[str]:
    """Has billing book the events, in rounds, and prints what that took; returns some request ids."""
    before = _sizes(product)
    names: list[str] = []
    figures: dict[str, list[float]] = {"rate": [], "billing": [], "valkey": [], "publishing": []}
    for _ in range(ROUNDS):
        rows = product.rows() + count
        # All is in the log before billing sees any of it, so that its batches are full.
        with _standing_still(product):
            began = time.process_time()
            names += asyncio.run(publish(product, redis, source, count))
            figures["publishing"].append((time.process_time() - began) * 1e6 / count)
            spent = {kind: processor_seconds(product.pids(kind)) for kind in ("billing", "valkey")}
        started = time.monotonic()
        _wait(product, rows)
        figures["rate"].append(count / (time.monotonic() - started))
        for kind, used in spent.items():
            figures[kind].append((processor_seconds(product.pids(kind)) - used) * 1e6 / count)
        results.add("booking", events=count, **{name: values[-1] for name, values in figures.items()})
    after = _sizes(product)
    print(f"\nBooking {ROUNDS} x {count} events that wait in the log: median (lowest - highest)")
    print(f"  rows a second                    {spread(figures['rate'])}")
    print(f"  billing, us of processor a row   {spread(figures['billing'], 1)}")
    print(f"  valkey, us of processor a row    {spread(figures['valkey'], 1)}")
    print(f"  (making, holding and publishing: {spread(figures['publishing'], 1)} us in this program)")
    print("\nBytes on disk a row, after all were booked")
    for part, size in after.items():
        results.add("disk", part=part, bytes_a_row=(size - before[part]) / (ROUNDS * count))
        print(f"  {part:<32} {(size - before[part]) / (ROUNDS * count):6.0f}")
    return names


@contextlib.contextmanager
def _standing_still(product: Product) -> Iterator[None]:
    """Stops billing, which has nothing to do and holds no lock then, and lets it go on."""
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in product.pids("billing"):
            os.kill(pid, number)
        if number == signal.SIGSTOP:
            yield


def _wait(product: Product, rows: int) -> None:
    """Waits until so many rows are booked and billing is at rest."""
    last = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < last:
        _, status = product.call("GET", "/api/v1/billing/status", product.admin_key)
        if int(status["mismatches"]) or int(status["poison"]):
            raise RuntimeError(f"billing does not agree with the events: {status}")
        if int(status["rows"]) >= rows and not int(status["lag_ms"]):
            return
        time.sleep(POLL_SECONDS)
    raise RuntimeError(f"billing did not book {rows} rows: {status}")


def _sizes(product: Product) -> dict[str, int]:
    """Returns the bytes on disk of what keeps usage and money."""
    parts = {"usage store": "usage", "ledger": "billing", "event log": "log", "Valkey's append-only file": "valkey"}
    return {title: sum(_blocks(product.home / folder)) for title, folder in parts.items()}


def _blocks(folder: Path) -> Iterator[int]:
    for file in folder.rglob("*"):
        # A file may go while they are counted: the store merges.
        with contextlib.suppress(FileNotFoundError):
            if file.is_file():
                yield file.stat().st_blocks * 512


def _ask(product: Product, results: Results, names: Sequence[str], times: int) -> None:
    """Asks each question through the public API and prints how long the answers took."""
    rows = product.rows()
    print(f"\nQuestions over {rows} rows, {times} times each through the public API, ms: p50 / p99 (the first)")
    for title, paths in _questions(product, names, times).items():
        took = []
        for path in paths:
            began = time.monotonic()
            status, body = product.call("GET", path, product.admin_key)
            took.append((time.monotonic() - began) * 1e3)
            if status != 200:
                raise RuntimeError(f"{path} was answered {status}: {body}")
        ordered = took[1:] or took
        results.add("questions", question=title, rows=rows, ms=[round(one, 2) for one in took])
        print(
            f"  {title:<42} {percentile(ordered, 0.5):7.1f} / {percentile(ordered, 0.99):7.1f} ({took[0]:.1f})",
            flush=True,
        )


def _questions(product: Product, names: Sequence[str], times: int) -> Mapping[str, Sequence[str]]:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    _, page = product.call("GET", "/api/v1/requests?limit=50", product.admin_key)
    return {
        "sums of everything by model": ["/api/v1/usage?group_by=model"] * times,
        "sums of everything by day and model": ["/api/v1/usage?group_by=day,model"] * times,
        "sums of everything by key": ["/api/v1/usage?group_by=key"] * times,
        "sums of the last day by hour": [f"/api/v1/usage?group_by=hour&from={yesterday}"] * times,
        "sums of one key by day": [
            f"/api/v1/usage?group_by=day&api_key_id=key_bench{number % KEYS:04d}" for number in range(times)
        ],
        "sums of one model": [f"/api/v1/usage?model={MODELS[number % len(MODELS)]}" for number in range(times)],
        "the newest 50 requests": ["/api/v1/requests?limit=50"] * times,
        "the 50 after them": [f"/api/v1/requests?limit=50&cursor={page['next']}"] * times,
        "one request by its id": [
            f"/api/v1/requests?request_id={names[number * len(names) // times]}" for number in range(times)
        ],
        "the balance": ["/api/v1/balance"] * times,
    }


if __name__ == "__main__":
    sys.exit(main())
