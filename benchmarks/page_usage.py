"""The part of the page that says what booking usage and asking about it costs."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from benchmarks.machine import percentile
from benchmarks.markdown import ran, spread, table
from benchmarks.plots import figure
from benchmarks.results import rows
from benchmarks.targets import Found


def section(found: Found) -> Iterator[str]:
    """Yields the text."""
    yield "\n## The usage store\n"
    for name in ("usage", "usage-outage", "usage-views"):
        if name in found:
            yield f"\n{ran(found[name])}\n"
            for part, write in PARTS.items():
                # A run by itself takes the place of that of the whole run.
                replaced = name == "usage" and part in found.get("usage-outage", {"tables": ()})["tables"]
                if rows(found[name], part) and not replaced:
                    yield "\n"
                    yield from write(found[name])


def _insert(found: Mapping[str, Any]) -> Iterator[str]:
    yield table(
        ("into the usage store with three rollups", "fsync", "rows a second", "µs of processor a row"),
        [
            (
                f"batches of {row['batch']}",
                "yes" if row["fsync"] else "no",
                f"{row['rate']:.0f}",
                figure(row["micros"]),
            )
            for row in rows(found, "insert")
        ],
    )


def _kafka(found: Mapping[str, Any]) -> Iterator[str]:
    kinds = ("billing", "broker", "valkey")
    yield table(
        (
            *("booking events that wait in Apache Kafka", "rows a second", *(f"{kind}, µs a row" for kind in kinds)),
            "billing, MB at most",
        ),
        [
            (
                f"{row['events']} events, {row['partitions']} partitions",
                f"{row['rate']:.0f}",
                *(figure(row[kind]) for kind in kinds),
                _peak(row),
            )
            for row in rows(found, "kafka")
        ],
    )


def _alone(found: Mapping[str, Any]) -> Iterator[str]:
    yield table(
        (
            *("booking events that wait in a file, billing alone", "batches of at most", "fsync of the usage store"),
            *("rows a second", "billing, µs a row", "valkey, µs a row", "billing, MB at most"),
        ),
        [
            (
                *(f"{row['events']} events", batch, fsync, f"{row['rate']:.0f}"),
                *(figure(row["billing"]), figure(row["valkey"]), _peak(row)),
            )
            for kind, batch, fsync in (
                *(("alone", "50000", "yes"), ("unsynced", "50000", "no"), ("smaller", "20000", "yes")),
            )
            for row in rows(found, kind)
        ],
    )


def _outage(found: Mapping[str, Any]) -> Iterator[str]:
    yield table(
        (
            *("a server is killed under load", "events a second", "away, s", "waiting when it is back"),
            *("from then to the first commit, s", "to the last of what waited, s", "booked a second meanwhile"),
            *("times what arrives", "billing, MB before", "MB at most"),
        ),
        [
            (
                *(row["server"], f"{row['arriving']:.0f}", f"{row['away_s']:.0f}", str(row["waiting"])),
                *(f"{row['first_s']:.1f}", f"{row['drained_s']:.1f}", f"{row['drain']:.0f}"),
                *(f"{row['drain'] / row['arriving']:.1f}", f"{row['before'] / 1e6:.0f}", f"{row['peak'] / 1e6:.0f}"),
            )
            for row in rows(found, "outage")
        ],
    )


def _peak(row: Mapping[str, Any]) -> str:
    """Returns the most that billing held, in MB; runs of before did not look."""
    return f"{row['peak'] / 1e6:.0f}" if "peak" in row else ""


def _booking(found: Mapping[str, Any]) -> Iterator[str]:
    titles = {
        "rate": "rows a second",
        "billing": "billing, µs of processor a row",
        "valkey": "Valkey, µs of processor a row",
    }
    booking = rows(found, "booking")
    yield table(
        ("booking events that wait in the log", "median (lowest - highest)"),
        [(title, spread([row[name] for row in booking])) for name, title in titles.items()],
    )


def _disk(found: Mapping[str, Any]) -> Iterator[str]:
    lines = [(row["part"], f"{row['bytes_a_row']:.0f}") for row in rows(found, "disk")]
    yield table(("on disk", "bytes a row"), lines)


def _questions(found: Mapping[str, Any]) -> Iterator[str]:
    questions = rows(found, "questions")
    yield table(
        (f"question over {questions[0]['rows']} rows through the public API", "p50 ms", "p99 ms", "the first"),
        [
            (
                row["question"],
                figure(percentile(row["ms"][1:], 0.5)),
                figure(percentile(row["ms"][1:], 0.99)),
                figure(row["ms"][0]),
            )
            for row in questions
        ],
    )


def _freshness(found: Mapping[str, Any]) -> Iterator[str]:
    yield table(
        ("from an event's place in the log to its row", "p50 s", "p99 s", "billing, µs a row"),
        [
            (f"{row['rate']:.0f} events a second", f"{row['p50_s']:.2f}", f"{row['p99_s']:.2f}", figure(row["billing"]))
            for row in rows(found, "freshness of rows")
        ],
    )


def _views(found: Mapping[str, Any]) -> Iterator[str]:
    views = rows(found, "views")
    yield table(
        (f"view over {views[0]['rows']} rows", "p50 ms", "p95 ms", "the first", "ms of processor"),
        [
            (
                row["view"],
                figure(median(row["ms"][1:])),
                figure(percentile(row["ms"][1:], 0.95)),
                figure(row["ms"][0]),
                figure(row["used_ms"]),
            )
            for row in views
        ],
    )


PARTS = {
    "insert": _insert,
    "alone": _alone,
    "kafka": _kafka,
    "outage": _outage,
    "booking": _booking,
    "freshness of rows": _freshness,
    "disk": _disk,
    "questions": _questions,
    "views": _views,
}
