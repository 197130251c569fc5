"""Links in documents are alive: the file exists, and so does the heading."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.tidy.rules.tree import Tree, Violation

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\s*\[[^\]]+\]:\s+(\S+)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$")
ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
FENCE = re.compile(r"^\s*(```|~~~)")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields links of Markdown files to files or headings that do not exist. Addresses are not followed."""
    for name in tree.matching("**/*.md"):
        for number, line in _prose(tree.text(name)):
            for target in [*LINK.findall(re.sub(r"`[^`]*`", "", line)), *REFERENCE.findall(line)]:
                if "://" not in target and not target.startswith("mailto:"):
                    problem = _problem(tree, name, target)
                    if problem:
                        yield Violation(name, number, f"the link {target} is dead: {problem}")


def _prose(text: str) -> Iterator[tuple[int, str]]:
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            yield number, line


def _problem(tree: Tree, name: str, target: str) -> str:
    path, _, anchor = target.partition("#")
    where = tree.root / PurePosixPath(name).parent / path if path else tree.root / name
    if path.startswith("/"):
        return "it is absolute"
    if not where.exists():
        return "there is no such file"
    if tree.root.resolve() not in (where.resolve(), *where.resolve().parents):
        return "it leaves the repository"
    if anchor and where.suffix == ".md" and anchor not in set(_anchors(where.read_text(encoding="utf-8"))):
        return "there is no such heading"
    return ""


def _anchors(text: str) -> Iterator[str]:
    seen: dict[str, int] = {}
    for _, line in _prose(text):
        yield from ANCHOR.findall(line)
        found = HEADING.match(line)
        if found:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", found[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            count = seen.get(slug, 0)
            seen[slug] = count + 1
            yield f"{slug}-{count}" if count else slug


PLANTED = [
    ({"README.md": "See [this](docs/gone.md).\n"}, "no such file"),
    ({"docs/a.md": "[up](../README.md#missing)\n", "README.md": "# Here\n"}, "no such heading"),
    ({"a.md": "[own](#nowhere)\n"}, "no such heading"),
    ({"a.md": "![picture](x.png)\n"}, "no such file"),
    ({"a.md": "[a]: docs/gone.md\n"}, "no such file"),
    ({"a.md": "[a](/etc/hosts)\n"}, "absolute"),
]
KEPT = [
    {
        "a.md": "# Is it a fit?\n[b](docs/b.md#two-words--more) [c](#is-it-a-fit) [d](docs)\n",
        "docs/b.md": "## Two words & more\n",
    },
    {"a.md": '```\n[x](gone.md)\n```\n`[x](gone.md)` [web](https://example.com/x) <a id="y"></a> [z](#y)\n'},
    {"a.md": "# Same\n# Same\n[second](#same-1)\n"},
]
