"""A service draws its errors on top of errors.py, and only edge knows what HTTP status they get.

There is each kind that more than one layer knows; what only one layer raises and catches stays beside what raises it.
"""

import ast
import re
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation

EDGE = "services/edge/"


def check(tree: Tree) -> Iterator[Violation]:
    """Yields errors that the drawing leaves out, that are not in errors.py, and statuses outside edge."""
    yield from _scattered(tree)
    for name in tree.matching("services/*/src/*/errors.py"):
        module = tree.parsed(name)
        drawn = ast.get_docstring(module) or ""
        for node in module.body:
            if isinstance(node, ast.ClassDef) and _is_error(node, module) and not re.search(rf"\b{node.name}\b", drawn):
                yield Violation(name, node.lineno, f"the docstring on top does not draw {node.name}")
    for name in tree.matching("services/*/src/**"):
        if not name.startswith(EDGE) and name.endswith(".py"):
            for node in ast.walk(tree.parsed(name)):
                if isinstance(node, ast.Name | ast.Attribute) and _word(node) in {"HTTPException", "HTTPStatus"}:
                    yield Violation(name, node.lineno, f"{_word(node)}: only edge gives an error its HTTP status")


def _scattered(tree: Tree) -> Iterator[Violation]:
    """Yields errors that a layer imports from another; a layer is a folder or file below the package."""
    sources = [name for name in tree.matching("services/*/src/*/**") if name.endswith(".py")]
    defined = {
        (_module(name), node.name): (name, node.lineno)
        for name in sources
        if not name.endswith("/errors.py")
        for node in tree.parsed(name).body
        if isinstance(node, ast.ClassDef) and _is_error(node, tree.parsed(name))
    }
    for name in sources:
        for node in ast.walk(tree.parsed(name)):
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                found = defined.get((node.module, alias.name))
                if found and _module(name).split(".")[1] != node.module.split(".")[1]:
                    yield Violation(*found, f"{alias.name} is known to {name}, too: it belongs into errors.py")


def _module(name: str) -> str:
    return name.partition("/src/")[2].removesuffix(".py").replace("/", ".")


def _is_error(node: ast.ClassDef, module: ast.Module) -> bool:
    parents = {parent.id for parent in node.bases if isinstance(parent, ast.Name)}
    known = {other.name: other for other in module.body if isinstance(other, ast.ClassDef)}
    return any(name.endswith(("Exception", "Error")) for name in parents) or any(
        _is_error(known[name], module) for name in parents & known.keys() - {node.name}
    )


def _word(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


PLANTED = [
    ({"services/a/src/a/errors.py": '"""Errors."""\nclass Away(Exception):\n    pass\n'}, "does not draw Away"),
    (
        {
            "services/a/src/a/errors.py": '"""Away."""\nclass Away(Exception):\n    pass\n'
            "class StoreAway(Away):\n    pass\n"
        },
        "does not draw StoreAway",
    ),
    ({"services/a/src/a/api/x.py": "def f():\n    raise HTTPException(404)\n"}, "only edge gives"),
    (
        {
            "services/a/src/a/domain/x.py": "class Away(ValueError):\n    pass\n",
            "services/a/src/a/api/x.py": "from a.domain.x import Away\n",
        },
        "services/a/src/a/domain/x.py:1: Away is known to services/a/src/a/api/x.py",
    ),
    (
        {
            "services/a/src/a/ports.py": "class Away(Exception):\n    pass\nclass Gone(Away):\n    pass\n",
            "services/a/src/a/use_cases/x.py": "def f():\n    from a.ports import Gone\n",
        },
        "Gone is known to",
    ),
    ({"services/a/src/a/domain/x.py": "import http\nS = http.HTTPStatus.OK\n"}, "only edge gives"),
]
KEPT = [
    {
        "services/a/src/a/domain/x.py": "class Away(ValueError):\n    pass\n",
        "services/a/src/a/domain/y.py": "from a.domain.x import Away\n",
    },
    {
        "services/a/src/a/errors.py": '"""Away\n└── StoreAway\n"""\nclass Away(Exception):\n    pass\n'
        "class Words:\n    pass\n"
    },
    {"services/edge/src/tollgate_edge/api/x.py": "def f():\n    raise HTTPException(404)\n"},
]
