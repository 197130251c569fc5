"""What requests cost the product: processor time, latency, gaps, what a feature adds, how soon a row is there."""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks.machine import percentile, spread
from benchmarks.peers.turns import OURS
from benchmarks.processes import processor_seconds
from benchmarks.product import REQUEST_PATH, Product, running
from benchmarks.receiver import receiving
from benchmarks.results import Results, Row
from benchmarks.workloads import (
    PACED,
    RATE_P99_MS,
    RATES,
    SETTLE_SECONDS,
    SMALL,
    STREAM,
    STREAMS,
    Bench,
    Round,
    Workload,
    chunk_micros,
    requests_at,
)

FEATURES = {
    "authentication": "authentication by the process's cache",
    "hold": "hold and settle in Valkey",
    "rating": "rating in the router",
    "event": "usage event with rating, spool and log",
    "log": "event log (spool kept)",
    "money": "hold, settle, rating, usage event, spool and log together",
    "metrics": "metrics: histograms and series of requests and attempts",
}
FEATURE_ROUNDS = 3
# What the product that is measured elsewhere has off, or keeps of one request in a hundred.
KEEP_ALL = {"TOLLGATE_ROUTER_TRACE_SAMPLE_RATIO": "1"}
ACCESS_LOG = {"TOLLGATE_EDGE_ACCESS_LOG": "on", "TOLLGATE_EDGE_ACCESS_LOG_LINES_PER_SECOND": "1000000"}
# The highest rate is looked for from here: doubled or halved this often at most, then the gap is cut in half so often.
FIRST_RATE = 2_000
DOUBLINGS = 3
HALVINGS = 3
FRESHNESS_RATE = 200
FRESHNESS_SECONDS = 12
POLL_SECONDS = 0.1


def ceiling(bench: Bench, results: Results) -> None:
    """Prints what the load client and the upstream can do without anything between them."""
    print(
        "\nThe load client straight at the upstream: requests/s, p99 ms, us of processor a request (client + upstream)"
    )
    for workload in (SMALL, STREAM):
        before = processor_seconds(bench.upstream.pids)
        found = bench.load(bench.upstream, workload, workload.requests)
        spent = processor_seconds(bench.upstream.pids) - before
        client, upstream = (seconds * 1e6 / workload.requests for seconds in (found.processor_seconds, spent))
        results.add("ceiling", workload=workload.name, client=client, upstream=upstream, load=asdict(found))
        print(f"  {workload.title:<42} {found.rate:8.0f} {found.p99_ms:6.1f}   {client:.0f} + {upstream:.0f}")


