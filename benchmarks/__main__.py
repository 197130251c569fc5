"""`python -m benchmarks [--quick]`: prints what the product costs on this machine."""

import argparse
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.machine import load, machine, spread
from benchmarks.native import NoCompiler, build, running_upstream
from benchmarks.processes import processor_seconds, proportional_bytes
from benchmarks.product import Product, running, write_channel
from benchmarks.workloads import CHUNKS, COUNTED, PACED, SMALL, STREAM, Bench, Round, Workload

FEATURES = {
    "authentication": "authentication by the process's cache",
    "hold": "hold and settle in Valkey",
    "rating": "rating in the router",
    "event": "usage event with rating, spool and log",
    "log": "event log (spool kept)",
}
IDLE_SECONDS = 4
PACED_RATE = 200
PACED_SECONDS = 12
POLL_SECONDS = 0.1
OPEN_LOOP = {"rate": 200, "connections": 64}
OPEN_LOOP_REQUESTS = 1000


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 no C compiler."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="Fewer workloads and rounds; no features, no freshness.")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        directory = Path(name)
        try:
            build(directory)
        except NoCompiler as problem:
            print(problem)
            return 2
        with running_upstream(directory, CHUNKS) as (port, pid):
            _run(Bench(directory, port, pid), write_channel(directory, port), quick=options.quick)
    return 0


