"""Docstrings where they are owed: modules that ship, what libraries offer, and every method of a port."""

import ast
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation, dotted

Defined = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def check(tree: Tree) -> Iterator[Violation]:
    """Yields public definitions that owe a docstring and have none."""
    for name in tree.sources():
        module = tree.parsed(name)
        if module.body and ast.get_docstring(module) is None:
            yield Violation(name, 1, "the module does not say what it is for")
        if name.startswith("libs/") or name.endswith("ports.py"):
            for node in module.body:
                yield from _owing(name, node)


def _owing(name: str, node: ast.stmt) -> Iterator[Violation]:
    if not isinstance(node, Defined) or node.name.startswith("_"):
        return
    if isinstance(node, ast.ClassDef):
        is_port = any(dotted(parent).rpartition(".")[2] == "Protocol" for parent in node.bases)
        methods = [child for child in node.body if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)]
        if is_port:
            for method in methods:
                if not method.name.startswith("_") and ast.get_docstring(method) is None:
                    yield Violation(name, method.lineno, f"{node.name}.{method.name} of a port has no docstring")
        # A class whose name and fields say all, or whose methods are explained, needs no sentence more.
        elif methods and not any(ast.get_docstring(part) for part in (node, *methods)) and not _explained(node):
            yield Violation(name, node.lineno, f"{node.name} has no docstring, and none of its methods has one")
    elif ast.get_docstring(node) is None:
        yield Violation(name, node.lineno, f"{node.name} has no docstring")


def _explained(node: ast.ClassDef) -> bool:
    """Tells whether the class only does what a port of its module explains."""
    return node.name.startswith(("System", "Random", "No"))


PLANTED = [
    ({"services/a/src/a/x.py": "x = 1\n"}, "does not say what it is for"),
    ({"libs/a/src/a/x.py": '"""Doc."""\ndef f(): ...\n'}, "f has no docstring"),
    ({"libs/a/src/a/x.py": '"""Doc."""\nclass A:\n    def f(self): ...\n'}, "A has no docstring"),
    ({"services/a/src/a/ports.py": '"""Doc."""\nclass A(Protocol):\n    async def f(self): ...\n'}, "A.f of a port"),
    ({"services/a/src/a/x_ports.py": '"""Doc."""\nclass A(Protocol):\n    async def f(self): ...\n'}, "A.f of a port"),
    ({"services/a/src/a/ports.py": '"""Doc."""\nasync def f(): ...\n'}, "f has no docstring"),
]
KEPT = [
    {"libs/a/src/a/__init__.py": ""},
    {"libs/a/src/a/x.py": '"""Doc."""\ndef f():\n    """Doc."""\ndef _g(): ...\nclass A(Enum):\n    B = 1\n'},
    {"services/a/src/a/x.py": '"""Doc."""\ndef f(): ...\n'},
    {"libs/a/tests/unit/test_x.py": "def test_x(): ...\n"},
]
