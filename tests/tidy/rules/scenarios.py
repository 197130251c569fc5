"""Each row of a table of scenarios says what comes of it, and names a test that exists; on what, that of metering."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.tidy.rules.tree import Tree, Violation

PAGES = ("docs/reference/metering-scenarios.md", "docs/reference/failover.md")
PAGE, FAILOVER = PAGES
PROFILES = {
    "both", "embedded", "cluster", "embedded, HTTP store", "both, part", "embedded, part", "cluster, part", "code",
}  # fmt: skip
TEST = re.compile(r"\[(test_\w+)\]\(([^)]+)\)")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields rows without a result, a profile or a test, and tests that are not where the row says."""
    for page in PAGES:
        if page in tree.names:
            yield from _check(tree, page)


def _check(tree: Tree, page: str) -> Iterator[Violation]:
    for number, line in enumerate(tree.text(page).splitlines(), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or set(line) <= set("|-") or cells[-1] == "test":
            continue
        named = TEST.fullmatch(cells[-1])
        if named is None:
            yield Violation(page, number, "the row names no test")
            continue
        name, target = named.groups()
        file = _normal(PurePosixPath(page).parent / target)
        if not any(cells[-2:-1]):
            yield Violation(page, number, "the row says no result")
        if page == PAGE and (cells[-3] if len(cells) > 3 else "") not in PROFILES:
            yield Violation(page, number, f"the row says none of the profiles {', '.join(sorted(PROFILES))}")
        if file not in tree.names or f"def {name}(" not in tree.text(file):
            yield Violation(page, number, f"{file} has no {name}")


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


_HEAD = "| scenario | profile | result | test |\n|---|---|---|---|\n"
_ROW = "| a | both | c | [test_x](../../tests/test_a.py) |\n"
PLANTED = [
    ({PAGE: _HEAD + "| a | b | c | |\n"}, ":3: the row names no test"),
    ({PAGE: _HEAD + _ROW}, "tests/test_a.py has no test_x"),
    ({FAILOVER: _HEAD + _ROW}, "tests/test_a.py has no test_x"),
    ({PAGE: _HEAD + _ROW, "tests/test_a.py": "def test_y():\n"}, "has no test_x"),
    ({PAGE: _HEAD + _ROW.replace("| c ", "| "), "tests/test_a.py": "def test_x():\n"}, "says no result"),
    ({PAGE: _HEAD + _ROW.replace("both", "all"), "tests/test_a.py": "def test_x():\n"}, ":3: the row says none of"),
]
KEPT = [{PAGE: "# Page\n\n" + _HEAD + _ROW, "tests/test_a.py": "async def test_x(a):\n    pass\n"}]
