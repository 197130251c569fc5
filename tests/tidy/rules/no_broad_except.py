"""No bare `except Exception` outside the loops that own a process; what cleans up and raises again is fine."""

import ast
from collections.abc import Iterator

import yaml
from tests.tidy.rules.tree import Tree, Violation, dotted

ALLOWED = "tests/tidy/broad_excepts.yaml"
BROAD = {"Exception", "BaseException"}
# The loop of a background task, and the reader of an Exchange stream at either end.
MOST_ALLOWED = 3


def check(tree: Tree) -> Iterator[Violation]:
    """Yields broad handlers in functions that the list does not name, and names that the list no longer needs."""
    allowed = (yaml.safe_load(tree.text(ALLOWED)) or {}) if ALLOWED in tree.names else {}
    used: set[str] = set()
    for name in tree.sources():
        for owner, node in _owned(tree.parsed(name), ""):
            if not _is_broad(node):
                continue
            key = f"{name}::{owner}"
            used.add(key)
            if not str(allowed.get(key, "")).strip():
                line = getattr(node, "lineno", 1)
                yield Violation(name, line, f"{owner} catches everything; name the errors, or list it in {ALLOWED}")
    if len(allowed) > MOST_ALLOWED:
        yield Violation(ALLOWED, 1, f"{len(allowed)} functions catch everything, at most {MOST_ALLOWED} own a process")
    for key in allowed.keys() - used:
        yield Violation(ALLOWED, 1, f"{key} catches nothing broad any more; remove it")


def _owned(node: ast.AST, owner: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        inner = f"{owner}.{child.name}".lstrip(".") if named else owner
        yield inner, child
        yield from _owned(child, inner)


def _is_broad(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and dotted(node).rpartition(".")[2] == "suppress":
        return any(dotted(argument) in BROAD for argument in node.args)
    if not isinstance(node, ast.ExceptHandler):
        return False
    last = node.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or dotted(kind) in BROAD for kind in kinds)


_BROAD = "def f():\n    try:\n        g()\n    except Exception:\n        log.exception('x')\n"

PLANTED = [
    ({"a/src/a.py": _BROAD}, "f catches everything"),
    (
        {"a/src/a.py": "class A:\n    def f(self):\n        try:\n            g()\n        except:\n            h()\n"},
        "A.f",
    ),
    (
        {"a/src/a.py": "def f():\n    try:\n        g()\n    except (OSError, BaseException):\n        pass\n"},
        "f catches",
    ),
    ({"a/src/a.py": "def f():\n    with contextlib.suppress(Exception):\n        g()\n"}, "f catches"),
    ({"a/src/a.py": _BROAD, ALLOWED: '"a/src/a.py::g": "Why."\n'}, "f catches everything"),
    (
        {"a/src/a.py": "", ALLOWED: "".join(f'"a/src/a.py::f{number}": "Why."\n' for number in range(4))},
        "4 functions catch everything",
    ),
    ({"a/src/a.py": "", ALLOWED: '"a/src/a.py::f": "Why."\n'}, "remove it"),
    ({"a/src/a.py": _BROAD, ALLOWED: '"a/src/a.py::f": ""\n'}, "f catches everything"),
]
KEPT = [
    {"a/src/a.py": _BROAD, ALLOWED: '"a/src/a.py::f": "Owns the process."\n'},
    {"a/src/a.py": "def f():\n    try:\n        g()\n    except BaseException:\n        undo()\n        raise\n"},
    {"a/src/a.py": "def f():\n    try:\n        g()\n    except (OSError, ValueError):\n        pass\n"},
]
