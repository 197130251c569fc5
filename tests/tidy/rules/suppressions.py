"""What silences a linter says why: rules that are off in pyproject.toml, and every `noqa` in code that ships."""

import re
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation

NOQA = re.compile(r"#\s*noqa:\s*(?P<codes>[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*)(?P<reason>.*)$")
# What explains itself: gRPC names its methods in capitals, and an error is named for what is wrong.
PLAIN = {"N802", "N818"}
IGNORED = re.compile(r'^\s*"[A-Z]+[0-9]*"')


def check(tree: Tree) -> Iterator[Violation]:
    """Yields suppressions without a reason."""
    for name in tree.sources():
        for number, line in enumerate(tree.text(name).splitlines(), 1):
            found = NOQA.search(line)
            if found and not set(re.split(r",\s*", found["codes"])) <= PLAIN and " - " not in found["reason"]:
                yield Violation(name, number, f"say why {found['codes']} is off: `# noqa: {found['codes']} - …`")
    if "pyproject.toml" in tree.names:
        inside = False
        for number, line in enumerate(tree.text("pyproject.toml").splitlines(), 1):
            inside = (inside or line.startswith("ignore = [")) and not line.startswith("]")
            if inside and IGNORED.match(line) and "#" not in line:
                yield Violation("pyproject.toml", number, f"say why {line.strip()} is off")


PLANTED = [
    ({"a/src/a.py": "x = f()  # noqa: S311\n"}, "say why S311"),
    ({"a/src/a.py": "def F(x): ...  # noqa: N802, ARG001\n"}, "say why"),
    ({"pyproject.toml": '[tool.ruff.lint]\nignore = [\n    "A001",  # Why.\n    "B002",\n]\n'}, "pyproject.toml:4"),
]
KEPT = [
    {"a/src/a.py": "x = f()  # noqa: S311 - no secret.\ndef F(x): ...  # noqa: N802\n"},
    {"a/tests/a.py": "x = f()  # noqa: S311\n"},
    {"pyproject.toml": 'ignore = [\n    "A001",  # Why.\n]\nselect = [\n    "ALL"\n]\n'},
]
