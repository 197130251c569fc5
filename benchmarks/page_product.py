"""The part of the page that says what the product costs alone."""

from collections.abc import Iterator, Mapping
from functools import partial
from statistics import median
from typing import Any

from benchmarks.costs import chunk_costs
from benchmarks.markdown import ran, range_of, spread, table
from benchmarks.peers.printed import median_of
from benchmarks.plots import figure, ranges, stacks
from benchmarks.product import REQUEST_PATH
from benchmarks.results import rows
from benchmarks.targets import Found
from benchmarks.workloads import COUNTED, PACED, SMALL, STREAM, STREAMS

KINDS = (*REQUEST_PATH, "billing")


def section(found: Found, plots: dict[str, str]) -> Iterator[str]:
    """Yields the text, and adds its plots by their file's name."""
    run = found["product"]
    yield f"\n## The product alone\n\n{ran(run)}\n"
    for name, part in PARTS.items():
        # A part may have been run by itself since.
        alone = found.get(name)
        if alone is not None and rows(alone, name):
            yield from part(alone, plots)
            yield f"\nOf a run by itself: {ran(alone)}\n"
        elif rows(run, name):
            yield from part(run, plots)


def _requests(run: Mapping[str, Any], plots: dict[str, str]) -> Iterator[str]:
    unit = "µs of processor a request"
    counted = {workload: rows(run, "requests", workload=workload.name) for workload in COUNTED}
    parts = {
        workload.name: {kind: median(row["micros"][kind] for row in counted[workload]) for kind in KINDS}
        for workload in (SMALL, STREAM)
    }
    plots["product-parts.svg"] = stacks("What a small request and a burst stream cost", unit, parts)
    yield f"\n### Processor time a request\n\n![{unit} by process](benchmarks/product-parts.svg)\n\n"
    yield table(
        ("request", "edge + router + Valkey, µs", *KINDS, "requests/s", "p50 ms", "p99 ms"),
        [
            (
                workload.title,
                spread([row["path"] for row in found]),
                *(figure(median(row["micros"][kind] for row in found)) for kind in KINDS),
                f"{median_of(found, 'load', 'rate'):.0f}",
                figure(median_of(found, "load", "p50_ms")),
                figure(median_of(found, "load", "p99_ms")),
            )
            for workload, found in counted.items()
            if found
        ],
    )
    chunks = chunk_costs(partial(rows, run))
    if chunks:
        yield "\nA chunk of a stream: what the stream costs beyond a small request of this run, over its chunks.\n\n"
        yield table(
            ("stream", "µs of processor a chunk"), [(STREAMS[name].title, figure(one)) for name, one in chunks.items()]
        )
    for row in rows(run, "ceiling"):
        yield (
            f"\nCeiling, {row['workload']}: {row['load']['rate']:.0f} requests a second, "
            f"{row['client']:.0f} µs of the load client and {row['upstream']:.0f} µs of the upstream.\n"
        )


def _paced(run: Mapping[str, Any], _: dict[str, str]) -> Iterator[str]:
    yield "\n### Paced streams\n\n"
    lines = []
    for workload in PACED:
        for row in rows(run, "paced", workload=workload.name):
            micros = figure(row["micros"][row["subject"]])
            gaps = [figure(row["load"][f"gap_{part}_ms"]) for part in ("p50", "p99")]
            lines.append((f"{workload.title}: {row['subject']}", micros, f"{row['delivered']:.1%}", *gaps))
    yield table(("streams", "µs of processor a stream", "delivered", "gap p50 ms", "gap p99 ms"), lines)


def _latency(run: Mapping[str, Any], _: dict[str, str]) -> Iterator[str]:
    yield "\n### Added latency at fixed rates\n\n"
    yield "Open loop; product and upstream in turns, the difference of each pair.\n\n"
    lines = []
    for rate in dict.fromkeys(row["rate"] for row in rows(run, "latency")):
        pairs = rows(run, "latency", rate=rate)
        added = (
            " ".join(f"{row['load'][part] - row['direct'][part]:.2f}" for row in pairs) for part in ("p50_ms", "p99_ms")
        )
        lines.append((str(rate), *added, f"{median_of(pairs, 'load', 'rate'):.0f}"))
    yield table(("requests/s", "p50 ms", "p99 ms", "answered/s"), lines)


def _rates(run: Mapping[str, Any], _: dict[str, str]) -> Iterator[str]:
    (found,) = rows(run, "rates")
    tried = rows(run, "rates tried")
    yield "\n### Highest rate without an error\n\n"
    yield (
        "Open loop; a rate is borne when every request is answered whole and the p99 is at most "
        f"{found['p99_limit_ms']:.0f} ms: **{found['rate']} requests a second**. Tried, in this order:\n\n"
    )
    yield table(
        ("requests/s", "whole", "p99 ms", "borne"),
        [
            (
                str(row["rate"]),
                f"{row['load']['good']} of {row['requests']}",
                figure(row["load"]["p99_ms"]),
                "yes" if row["borne"] else "no",
            )
            for row in tried
        ],
    )


