"""A service draws its hierarchy of errors on top of errors.py, and only edge knows what HTTP status they get."""

import ast
import re
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation

EDGE = "services/edge/"


def check(tree: Tree) -> Iterator[Violation]:
    """Yields errors that the drawing leaves out, and statuses that are none of a service's business."""
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
    ({"services/a/src/a/domain/x.py": "import http\nS = http.HTTPStatus.OK\n"}, "only edge gives"),
]
KEPT = [
    {
        "services/a/src/a/errors.py": '"""Away\n└── StoreAway\n"""\nclass Away(Exception):\n    pass\n'
        "class Words:\n    pass\n"
    },
    {"services/edge/src/tollgate_edge/api/x.py": "def f():\n    raise HTTPException(404)\n"},
]
