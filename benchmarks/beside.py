"""`python -m benchmarks.beside DIR`: the product of this tree and that of another checkout, in turns, as ratios."""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.machine import commit_of, load, machine, spread
from benchmarks.native import NoCompiler, build, running_upstream
from benchmarks.product import REQUEST_PATH, ROOT, NoTree, Product, running, sources, write_channel
from benchmarks.results import Results, add_option
from benchmarks.workloads import CHUNKS, COUNTED, PACED, SMALL, STREAM, Bench, Workload

ROUNDS = 9
WORKLOADS = {workload.name.replace(" ", ""): workload for workload in (*COUNTED, *PACED)}
SIDES = ("this", "that")


@dataclass(frozen=True, slots=True)
class Side:
    """One workload on one product in one round: microseconds of processor a request, by kind and of the whole path."""

    micros: Mapping[str, float]
    p50_ms: float
    p99_ms: float
    delivered: float = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 there is no such tree, or no C compiler."""
    parser = argparse.ArgumentParser(prog="benchmarks.beside", description=__doc__)
    parser.add_argument("directory", type=Path, metavar="DIR", help="The other checkout; `.` is this one again.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"How many pairs; {ROUNDS}.")
    parser.add_argument(
        "--workload",
        action="append",
        choices=WORKLOADS,
        help="Measure this, and others so named; small and burst.",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", type=_setting, help="In the environment of DIR's."
    )
    add_option(parser)
    options = parser.parse_args(arguments)
    other = options.directory.resolve()
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        directory = Path(name)
        try:
            sources(other)
            build(directory)
        except (NoCompiler, NoTree) as problem:
            print(problem)
            return 2
        with running_upstream(directory, CHUNKS) as (port, pid):
            chosen = [WORKLOADS[one] for one in options.workload or (SMALL.name, STREAM.name)]
            trees = {"this": commit_of(ROOT), "that": commit_of(other)} | dict(options.set)
            results = Results("benchmarks.beside", trees)
            _run(Bench(directory, port, pid), other, dict(options.set), chosen, max(1, options.rounds), results)
            results.write(options.json)
    return 0


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _run(
    bench: Bench,
    other: Path,
    settings: Mapping[str, str],
    chosen: Sequence[Workload],
    rounds: int,
    results: Results,
) -> None:
    print(machine())
    given = "".join(f" {name}={value}" for name, value in settings.items())
    print(f"this: {ROOT} at {commit_of(ROOT)}\nthat: {other} at {commit_of(other)}{given}", flush=True)
    config = write_channel(bench.directory, bench.upstream.port)
    with contextlib.ExitStack() as stack:
        products = [
            stack.enter_context(running(bench.directory / SIDES[0], config)),
            stack.enter_context(running(bench.directory / SIDES[1], config, root=other, **settings)),
        ]
        for workload in chosen:
            pairs = _pairs(bench, products, workload, rounds)
            for number, pair in enumerate(pairs):
                results.add("pairs", workload=workload.name, round=number, this=asdict(pair[0]), that=asdict(pair[1]))
            _print_pairs(workload, pairs)
    print(f"\nAt the end: {load()}")


def _pairs(bench: Bench, products: Sequence[Product], workload: Workload, rounds: int) -> list[list[Side]]:
    """Returns a pair for each round. Who begins alternates: whatever the first leaves behind meets both."""
    for product in products:
        _measure(bench, product, workload) if workload.apart_ms else bench.warm_up(product, workload)
    pairs = []
    for number in range(rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        found = {place: _measure(bench, products[place], workload) for place in order}
        pairs.append([found[0], found[1]])
    return pairs


def _measure(bench: Bench, product: Product, workload: Workload) -> Side:
    if workload.apart_ms:
        paced = bench.paced([product.subject()], workload)
        return Side({"path": paced.micros["tollgate"]}, paced.load.gap_p50_ms, paced.load.gap_p99_ms, paced.delivered)
    found = bench.round(product, workload)
    return Side({"path": found.path} | found.micros, found.load.p50_ms, found.load.p99_ms)


def _print_pairs(workload: Workload, pairs: Sequence[Sequence[Side]]) -> None:
    """Prints both sides' figures, and the ratios of the pairs: what one round of one side met, so did the other's."""
    what = "a stream; gaps between chunks" if workload.apart_ms else "a request"
    print(f"\n{workload.title}, {len(pairs)} pairs: us of processor {what}: median (lowest - highest)")
    for place, title in enumerate(SIDES):
        rows = [pair[place] for pair in pairs]
        parts = ", ".join(
            f"{kind} {median(row.micros[kind] for row in rows):.0f}"
            for kind in (*REQUEST_PATH, "billing")
            if kind in rows[0].micros
        )
        p50, p99 = median(row.p50_ms for row in rows), median(row.p99_ms for row in rows)
        arrived = f", delivered {median(row.delivered for row in rows):.1%}" if workload.apart_ms else ""
        cost = spread([row.micros["path"] for row in rows])
        print(f"  {title}  {cost}  {parts}{', ' if parts else ''}p50 {p50:.1f} ms, p99 {p99:.1f} ms{arrived}")
    ratios = [ours.micros["path"] / theirs.micros["path"] for ours, theirs in pairs if theirs.micros["path"]]
    print(f"  this / that {spread(ratios, 2).strip()}: {' '.join(f'{ratio:.2f}' for ratio in ratios)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