def requests(bench: Bench, results: Results, product: Product, workload: Workload, rounds: int) -> None:
    """Prints what a request of a workload costs each kind of process."""
    bench.warm_up(product, workload)
    found: list[Round] = []
    for number in range(rounds):
        found.append(one := bench.round(product, workload))
        results.add(
            "requests",
            workload=workload.name,
            round=number,
            requests=workload.requests,
            micros=one.micros,
            path=one.path,
            load=asdict(one.load),
        )
    print(f"\n{workload.title}, {workload.requests} a round, {len(found)} rounds: median (lowest - highest)")
    print(f"  edge + router + valkey  {spread([one.path for one in found])} us of processor a request")
    for kind in (*REQUEST_PATH, "billing"):
        print(f"  {kind:<22}  {spread([one.micros[kind] for one in found])}")
    rate, p50, p99 = (median(getattr(one.load, name) for one in found) for name in ("rate", "p50_ms", "p99_ms"))
    print(f"  {rate:.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)


def added_latency(bench: Bench, results: Results, product: Product, rounds: int, rates: Sequence[int] = RATES) -> None:
    """Prints the difference between the product and the upstream asked directly, in turns, at fixed rates."""
    print("\nAdded latency, open loop, ms of each pair")
    for rate in rates:
        pairs = [bench.added_latency(product.subject(), rate=rate) for _ in range(rounds)]
        for number, (direct, one) in enumerate(pairs):
            results.add("latency", rate=rate, round=number, direct=asdict(direct), load=asdict(one))
        p50 = [round(one.p50_ms - direct.p50_ms, 2) for direct, one in pairs]
        p99 = [round(one.p99_ms - direct.p99_ms, 2) for direct, one in pairs]
        late, sent = sum(one.late for pair in pairs for one in pair), 2 * rounds * requests_at(rate)
        print(f"  {rate:5} requests/s: p50 {p50}, p99 {p99}; {late} of {sent} sent more than 1 ms late", flush=True)


def highest_rate(bench: Bench, results: Results, product: Product) -> None:
    """Prints the highest rate that is answered whole within the bound of RATE_P99_MS, and what was tried."""
    print(f"\nHighest rate, open loop: all answered whole, p99 at most {RATE_P99_MS:.0f} ms", flush=True)

    def bears(rate: int) -> bool:
        # A pause of the machine must not pass for the product's end: a rate that failed has a second try.
        for number in range(2):
            borne, found = bench.bears(product.subject(), rate)
            results.add(
                "rates tried", rate=rate, round=number, requests=requests_at(rate), borne=borne, load=asdict(found)
            )
            print(
                f"  {rate:6} requests/s: {found.good} of {requests_at(rate)} whole, p99 {found.p99_ms:.1f} ms"
                f"{'' if borne else ': not borne'}",
                flush=True,
            )
            time.sleep(SETTLE_SECONDS)
            if borne:
                return True
        return False

    found = search_rate(bears)
    results.add("rates", rate=found, p99_limit_ms=RATE_P99_MS)
    print(f"  {found} requests/s" if found else "  none of these", flush=True)


def search_rate(bears: Callable[[int], bool]) -> int:
    """Returns the highest of the rates asked that is borne, 0 where none is; asks 1 + DOUBLINGS + HALVINGS at most."""
    low, high, rate = 0, 0, FIRST_RATE
    for _ in range(1 + DOUBLINGS):
        if bears(rate):
            low, rate = rate, rate * 2
        else:
            high, rate = rate, rate // 2
        if low and high:
            break
    # Where only one end is known, there is nothing to cut in half.
    for _ in range(HALVINGS if low and high else 0):
        middle = (low + high) // 2
        if bears(middle):
            low = middle
        else:
            high = middle
    return low


def chunk_costs(rows: Callable[..., Sequence[Row]]) -> dict[str, float]:
    """Returns what a chunk costs, in us of edge, router and Valkey, by the streams of a run; `rows` finds its rows."""
    streams = {STREAM.name: [row["path"] for row in rows("requests", workload=STREAM.name)]}
    for workload in PACED:
        found = rows("paced", workload=workload.name, subject=OURS)
        streams[workload.name] = [row["micros"][OURS] for row in found]
    return chunk_micros([row["path"] for row in rows("requests", workload=SMALL.name)], streams)


def chunks(results: Results) -> None:
    """Prints what a chunk costs, of what this run measured of streams."""
    for name, micros in chunk_costs(results.rows).items():
        results.add("chunks", workload=name, micros=micros)
        print(f"\nA chunk, {STREAMS[name].title}: {micros:.1f} us of processor beyond a small request", flush=True)


def paced(bench: Bench, results: Results, product: Product, workload: Workload) -> None:
    """Prints gaps between chunks and the share that arrived of what the upstream sends when nothing holds it up."""
    print(f"\n{workload.title}: delivered, gap p50 / p99 ms")
    for subject in (bench.upstream, product.subject()):
        found = bench.paced([subject], workload)
        results.add("paced", workload=workload.name, subject=subject.name, **asdict(found))
        print(
            f"  {subject.name:<10} {found.delivered:7.1%} {found.load.gap_p50_ms:7.1f} / {found.load.gap_p99_ms:.1f},"
            f" {found.micros[subject.name]:.0f} us of processor a stream",
            flush=True,
        )


def features(bench: Bench, results: Results, product: Product, config: Path) -> None:
    """Prints how much less a product costs that lacks a feature, or more that has it, beside this one, in turns."""
    print("\nWhat a feature costs, us a request: small / stream (two products, one with it and one without, in turns)")
    for name, title in FEATURES.items():
        with running(bench.directory / f"without-{name}", config, without=name) as less:
            _feature(bench, results, title, product, less)
    with receiving() as receiver:
        for name, title, settings in (
            ("spans", "spans, every trace kept and exported", KEEP_ALL | receiver.environment()),
            ("access-log", "access log, a line for every request", ACCESS_LOG),
        ):
            with running(bench.directory / f"with-{name}", config, **settings) as more:
                _feature(bench, results, title, more, product)
        print(f"  {receiver.spans()} spans came in")


def _feature(bench: Bench, results: Results, title: str, whole: Product, without: Product) -> None:
    saved: list[float] = []
    for workload in (SMALL, STREAM):
        for product in (whole, without):
            bench.warm_up(product, workload)
        pairs = [
            (bench.round(whole, workload).path, bench.round(without, workload).path) for _ in range(FEATURE_ROUNDS)
        ]
        for number, (more, less) in enumerate(pairs):
            results.add("features", feature=title, workload=workload.name, round=number, whole=more, without=less)
        # The lowest rounds are those that the machine's other load disturbed least.
        saved.append(min(more for more, _ in pairs) - min(less for _, less in pairs))
    print(f"  {title:<60} {saved[0]:6.0f} / {saved[1]:6.0f}", flush=True)


def freshness(bench: Bench, results: Results, product: Product) -> None:
    """Prints how long it takes from the end of an answer to its row, at a fixed rate; exact to the polling."""
    before = _settled_rows(product)
    times = bench.directory / "times"
    total = FRESHNESS_RATE * FRESHNESS_SECONDS
    seen: list[tuple[int, float]] = []
    loading = threading.Thread(
        target=bench.load, args=(product.subject(), SMALL, total), kwargs={"rate": FRESHNESS_RATE, "times": times}
    )
    loading.start()
    last = time.monotonic() + FRESHNESS_SECONDS + 30
    while time.monotonic() < last and (not seen or seen[-1][0] < total):
        rows = product.rows() - before
        seen.append((rows, time.monotonic()))
        time.sleep(POLL_SECONDS)
    loading.join()
    delays = _delays(sorted(int(line) / 1e9 for line in times.read_text().split()), seen)
    p50, p99 = percentile(delays, 0.5), percentile(delays, 0.99)
    results.add("freshness", rate=FRESHNESS_RATE, p50_s=p50, p99_s=p99, seen=len(delays), requests=total)
    print(
        f"\nEnd of an answer to a row that a query finds, {FRESHNESS_RATE} requests/s for {FRESHNESS_SECONDS} s:"
        f" p50 {p50:.2f} s, p99 {p99:.2f} s, {len(delays)} of {total} rows seen"
    )


def _delays(ended: Sequence[float], seen: Sequence[tuple[int, float]]) -> list[float]:
    """Returns seconds from each answer's end until so many rows were seen."""
    counts = [rows for rows, _ in seen]
    return [
        seen[place][1] - at
        for number, at in enumerate(ended, 1)
        if (place := bisect_left(counts, number)) < len(counts)
    ]


def _settled_rows(product: Product) -> int:
    """Returns the number of rows once it no longer grows."""
    found = -1
    while (now := product.rows()) != found:
        found = now
        time.sleep(1.5)
    return found