def _features(run: Mapping[str, Any], _: dict[str, str]) -> Iterator[str]:
    yield (
        "\n### What a feature costs\n\nTwo products, one with it and one without, rounds in turns; "
        "the difference of the lowest rounds, and the ratios of the pairs, with over without.\n\n"
    )
    lines = []
    for feature in dict.fromkeys(row["feature"] for row in rows(run, "features")):
        cells: list[str] = []
        for workload in (SMALL, STREAM):
            found = rows(run, "features", feature=feature, workload=workload.name)
            saved = min(row["whole"] for row in found) - min(row["without"] for row in found)
            cells += [f"{saved:.0f}", " ".join(f"{row['whole'] / row['without']:.2f}" for row in found)]
        lines.append((feature, *cells))
    yield table(("feature", "small, µs", "pairs", "stream, µs", "pairs"), lines)


def _freshness(run: Mapping[str, Any], _: dict[str, str]) -> Iterator[str]:
    for row in rows(run, "freshness"):
        yield (
            f"\n### From an answer to its row\n\nAt {row['rate']} requests a second: p50 {row['p50_s']:.2f} s, "
            f"p99 {row['p99_s']:.2f} s; {row['seen']} of {row['requests']} rows seen.\n"
        )


def _start(run: Mapping[str, Any], plots: dict[str, str]) -> Iterator[str]:
    (row,) = rows(run, "start")
    sizes = dict(sorted(((kind, size / 1e6) for kind, size in row["bytes"].items()), key=lambda one: -one[1]))
    plots["product-memory.svg"] = stacks("What is held idle", "MB, proportional set size", {"idle": sizes})
    yield f"\n### Start and idle memory\n\nWarm start to first answer: {row['warm_s']:.1f} s.\n"
    for fresh in rows(run, "clone"):
        yield f"Clone to first answer with empty package caches: {fresh['seconds']:.0f} s.\n"
    yield "\n"
    yield "![idle memory by process](benchmarks/product-memory.svg)\n\n"
    yield "Pages of libraries that other products on the machine have mapped as well count in part.\n\n"
    lines = [*((kind, f"{size:.0f}") for kind, size in sizes.items()), ("all", f"{sum(sizes.values()):.0f}")]
    yield table(("process", "MB"), lines)


def _open(run: Mapping[str, Any], _: dict[str, str]) -> Iterator[str]:
    (row,) = rows(run, "open")
    per = {kind: size / 1e6 / row["streams"] * 1000 for kind, size in row["bytes"].items()}
    yield f"\n### Memory of open streams\n\n{row['streams']} streams that had begun and were silent, MB per 1,000:\n\n"
    yield table(
        ("process", "MB"), [*((kind, f"{size:.1f}") for kind, size in per.items()), ("all", f"{sum(per.values()):.1f}")]
    )


def _bodies(run: Mapping[str, Any], _: dict[str, str]) -> Iterator[str]:
    yield "\n### Peak memory with bodies of 1 MB\n\n"
    yield "Beyond what was held before the first, in bodies a request in flight:\n\n"
    yield table(
        ("requests in flight", "edge", "router"),
        [
            (
                str(row["connections"]),
                *(f"{row['share'][kind]:.2f} ({row['peak'][kind] / 1e6:.0f} MB)" for kind in ("edge", "router")),
            )
            for row in rows(run, "bodies")
        ],
    )


def _growth(run: Mapping[str, Any], plots: dict[str, str]) -> Iterator[str]:
    kinds = {what: rows(run, "growth", what=what) for what in dict.fromkeys(row["what"] for row in rows(run, "growth"))}
    pairs = {what: [row["large"] / row["small"] for row in found] for what, found in kinds.items()}
    plots["product-growth.svg"] = ranges(
        "A request's cost, many over ten",
        "ratio of pairs",
        [range_of(*one, ours=True) for one in pairs.items()],
        limit=1.05,
    )
    yield "\n### Many keys, channels and routes\n\n![ratios of the pairs](benchmarks/product-growth.svg)\n\n"
    yield table(
        ("what", "with ten, µs", "with many, µs", "many / ten"),
        [
            (
                what,
                figure(median(row["small"] for row in found)),
                figure(median(row["large"] for row in found)),
                f"{median(pairs[what]):.2f} ({min(pairs[what]):.2f} - {max(pairs[what]):.2f})",
            )
            for what, found in kinds.items()
        ],
    )
    for row in rows(run, "growth memory"):
        kind = "edge" if row["what"] == "keys" else "router"
        small, large = (size / 1e6 for size in row[kind])
        yield f"\nMemory of {kind} with few and with many {row['what']}: {small:.0f} and {large:.0f} MB.\n"


PARTS = {
    "requests": _requests,
    "paced": _paced,
    "latency": _latency,
    "rates": _rates,
    "features": _features,
    "freshness": _freshness,
    "start": _start,
    "open": _open,
    "bodies": _bodies,
    "growth": _growth,
}
