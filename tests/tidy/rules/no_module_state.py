"""Modules hold no state: nothing at module level changes after the import."""

import ast
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation, dotted

MUTABLE_CALLS = {"dict", "list", "set", "defaultdict", "deque", "Counter", "OrderedDict", "bytearray", "WeakSet"}
MUTATORS = {
    "append", "add", "update", "pop", "popitem", "clear", "setdefault", "extend", "insert", "remove", "discard",
    "appendleft", "popleft", "sort", "reverse",
}  # fmt: skip


def check(tree: Tree) -> Iterator[Violation]:
    """Yields `global` statements and module-level containers that the module itself changes."""
    for name in tree.sources():
        module = tree.parsed(name)
        containers = set(_containers(module))
        for node in ast.walk(module):
            if isinstance(node, ast.Global):
                yield Violation(name, node.lineno, f"global {', '.join(node.names)} is module state")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                local = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
                for line, changed in _changes(node):
                    if changed in containers - local:
                        yield Violation(name, line, f"{changed} is module state: {node.name} changes it")


def _containers(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _is_mutable(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _is_mutable(value: ast.expr) -> bool:
    literals = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
    return isinstance(value, literals) or (
        isinstance(value, ast.Call) and dotted(value).rpartition(".")[2] in MUTABLE_CALLS
    )


def _changes(function: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
            yield node.lineno, dotted(node.func.value)
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
            targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
            for target in targets:
                if isinstance(target, ast.Subscript):
                    yield node.lineno, dotted(target.value)


PLANTED = [
    ({"a/src/a.py": "COUNT = 0\ndef f():\n    global COUNT\n    COUNT += 1\n"}, "global COUNT"),
    ({"a/src/a.py": "CACHE = {}\ndef f(key):\n    CACHE[key] = 1\n"}, "CACHE is module state"),
    ({"a/src/a.py": "seen: set[str] = set()\nasync def f(key):\n    seen.add(key)\n"}, "seen is module state"),
    ({"a/src/a.py": "Q = collections.deque()\nclass A:\n    def f(self):\n        Q.popleft()\n"}, "Q is module state"),
]
KEPT = [
    {"a/src/a.py": "TABLE = {1: 2}\ndef f(key):\n    found = {}\n    found[key] = TABLE[key]\n    return found\n"},
    {"a/src/a.py": "TABLE = {1: 2}\ndef f(TABLE):\n    TABLE[1] = 3\n"},
    {"tests/a.py": "CACHE = {}\ndef f(key):\n    CACHE[key] = 1\n"},
]
