"""Files and functions have hard limits; what is over them is listed with its size and a reason, and only shrinks."""

import ast
from collections.abc import Iterator

import yaml
from tests.tidy.rules.tree import Tree, Violation

EXCEPTIONS = "tests/tidy/size_exceptions.yaml"
FILE_LINES = 500
TEST_FILE_LINES = 800
FUNCTION_LINES = 70


def check(tree: Tree) -> Iterator[Violation]:
    """Yields what is too long, and exceptions that grew, shrank or are no longer needed."""
    listed = (yaml.safe_load(tree.text(EXCEPTIONS)) or {}) if EXCEPTIONS in tree.names else {}
    measured: dict[str, tuple[int, int, int]] = {}
    for name in tree.python():
        is_test = "/tests/" in f"/{name}"
        limit = TEST_FILE_LINES if is_test else FILE_LINES
        measured[name] = (1, len(tree.text(name).splitlines()), limit)
        if not is_test:
            for label, line, length in _functions(tree.parsed(name)):
                measured[f"{name}::{label}"] = (line, length, FUNCTION_LINES)
    for key, (line, length, limit) in measured.items():
        allowed = listed.get(key, {}).get("lines", limit)
        if length > allowed:
            yield Violation(key.partition("::")[0], line, f"{key} has {length} lines, at most {allowed} are allowed")
    for key, entry in listed.items():
        yield from _stale(key, entry, measured)


def _stale(key: str, entry: dict[str, object], measured: dict[str, tuple[int, int, int]]) -> Iterator[Violation]:
    _, length, limit = measured.get(key, (1, 0, 0))
    if not str(entry.get("reason", "")).strip():
        yield Violation(EXCEPTIONS, 1, f"{key} gives no reason")
    if length <= limit:
        yield Violation(EXCEPTIONS, 1, f"{key} needs no exception any more; remove it")
    elif length < int(str(entry["lines"])):
        yield Violation(EXCEPTIONS, 1, f"{key} shrank to {length} lines; lower its exception")


def _functions(module: ast.Module) -> Iterator[tuple[str, int, int]]:
    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, int, int]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + child.name, child.lineno, (child.end_lineno or child.lineno) - child.lineno + 1
            inner = f"{prefix}{child.name}." if isinstance(child, ast.ClassDef | ast.FunctionDef) else prefix
            yield from walk(child, inner)

    return walk(module, "")


def _long(lines: int) -> str:
    return "x = 1\n" * lines


def _function(lines: int) -> str:
    return "class A:\n    def f(self):\n" + "        x = 1\n" * (lines - 1)


def _listed(key: str, lines: int, reason: str = "Why.") -> dict[str, str]:
    return {EXCEPTIONS: yaml.safe_dump({key: {"lines": lines, "reason": reason}})}


PLANTED = [
    ({"a.py": _long(501)}, "a.py has 501 lines"),
    ({"libs/a/tests/unit/test_a.py": _long(801)}, "801 lines"),
    ({"a.py": _function(71)}, "a.py::A.f has 71 lines"),
    ({"a.py": "async def f():\n" + "    x = 1\n" * 70}, "a.py::f has 71 lines"),
    ({"a.py": _long(511), **_listed("a.py", 510)}, "at most 510"),
    ({"a.py": _long(505), **_listed("a.py", 510)}, "lower its exception"),
    ({"a.py": _long(400), **_listed("a.py", 510)}, "remove it"),
    (_listed("gone.py", 510), "remove it"),
    ({"a.py": _long(510), **_listed("a.py", 510, " ")}, "no reason"),
]
KEPT = [
    {"a.py": _long(500), "b.py": _function(70), "tests/test_a.py": _long(800)},
    {"a.py": _long(510), **_listed("a.py", 510)},
    {"a.py": _function(75), **_listed("a.py::A.f", 75)},
]
