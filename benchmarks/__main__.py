"""`python -m benchmarks [--quick]`: prints what the product costs on this machine."""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.native import NoCompiler, build, start_upstream
from benchmarks.processes import load_average, processor_name, proportional_bytes, spin_milliseconds
from benchmarks.product import Product, running, write_channel
from benchmarks.workloads import CHUNKS, SMALL, STREAM, Bench, Round, Workload

FEATURES = {
    "authentication": "authentication by the process's cache",
    "hold": "hold and settle in Valkey",
    "rating": "rating in the router",
    "event": "usage event with rating, spool and log",
    "log": "event log (spool kept)",
}
WARM_UP = 0.4
IDLE_SECONDS = 4
PACED_RATE = 200
PACED_SECONDS = 12
POLL_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 no C compiler."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="Two rounds, and no table of features.")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        directory = Path(name)
        try:
            build(directory)
        except NoCompiler:
            print("The benchmarks need a C compiler called cc, gcc or clang: install one (Debian: gcc libc6-dev).")
            return 2
        upstream, port = start_upstream(directory, CHUNKS)
        try:
            _run(Bench(directory), write_channel(directory, port), quick=options.quick)
        finally:
            upstream.kill()
            upstream.wait()
    return 0


def _run(bench: Bench, config: Path, *, quick: bool) -> None:
    print(_machine(), flush=True)
    _start_and_memory(bench)
    rounds = 2 if quick else 4
    with running(bench.directory / "product", config) as product:
        for workload in (SMALL, STREAM):
            _warm_up(bench, product, workload)
            _print_rounds(workload, [bench.round(product, workload) for _ in range(rounds)])
        if not quick:
            _print_features(bench, product, config)
        _print_freshness(bench, product)
    print(f"\nAt the end: {_load()}")


def _machine() -> str:
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return (
        f"Tollgate {commit.stdout.strip() or 'unknown'} on {platform.python_implementation()} "
        f"{platform.python_version()}, {platform.system()} {platform.release()}, {processor_name()}, "
        f"{os.cpu_count()} processors, {_load()}"
    )


def _load() -> str:
    return f"load average {load_average()}, a fixed loop takes {spin_milliseconds():.0f} ms of processor"


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


def _warm_up(bench: Bench, product: Product, workload: Workload) -> None:
    bench.load(product, workload, round(workload.requests * WARM_UP))


def _print_rounds(workload: Workload, found: Sequence[Round]) -> None:
    print(f"\n{workload.name}, {workload.requests} a round, {len(found)} rounds: median (lowest - highest)")
    print(f"  edge + router + valkey  {_spread([one.path for one in found])} us of processor a request")
    for kind in ("edge", "router", "valkey", "billing"):
        print(f"  {kind:<22}  {_spread([one.micros[kind] for one in found])}")
    rate, p50, p99 = (median(getattr(one.load, name) for one in found) for name in ("rate", "p50_ms", "p99_ms"))
    print(f"  {rate:.0f} requests/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)


def _print_features(bench: Bench, product: Product, config: Path) -> None:
    print("\nWhat a feature costs, us a request: small / stream (each switched off beside the whole product, in turns)")
    for name, title in FEATURES.items():
        with running(bench.directory / f"without-{name}", config, without=name) as less:
            saved: list[float] = []
            for workload in (SMALL, STREAM):
                _warm_up(bench, less, workload)
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


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):6.0f} ({min(values):.0f} - {max(values):.0f})"


if __name__ == "__main__":
    sys.exit(main())
