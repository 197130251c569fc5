"""The part of the page that sets Tollgate beside other gateways."""

from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

from benchmarks.markdown import ran, range_of, spread, table
from benchmarks.peers.printed import chunk_costs, failures, median_of, per_thousand
from benchmarks.peers.turns import OURS, WITH_BILLING
from benchmarks.plots import figure, ranges
from benchmarks.results import Row, rows
from benchmarks.targets import Found, peers_of, ratio
from benchmarks.workloads import COUNTED, PACED, RATES, STREAMS, Workload

# Gaps of who delivers less than this share say little: they are between what did arrive.
DRAWN = 0.25


def section(found: Found, plots: dict[str, str]) -> Iterator[str]:
    """Yields the text, and adds its plots by their file's name."""
    run = found["peers"]
    yield f"\n## Beside other gateways\n\n{ran(run)}\n\n"
    yield (
        "In turns, each a fresh process each time, in front of the same upstream; every answer is checked whole. "
        "Nobody does the same: [what each has on](reference/benchmarks.md#other-gateways). "
        + ", ".join(f"{name}: {title}" for name, title in run["versions"].items())
        + ".\nThe last column is Tollgate's processor time over the peer's, round by round.\n"
    )
    for workload in COUNTED:
        if rows(run, "requests", workload=workload.name):
            yield from _requests(found, workload, plots)
    for workload in PACED:
        if rows(run, "paced", workload=workload.name):
            yield from _paced(found, workload, plots)
    yield from _chunks(found)
    if rows(run, "latency"):
        yield from _latency(found)
    if rows(run, "open"):
        yield from _open(found)


def _requests(found: Found, workload: Workload, plots: dict[str, str]) -> Iterator[str]:
    run = found["peers"]
    costs = {
        name: found_rows
        for name in _names(found)
        if (found_rows := rows(run, "requests", workload=workload.name, gateway=name))
    }
    unit = "µs of processor a request"
    plot = f"peers-{_slug(workload)}.svg"
    plots[plot] = ranges(
        workload.title[0].upper() + workload.title[1:],
        unit,
        [
            range_of(name, [row["micros"] for row in found_rows], ours=name.startswith(OURS))
            for name, found_rows in costs.items()
        ],
        logarithmic=True,
    )
    yield f"\n### {workload.title[0].upper()}{workload.title[1:]}\n\n![{unit} of each gateway](benchmarks/{plot})\n\n"
    yield table(
        ("gateway", unit, "requests/s", "p50 ms", "p99 ms", "MB", "tollgate / it"),
        [
            (
                name,
                spread([row["micros"] for row in found_rows]),
                f"{median_of(found_rows, 'load', 'rate'):.0f}",
                figure(median_of(found_rows, "load", "p50_ms")),
                figure(median_of(found_rows, "load", "p99_ms")),
                f"{median_of(found_rows, 'memory') / 1e6:.0f}",
                _ratio(found, "requests", workload, name),
            )
            for name, found_rows in costs.items()
        ],
    )


def _paced(found: Found, workload: Workload, plots: dict[str, str]) -> Iterator[str]:
    run = found["peers"]
    streams = {name: rows(run, "paced", workload=workload.name, gateway=name) for name in ("upstream", *_names(found))}
    plot = f"peers-{_slug(workload)}.svg"
    plots[plot] = ranges(
        f"{workload.title}: 99th percentile of gaps",
        "ms",
        [
            range_of(name, [row["load"]["gap_p99_ms"] for row in found_rows], ours=name == OURS)
            for name, found_rows in streams.items()
            if name != WITH_BILLING and median_of(found_rows, "delivered") >= DRAWN
        ],
        logarithmic=True,
    )
    yield f"\n### {workload.title}\n\n![p99 of the gaps between chunks](benchmarks/{plot})\n\n"
    yield "Delivered is the share of what the upstream sends undisturbed; "
    yield f"who delivers less than {DRAWN:.0%} is not drawn.\n\n"
    yield table(
        (
            "gateway",
            "µs of processor a stream",
            "delivered",
            "gap p50 ms",
            "gap p99 ms",
            "MB",
            "failed",
            "tollgate / it",
        ),
        [
            (
                name,
                spread([row["micros"] for row in found_rows]),
                f"{median_of(found_rows, 'delivered'):.1%}",
                figure(median_of(found_rows, "load", "gap_p50_ms")),
                figure(median_of(found_rows, "load", "gap_p99_ms")),
                f"{median_of(found_rows, 'memory') / 1e6:.0f}",
                str(sum(map(failures, found_rows))),
                _ratio(found, "paced", workload, name),
            )
            for name, found_rows in streams.items()
        ],
    )


def _chunks(found: Found) -> Iterator[str]:
    costs = {name: chunk_costs(partial(rows, found["peers"]), name) for name in _names(found)}
    streams = [name for name in STREAMS if any(name in one for one in costs.values())]
    if streams:
        yield "\n### A chunk of a stream\n\nWhat a stream costs beyond a small request, over its chunks, medians.\n\n"
        yield table(
            ("µs of processor a chunk", *(STREAMS[name].title for name in streams)),
            [
                (gateway, *(figure(one[name]) if name in one else "" for name in streams))
                for gateway, one in costs.items()
            ],
        )


def _latency(found: Found) -> Iterator[str]:
    run = found["peers"]
    yield f"\n### Added latency, open loop at {RATES[0]} requests a second\n\n"
    yield "The upstream is asked directly just before each; differences of percentiles, which may be below 0.\n\n"
    lines = []
    for name in _names(found):
        if pairs := rows(run, "latency", gateway=name):
            p50, p99 = (_added(pairs, part) for part in ("p50_ms", "p99_ms"))
            lines.append((name, _signed(p50), _signed(p99), f"{median_of(pairs, 'load', 'rate'):.0f}"))
    yield table(("gateway", "p50 ms", "p99 ms", "answered a second"), lines)


def _open(found: Found) -> Iterator[str]:
    run = found["peers"]
    yield "\n### Memory of open streams\n\n"
    yield "Streams that had their first chunk and are silent: proportional set size, less what it was before.\n\n"
    lines = []
    for name in _names(found):
        if found_rows := [row for row in rows(run, "open", gateway=name) if row["streams"]]:
            before, streams = median_of(found_rows, "before") / 1e6, median_of(found_rows, "streams")
            lines.append((name, spread([per_thousand(row) for row in found_rows]), f"{streams:.0f}", f"{before:.0f}"))
    yield table(("gateway", "MB per 1,000 streams", "open streams", "MB before"), lines)


def _added(pairs: list[Row], part: str) -> list[float]:
    return [row["load"][part] - row["direct"][part] for row in pairs]


def _signed(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} - {max(values):.2f})"


def _names(found: Found) -> list[str]:
    return [OURS, WITH_BILLING, *peers_of(found)]


def _ratio(found: Found, table_name: str, workload: Workload, name: str) -> str:
    if name in (OURS, WITH_BILLING, "upstream"):
        return ""
    values: list[Any] = ratio(found, table_name, workload.name, name)
    return f"{median(values):.2f} ({min(values):.2f} - {max(values):.2f})" if values else ""


def _slug(workload: Workload) -> str:
    return workload.name.replace(" ", "-")
