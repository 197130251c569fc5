"""Documents have the parts that readers look for: README's first screen, a service's borders, a record's length."""

import re
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation

FIRST_SCREENS = 75
README = {
    "a table whose head asks `Is it a fit?`": re.compile(r"^\| Is it a fit\?", re.MULTILINE),
    "a diagram in a fence": re.compile(r"^```\n(?=(?:(?!^```).*\n)*?.*──)", re.MULTILINE),
    "one command in a fence": re.compile(r"^```sh\n\S.*\n```", re.MULTILINE),
    "that command's output": re.compile(r"^Tollgate is up\.", re.MULTILINE),
    "figures with a link to how they were measured": re.compile(r"\]\(docs/benchmarks\.md\)"),
}
SERVICE = ("**Owns**", "**Does not own**", "## In and out", "## Run it alone", "## Read the code")
ARCHITECTURE = ("## Code map", "## The life of a request", "## What is never there")
RECORD = ("- Status:", "## Context", "## Decision", "## Consequences", "## Alternatives", "## What enforces it")
RECORD_WORDS = range(200, 501)


def check(tree: Tree) -> Iterator[Violation]:
    """Yields parts that a document lacks, and records that are too short or too long."""
    if "README.md" in tree.names:
        begin = "\n".join(tree.text("README.md").splitlines()[:FIRST_SCREENS])
        for what, pattern in README.items():
            if not pattern.search(begin):
                yield Violation("README.md", 1, f"its first {FIRST_SCREENS} lines lack {what}")
    yield from _parts(tree, "ARCHITECTURE.md", ARCHITECTURE)
    for name in tree.matching("services/*/README.md"):
        yield from _parts(tree, name, SERVICE)
    for name in tree.matching("docs/adr/[0-9]*.md"):
        yield from _parts(tree, name, RECORD)
        words = len(tree.text(name).split())
        if words not in RECORD_WORDS:
            yield Violation(name, 1, f"{words} words; a record has 200 to 500")


def _parts(tree: Tree, name: str, parts: tuple[str, ...]) -> Iterator[Violation]:
    if name in tree.names:
        for part in parts:
            if not re.search(rf"^{re.escape(part)}", tree.text(name), re.MULTILINE):
                yield Violation(name, 1, f"it lacks `{part}`")


_README = "| Is it a fit? | |\n```\na ── b\n```\n```sh\nmake up\n```\nTollgate is up.\n[n](docs/benchmarks.md)\n"
_RECORD = "\n".join(RECORD)
_WORDS = "word " * 200
PLANTED = [
    ({"README.md": _README.replace("Is it a fit?", "Fit")}, "Is it a fit?"),
    ({"README.md": _README.replace("──", "to")}, "a diagram"),
    ({"README.md": _README.replace("make up", "")}, "one command"),
    ({"README.md": _README.replace("Tollgate is up.", "")}, "output"),
    ({"README.md": "x\n" * FIRST_SCREENS + _README}, "how they were measured"),
    ({"ARCHITECTURE.md": "## Code map\n## The life of a request\n"}, "What is never there"),
    ({"services/a/README.md": "\n".join(SERVICE[:-2])}, "Run it alone"),
    ({"docs/adr/0001-x.md": _RECORD + "\nshort\n"}, "words; a record has"),
    ({"docs/adr/0001-x.md": _RECORD + "\n" + "word " * 600}, "words; a record has"),
    ({"docs/adr/0001-x.md": _WORDS + "\n".join(RECORD[:-2])}, "## Alternatives"),
]
KEPT = [
    {"README.md": _README, "ARCHITECTURE.md": "\n".join(ARCHITECTURE), "services/a/README.md": "\n".join(SERVICE)},
    {"docs/adr/0001-x.md": _RECORD + "\n" + _WORDS, "docs/adr/README.md": "x\n", "libs/a/README.md": "x\n"},
]