def _run(bench: Bench, config: Path, *, quick: bool) -> None:
    print(machine(), flush=True)
    _start_and_memory(bench)
    _print_ceiling(bench)
    rounds = 2 if quick else 4
    with running(bench.directory / "product", config) as product:
        for workload in (SMALL, STREAM) if quick else COUNTED:
            bench.warm_up(product, workload)
            _print_rounds(workload, [bench.round(product, workload) for _ in range(rounds)])
        _print_added_latency(bench, product, rounds // 2)
        for workload in PACED[:1] if quick else PACED:
            _print_paced(bench, product, workload)
        if not quick:
            _print_features(bench, product, config)
            _print_freshness(bench, product)
    print(f"\nAt the end: {load()}")


def _print_ceiling(bench: Bench) -> None:
    """Prints what the load client and the upstream can do without anything between them."""
    print(
        "\nThe load client straight at the upstream: requests/s, p99 ms, us of processor a request (client + upstream)"
    )
    for workload in (SMALL, STREAM):
        before = processor_seconds([bench.upstream_pid])
        found = bench.load(None, workload, workload.requests)
        spent = processor_seconds([bench.upstream_pid]) - before
        micros = [seconds * 1e6 / workload.requests for seconds in (found.processor_seconds, spent)]
        print(f"  {workload.title:<42} {found.rate:8.0f} {found.p99_ms:6.1f}   {micros[0]:.0f} + {micros[1]:.0f}")


def _print_added_latency(bench: Bench, product: Product, rounds: int) -> None:
    """Prints the difference between the product and the upstream asked directly, in turns, at a fixed rate."""
    pairs = [
        [bench.load(asked, SMALL, OPEN_LOOP_REQUESTS, **OPEN_LOOP) for asked in (None, product)] for _ in range(rounds)
    ]
    p50 = [round(one.p50_ms - direct.p50_ms, 2) for direct, one in pairs]
    p99 = [round(one.p99_ms - direct.p99_ms, 2) for direct, one in pairs]
    late = sum(one.late for pair in pairs for one in pair)
    print(f"\nAdded latency, open loop at {OPEN_LOOP['rate']} requests/s, ms of each pair: p50 {p50}, p99 {p99}")
    print(f"  {late} of {2 * rounds * OPEN_LOOP_REQUESTS} were sent more than 1 ms late", flush=True)


def _print_paced(bench: Bench, product: Product, workload: Workload) -> None:
    """Prints gaps between chunks and the share that arrived of what the upstream sends when nothing holds it up."""
    print(f"\n{workload.title}: delivered, gap p50 / p99 ms")
    for title, asked in (("upstream", None), ("tollgate", product)):
        found = bench.paced(asked, workload)
        print(
            f"  {title:<10} {found.delivered:7.1%} {found.load.gap_p50_ms:7.1f} / {found.load.gap_p99_ms:.1f},"
            f" {found.micros:.0f} us of processor a stream",
            flush=True,
        )


def _start_and_memory(bench: Bench) -> None:
    home = bench.directory / "idle"
    with running(home) as product:
        product.chat()
    begin = time.monotonic()
    with running(home) as product:
        product.chat()
        warm = time.monotonic() - begin
        time.sleep(IDLE_SECONDS)
        parts = {kind: sum(map(proportional_bytes, pids)) for kind, pids in product.processes.items()}
        parts["supervisor"] = proportional_bytes(product.supervisor)
    print(f"\nWarm start to first answer: {warm:.1f} s")
    print(f"Idle memory (proportional set size): {sum(parts.values()) / 1e6:.0f} MB, of it")
    print("  " + ", ".join(f"{kind} {size / 1e6:.0f}" for kind, size in sorted(parts.items(), key=lambda one: -one[1])))


def _print_rounds(workload: Workload, found: Sequence[Round]) -> None:
    print(f"\n{workload.title}, {workload.requests} a round, {len(found)} rounds: median (lowest - highest)")
    print(f"  edge + router + valkey  {spread([one.path for one in found])} us of processor a request")
    for kind in ("edge", "router", "valkey", "billing"):
        print(f"  {kind:<22}  {spread([one.micros[kind] for one in found])}")
    rate, p50, p99 = (median(getattr(one.load, name) for one in found) for name in ("rate", "p50_ms", "p99_ms"))
    print(f"  {rate:.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)


def _print_features(bench: Bench, product: Product, config: Path) -> None:
    print("\nWhat a feature costs, us a request: small / stream (each switched off beside the whole product, in turns)")
    for name, title in FEATURES.items():
        with running(bench.directory / f"without-{name}", config, without=name) as less:
            saved: list[float] = []
            for workload in (SMALL, STREAM):
                bench.warm_up(less, workload)
                pairs = [(bench.round(product, workload).path, bench.round(less, workload).path) for _ in range(3)]
                # The lowest rounds are those that the machine's other load disturbed least.
                saved.append(min(whole for whole, _ in pairs) - min(without for _, without in pairs))
        print(f"  {title:<42} {saved[0]:6.0f} / {saved[1]:6.0f}", flush=True)


def _print_freshness(bench: Bench, product: Product) -> None:
    """Prints how long it takes from the end of an answer to its row, at a fixed rate; exact to the polling."""
    before = _settled_rows(product)
    times = bench.directory / "times"
    total = PACED_RATE * PACED_SECONDS
    seen: list[tuple[int, float]] = []
    loading = threading.Thread(
        target=bench.load, args=(product, SMALL, total), kwargs={"rate": PACED_RATE, "times": times}
    )
    loading.start()
    last = time.monotonic() + PACED_SECONDS + 30
    while time.monotonic() < last and (not seen or seen[-1][0] < total):
        rows = product.rows() - before
        seen.append((rows, time.monotonic()))
        time.sleep(POLL_SECONDS)
    loading.join()
    ended = sorted(int(line) / 1e9 for line in times.read_text().split())
    counts = [rows for rows, _ in seen]
    delays = sorted(
        seen[place][1] - at
        for number, at in enumerate(ended, 1)
        if (place := bisect_left(counts, number)) < len(counts)
    )
    print(
        f"\nEnd of an answer to a row that a query finds, {PACED_RATE} requests/s for {PACED_SECONDS} s:"
        f" p50 {delays[len(delays) // 2]:.2f} s, p99 {delays[int(len(delays) * 0.99)]:.2f} s,"
        f" {len(delays)} of {total} rows seen"
    )


def _settled_rows(product: Product) -> int:
    """Returns the number of rows once it no longer grows."""
    found = -1
    while (now := product.rows()) != found:
        found = now
        time.sleep(1.5)
    return found


if __name__ == "__main__":
    sys.exit(main())
