"""The part of the page that says what is counted or measured within a process: instructions, and tricks."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.costs import FEATURES
from benchmarks.markdown import ran, table
from benchmarks.plots import figure
from benchmarks.results import rows
from benchmarks.targets import Found
from benchmarks.workloads import SMALL, STREAM

KINDS = ("edge", "router")


def section(found: Found) -> Iterator[str]:
    """Yields the text."""
    if "instructions" in found:
        yield from _instructions(found["instructions"])
    if "tricks" in found:
        yield from _tricks(found["tricks"])


def _instructions(run: Mapping[str, Any]) -> Iterator[str]:
    def least(without: str, workload: str, kind: str) -> float:
        counted = rows(run, "instructions", without=without, workload=workload, kind=kind)
        return float(min(row["thousands"] for row in counted))

    yield f"\n## Instructions\n\n{ran(run)}\n\nThousands of instructions a request in user space, by callgrind.\n\n"
    workloads = (SMALL.name, STREAM.name)
    lines = [(kind, *(figure(least("", workload, kind)) for workload in workloads)) for kind in KINDS]
    for name, title in FEATURES.items():
        if rows(run, "instructions", without=name):
            saved = [sum(least("", one, kind) - least(name, one, kind) for kind in KINDS) for one in workloads]
            lines.append((f"of them: {title}", *map(figure, saved)))
    yield table(("process or feature", "small request", "burst stream"), lines)


def _tricks(run: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n## Tricks of the hot path\n\n{ran(run)}\n\n"
    yield "Each beside the plain way, in turns in one process, nanoseconds of processor, medians.\n\n"
    yield table(
        ("where", "what", "plain", "trick"),
        [
            (row["where"], row["what"], f"{row['plain_ns']:.0f}", f"{row['trick_ns']:.0f}")
            for row in rows(run, "tricks")
        ],
    )
