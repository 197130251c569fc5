"""Files and functions have hard limits, tests as well. The list of exceptions has shrunk to none and is gone."""

import ast
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation

FILE_LINES = 500
FUNCTION_LINES = 70


def check(tree: Tree) -> Iterator[Violation]:
    """Yields what is too long."""
    for name in tree.python():
        length = len(tree.text(name).splitlines())
        if length > FILE_LINES:
            yield Violation(name, 1, f"{name} has {length} lines, at most {FILE_LINES} are allowed")
        for label, line, lines in _functions(tree.parsed(name)):
            if lines > FUNCTION_LINES:
                yield Violation(name, line, f"{name}::{label} has {lines} lines, at most {FUNCTION_LINES} are allowed")


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


PLANTED = [
    ({"a.py": _long(501)}, "a.py has 501 lines"),
    ({"libs/a/tests/unit/test_a.py": _long(501)}, "501 lines"),
    ({"a.py": _function(71)}, "a.py::A.f has 71 lines"),
    ({"a/tests/test_a.py": "async def f():\n" + "    x = 1\n" * 70}, "test_a.py::f has 71 lines"),
]
KEPT = [{"a.py": _long(500), "b.py": _function(70), "tests/test_a.py": _long(500)}]
