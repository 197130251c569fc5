"""No `utils`, `helper`, `manager`, `common`, `misc` or `base` in names: a name says what a thing is for."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from tests.tidy.rules.tree import Tree, Violation

BANNED = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc", "base"}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields folders, files and classes whose name holds a banned word."""
    for name in tree.names:
        path = PurePosixPath(name)
        for part in (*path.parts[:-1], path.name.partition(".")[0]):
            if _banned(part):
                yield Violation(name, 1, f"the name {part!r} says nothing about what is in it")
    for name in tree.python():
        for node in ast.walk(tree.parsed(name)):
            if isinstance(node, ast.ClassDef) and _banned(node.name):
                yield Violation(name, node.lineno, f"the name {node.name!r} says nothing about what it is for")


def _banned(name: str) -> bool:
    return any(word.lower() in BANNED for word in _WORDS.findall(name))


PLANTED = [
    ({"libs/utils/x.py": ""}, "utils"),
    ({"libs/a/src/a/http_helper.py": ""}, "http_helper"),
    ({"deploy/common.yaml": ""}, "common"),
    ({"a.py": "class KeyManager:\n    pass\n"}, "KeyManager"),
    ({"a.py": "def f():\n    class BaseThing:\n        pass\n"}, "BaseThing"),
]
KEPT = [
    {"deploy/database.yaml": "", "libs/a/src/a/baseline.py": "class Utility:\n    pass\n"},
    {"proto/baseline.binpb": ""},
]
