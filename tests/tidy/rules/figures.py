"""Figures in README are those of the page that is made from what was measured."""

import re
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation

README, MEASURED = "README.md", "docs/benchmarks.md"
# Also where more follows in the cell, as another figure of the same.
FIGURE = re.compile(r"\|\s*(\d+(?:\.\d+)?)\s*(?:µs|ms|s|MB|GB)\b")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields cells of README's tables that hold a measured value which the page of benchmarks does not."""
    if README not in tree.names:
        return
    measured = set(re.findall(r"\d+(?:\.\d+)?", tree.text(MEASURED))) if MEASURED in tree.names else set()
    text = tree.text(README)
    found = [(number, value) for number, line in enumerate(text.splitlines(), 1) for value in FIGURE.findall(line)]
    for number, value in found:
        if value not in measured:
            yield Violation(README, number, f"{value} is not in {MEASURED}")
    if found and f"]({MEASURED})" not in text:
        yield Violation(README, found[0][0], f"figures without a link to {MEASURED}")


LINK = "[how](docs/benchmarks.md)\n"
PLANTED = [
    ({README: LINK + "| a request | 297 µs |\n", MEASURED: "  edge 296 (287 - 303) us\n"}, "297 is not in"),
    ({README: LINK + "| memory | 453 MB |\n"}, "453 is not in"),
    ({README: "| a request | 297 µs |\n", MEASURED: "297 us\n"}, "without a link"),
    ({README: LINK + "| a request | 297 µs; [213](x.md) elsewhere |\n", MEASURED: "296 us\n"}, "297 is not in"),
]
KEPT = [
    {README: LINK + "| a request | 297 µs |\n| row | 0.72 s |\n", MEASURED: "297 us\np99 0.72 s\n"},
    {README: "simulator is ready after 0.6 s\n"},
]
