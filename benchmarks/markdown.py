"""Pieces of the page of figures: tables, and what a run was made on."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.machine import of_facts
from benchmarks.plots import Range, figure


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a table; the columns behind the first are figures."""
    dashes = ["---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, dashes, *lines))


def ran(found: Mapping[str, Any]) -> str:
    """Returns when and on what a run was made, and how busy the machine was."""
    begun = found["begun"].replace("T", " ").removesuffix("Z")
    loads = [row["load_average"][0] for row in found["busy"]]
    spins = [row["fixed_loop_ms"] for row in found["busy"]]
    packages = ", ".join(f"{name} {version}" for name, version in found["machine"].get("packages", {}).items())
    made_on = of_facts(found["machine"]) + (f" ({packages})" if packages else "")
    return (
        f"{made_on}; {begun} UTC.\nLoad average {min(loads):.1f} to {max(loads):.1f}, what is measured included; "
        f"a fixed loop took {min(spins):.0f} to {max(spins):.0f} ms of processor."
    )


def spread(values: Sequence[float]) -> str:
    """Returns median, lowest and highest; of one value, that."""
    if len(values) == 1:
        return figure(values[0])
    return f"{figure(median(values))} ({figure(min(values))} - {figure(max(values))})"


def range_of(label: str, values: Sequence[float], *, ours: bool = False) -> Range:
    """Returns a row of a plot."""
    return Range(label, min(values), median(values), max(values), ours)
