"""`python -m benchmarks [--quick] [--part NAME …]`: prints what the product costs on this machine."""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import costs, fresh, growth, instructions, memory
from benchmarks.machine import load, machine
from benchmarks.native import NoCompiler, build, running_upstream
from benchmarks.product import running, write_channel
from benchmarks.results import Results, add_option
from benchmarks.workloads import CHUNKS, COUNTED, PACED, RATES, SMALL, STREAM, Bench

ALONE = {
    "clone": fresh.clone,
    "start": memory.start,
    "ceiling": costs.ceiling,
    "open": memory.open_streams,
    "bodies": memory.bodies,
    "keys": growth.keys,
    "channels": growth.channels,
    "instructions": instructions.instructions,
}
ON_ONE_PRODUCT = ("requests", "latency", "paced", "rates", "features", "freshness")
PARTS = ("clone", "start", "ceiling", *ON_ONE_PRODUCT, "open", "bodies", "keys", "channels", "instructions")
QUICK = ("start", "ceiling", "requests", "latency", "paced")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 no C compiler."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"Only {', '.join(QUICK)}, with fewer workloads.")
    parser.add_argument(
        "--part", action="append", choices=PARTS, metavar="NAME", help=f"Only this: {', '.join(PARTS)}."
    )
    add_option(parser)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        directory = Path(name)
        try:
            build(directory)
        except NoCompiler as problem:
            print(problem)
            return 2
        with running_upstream(directory, CHUNKS) as (port, pid):
            results = Results("benchmarks")
            parts = options.part or (QUICK if options.quick else PARTS)
            try:
                _run(Bench(directory, port, pid), results, parts, quick=options.quick)
            finally:
                # A part that fails does not take the others with it.
                results.write(options.json)
    return 0


def _run(bench: Bench, results: Results, parts: Sequence[str], *, quick: bool) -> None:
    print(machine(), flush=True)
    for part in ("clone", "start", "ceiling"):
        if part in parts:
            ALONE[part](bench, results)
    if any(part in parts for part in ON_ONE_PRODUCT):
        _measure_one_product(bench, results, parts, quick=quick)
    for part in ("open", "bodies", "keys", "channels", "instructions"):
        if part in parts:
            ALONE[part](bench, results)
            results.note_busy()
    print(f"\nAt the end: {load()}")


def _measure_one_product(bench: Bench, results: Results, parts: Sequence[str], *, quick: bool) -> None:
    rounds = 2 if quick else 4
    config = write_channel(bench.directory, bench.upstream.port)
    with contextlib.ExitStack() as stack:
        product = stack.enter_context(running(bench.directory / "product", config))
        if "requests" in parts:
            for workload in (SMALL, STREAM) if quick else COUNTED:
                costs.requests(bench, results, product, workload, rounds)
        if "latency" in parts:
            costs.added_latency(bench, results, product, rounds // 2, RATES[:1] if quick else RATES)
        if "paced" in parts:
            for workload in PACED[:1] if quick else PACED:
                costs.paced(bench, results, product, workload)
        costs.chunks(results)
        if "rates" in parts:
            costs.highest_rate(bench, results, product)
        if "features" in parts:
            costs.features(bench, results, product, config)
        if "freshness" in parts:
            costs.freshness(bench, results, product)
        results.note_busy()


if __name__ == "__main__":
    sys.exit(main())
