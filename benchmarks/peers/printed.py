"""The tables of a run of gateways, as text."""

from collections.abc import Callable, Sequence
from functools import reduce
from statistics import median

from benchmarks.machine import spread
from benchmarks.peers.turns import OURS, WITH_BILLING
from benchmarks.results import Results, Row
from benchmarks.workloads import COUNTED, PACED, RATES, SMALL, STREAM, STREAMS, Workload, chunk_micros


def print_tables(results: Results, peers: Sequence[str]) -> None:
    """Prints what was measured of each gateway, and our processor time over each peer's, round by round."""
    for workload in COUNTED:
        if results.rows("requests", workload=workload.name):
            _print_requests(results, workload, peers)
    for workload in PACED:
        if results.rows("paced", workload=workload.name):
            _print_paced(results, workload, peers)
    _print_chunks(results, peers)
    if results.rows("latency"):
        print(f"\nAdded latency, open loop at {RATES[0]} requests/s, ms: median (lowest - highest) of the rounds")
        for name in (OURS, *peers):
            if found := results.rows("latency", gateway=name):
                p50, p99 = ([row["load"][part] - row["direct"][part] for row in found] for part in ("p50_ms", "p99_ms"))
                rate = median_of(found, "load", "rate")
                print(f"  {name:<24} p50 {spread(p50, 2)}   p99 {spread(p99, 2)}   answered {rate:.0f} a second")
    if results.rows("open"):
        _print_open(results, peers)


def _print_requests(results: Results, workload: Workload, peers: Sequence[str]) -> None:
    print(f"\n{workload.title}: median (lowest - highest) of the rounds")
    print(f"  {'':<24}{'us of processor a request':>28}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'MB':>7}")
    for name in (OURS, WITH_BILLING, *peers):
        if found := results.rows("requests", workload=workload.name, gateway=name):
            rate, p50, p99 = (median_of(found, "load", part) for part in ("rate", "p50_ms", "p99_ms"))
            memory = median_of(found, "memory") / 1e6
            print(f"  {name:<24}{_cost(found):>28}{rate:>12.0f}{p50:>9.1f}{p99:>9.1f}{memory:>7.0f}")
    _print_ratios(results, "requests", workload.name, peers)


def _print_paced(results: Results, workload: Workload, peers: Sequence[str]) -> None:
    print(f"\n{workload.title}: median (lowest - highest) of the rounds")
    heads = ("us of processor a stream", "delivered", "gap p50 / p99 ms", "MB", "failed")
    print(f"  {'':<24}{heads[0]:>28}{heads[1]:>11}{heads[2]:>18}{heads[3]:>7}{heads[4]:>8}")
    for name in ("upstream", OURS, WITH_BILLING, *peers):
        if found := results.rows("paced", workload=workload.name, gateway=name):
            p50, p99 = (median_of(found, "load", f"gap_{part}_ms") for part in ("p50", "p99"))
            memory, delivered = median_of(found, "memory") / 1e6, median_of(found, "delivered")
            failed = sum(map(failures, found))
            gaps = f"{p50:.1f} / {p99:.1f}"
            print(f"  {name:<24}{_cost(found):>28}{delivered:>11.1%}{gaps:>18}{memory:>7.0f}{failed:>8}")
    _print_ratios(results, "paced", workload.name, peers)


def _print_chunks(results: Results, peers: Sequence[str]) -> None:
    print("\nus of processor a chunk of a stream, beyond a small request")
    for name in (OURS, WITH_BILLING, *peers):
        costs = chunk_costs(results.rows, name)
        print(f"  {name:<24}" + ", ".join(f"{STREAMS[stream].title}: {cost:.1f}" for stream, cost in costs.items()))


def chunk_costs(find: Callable[..., Sequence[Row]], gateway: str) -> dict[str, float]:
    """Returns what a chunk costs a gateway, in us, by the streams of a run; `find` finds the run's rows."""
    small, burst = (
        [row["micros"] for row in find("requests", workload=workload.name, gateway=gateway)]
        for workload in (SMALL, STREAM)
    )
    paced = {
        workload.name: [
            row["micros"] for row in find("paced", workload=workload.name, gateway=gateway) if row["micros"]
        ]
        for workload in PACED
    }
    return chunk_micros(small, {STREAM.name: burst} | paced)


def _print_open(results: Results, peers: Sequence[str]) -> None:
    print("\nMemory that silent open streams add, MB per 1,000: median (lowest - highest) of the rounds")
    for name in (OURS, *peers):
        if found := [row for row in results.rows("open", gateway=name) if row["streams"]]:
            each = [per_thousand(row) for row in found]
            print(f"  {name:<24}{spread(each, 1)}   of {median_of(found, 'streams'):.0f} open streams")


def per_thousand(row: Row) -> float:
    """Returns the MB that a thousand open streams added in this round, of which at least one was open."""
    return float(row["bytes"]) / 1e6 / row["streams"] * 1000


def failures(row: Row) -> int:
    """Returns how many answers of a round were not whole."""
    return int(sum(row["load"][part] for part in ("bad_status", "not_whole", "broken")))


def ratios(ours: Sequence[Row], theirs: Sequence[Row]) -> list[float]:
    """Returns our processor time over theirs, round by round; rounds in which they delivered nothing are left out."""
    return [own["micros"] / other["micros"] for own, other in zip(ours, theirs, strict=False) if other["micros"]]


def _print_ratios(results: Results, table: str, workload: str, peers: Sequence[str]) -> None:
    ours = results.rows(table, workload=workload, gateway=OURS)
    for name in peers:
        if found := ratios(ours, results.rows(table, workload=workload, gateway=name)):
            print(f"  {OURS} / {name}: {spread(found, 2).strip()}")


def _cost(found: Sequence[Row]) -> str:
    micros = [row["micros"] for row in found]
    return f"{median(micros):.0f} ({min(micros):.0f} - {max(micros):.0f})"


def median_of(found: Sequence[Row], *path: str) -> float:
    """Returns the median of a figure of each row; `path` leads to it."""
    return median(float(reduce(lambda value, name: value[name], path, row)) for row in found)
