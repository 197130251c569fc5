"""`python -m benchmarks.page`: docs/benchmarks.md and its plots, made from the files in benchmarks/results."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import page_counts, page_peers, page_product, page_usage
from benchmarks.markdown import ran, table
from benchmarks.plots import figure
from benchmarks.product import ROOT
from benchmarks.results import rows
from benchmarks.targets import Found, measured

RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs"
PLOTS = DOCS / "benchmarks"
HEAD = """# Figures of benchmarks

This page is written by `make bench-page` from [benchmarks/results](../benchmarks/results), which holds every round.
[What is measured, how, and what was tried](reference/benchmarks.md) is told elsewhere.
The machines had other work as well: compare within a table, not between them.
Figures are medians, with (lowest - highest) of the rounds where there were several.
"""


def load_results(folder: Path = RESULTS) -> dict[str, Any]:
    """Returns the results by the name of their file. Raises OSError, ValueError."""
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))}


def render(found: Found) -> dict[Path, str]:
    """Returns the page and its plots by their path."""
    plots: dict[str, str] = {}
    parts = [HEAD, *_targets(found)]
    if "peers" in found:
        parts += page_peers.section(found, plots)
    if "product" in found:
        parts += page_product.section(found, plots)
    parts += page_counts.section(found)
    if "usage" in found or "usage-views" in found:
        parts += page_usage.section(found)
    if "routing" in found:
        parts += _routing(found["routing"])
    return {DOCS / "benchmarks.md": "".join(parts)} | {PLOTS / name: text for name, text in plots.items()}


def _targets(found: Found) -> Iterator[str]:
    yield "\n## Targets\n\n"
    yield table(
        ("figure", "target", "measured", ""),
        [
            (
                target.title,
                f"{'≥' if target.least else '≤'} {target.limit:g} {target.unit}".strip(),
                f"{figure(value)} {target.unit}".strip(),
                "met" if target.met(value) else "**missed**",
            )
            for target, value in measured(found)
        ],
    )
    yield (
        "\nRatios are of processor time, ours over theirs, in the same run. "
        "The best peer is the one that costs least, whatever it leaves out.\n"
    )


def _routing(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"\n## A choice among many channels\n\n{ran(found)}\n\n"
    head = ("channels", "routes", "in force, s", "lists made, s", "memory, MB")
    sizes = rows(found, "sizes")
    yield table(
        (*head, *(f"choice: {name}, µs" for name in sizes[0]["choice_us"])),
        [
            (
                str(row["channels"]),
                str(row["routes"]),
                f"{row['in_force_s']:.2f}",
                f"{row['lists_s']:.2f}",
                str(row["memory_mb"]),
                *(f"{value:.1f}" for value in row["choice_us"].values()),
            )
            for row in sizes
        ],
    )


def main() -> int:
    """Writes the page and its plots; returns the exit code."""
    made = render(load_results())
    PLOTS.mkdir(exist_ok=True)
    for path in set(PLOTS.glob("*.svg")) - set(made):
        path.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
