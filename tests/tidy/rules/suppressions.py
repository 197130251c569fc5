"""What silences a linter says why: rules that are off in pyproject.toml, everywhere or in some files, and every
`noqa` and `type: ignore` in code that ships.
"""

import re
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation

NOQA = re.compile(r"#\s*noqa:\s*(?P<codes>[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*)(?P<reason>.*)$")
TYPES = re.compile(r"#\s*type:\s*ignore(\[(?P<codes>[a-z, -]+)\])?(?P<reason>.*)$")
# The constructors of generated stubs have no types.
PLAIN_TYPES = {"no-untyped-call"}
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
            found = TYPES.search(line)
            if found and found["codes"] not in PLAIN_TYPES and not re.search(r"#\s*\w", found["reason"]):
                yield Violation(name, number, f"say why the type is ignored: `# type: ignore[{found['codes']}]  # …`")
    if "pyproject.toml" in tree.names:
        yield from _per_file(tree.text("pyproject.toml").splitlines())
        inside = False
        for number, line in enumerate(tree.text("pyproject.toml").splitlines(), 1):
            inside = (inside or line.startswith("ignore = [")) and not line.startswith("]")
            if inside and IGNORED.match(line) and "#" not in line:
                yield Violation("pyproject.toml", number, f"say why {line.strip()} is off")


def _per_file(lines: list[str]) -> Iterator[Violation]:
    """Yields ignores of some files with neither a comment of their own nor one above them or their block."""
    inside = explained = False
    for number, line in enumerate(lines, 1):
        if line.startswith("["):
            inside = line.endswith(".per-file-ignores]")
        elif not line.strip() or line.startswith("#"):
            explained = bool(line.strip())
        elif inside and not explained and "#" not in line:
            yield Violation(
                "pyproject.toml", number, f"say why {line.partition('=')[0].strip()} has rules that are off"
            )


PLANTED = [
    ({"a/src/a.py": "x = f()  # noqa: S311\n"}, "say why S311"),
    ({"a/src/a.py": "def F(x): ...  # noqa: N802, ARG001\n"}, "say why"),
    ({"a/src/a.py": "x = f()  # type: ignore[arg-type]\n"}, "say why the type is ignored"),
    ({"a/src/a.py": "x = f()  # type: ignore\n"}, "say why the type is ignored"),
    (
        {"pyproject.toml": '[tool.ruff.lint.per-file-ignores]\n# Why.\n"a" = ["T201"]\n\n"b" = ["S"]\n'},
        "pyproject.toml:5",
    ),
    ({"pyproject.toml": '[tool.ruff.lint]\nignore = [\n    "A001",  # Why.\n    "B002",\n]\n'}, "pyproject.toml:4"),
]
KEPT = [
    {"a/src/a.py": "x = f()  # noqa: S311 - no secret.\ndef F(x): ...  # noqa: N802\n"},
    {"a/src/a.py": "x = f()  # type: ignore[index]  # It is there.\ny = S()  # type: ignore[no-untyped-call]\n"},
    {"pyproject.toml": '[a.per-file-ignores]\n# Why.\n"a" = ["T"]\n"b" = ["S"]\n\n"c" = ["S"]  # Why.\n[x]\ny = 1\n'},
    {"a/tests/a.py": "x = f()  # noqa: S311\n"},
    {"pyproject.toml": 'ignore = [\n    "A001",  # Why.\n]\nselect = [\n    "ALL"\n]\n'},
]
