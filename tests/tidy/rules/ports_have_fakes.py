"""Every port of a service has a fake: a class under tests/fakes that does all that the port names."""

import ast
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation, dotted


def check(tree: Tree) -> Iterator[Violation]:
    """Yields ports whose methods no class of the service's fakes has."""
    for name in tree.matching("services/*/src/*/ports.py"):
        service = name.split("/")[1]
        fakes = [
            _offers(node)
            for file in tree.matching(f"services/{service}/tests/fakes/*.py")
            for node in ast.walk(tree.parsed(file))
            if isinstance(node, ast.ClassDef)
        ]
        for node in tree.parsed(name).body:
            if isinstance(node, ast.ClassDef) and any(dotted(base).endswith("Protocol") for base in node.bases):
                asked = {part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)}
                if not any(asked <= offered for offered in fakes):
                    yield Violation(
                        name, node.lineno, f"no class in tests/fakes of {service} does what {node.name} asks"
                    )


def _offers(node: ast.ClassDef) -> set[str]:
    """Returns the names of methods, and of attributes that the class or its methods set."""
    found = {part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and dotted(inner.value) == "self":
            found.add(inner.attr)
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            found.add(inner.id)
    return found


_PORT = '"""P."""\nclass Store(Protocol):\n    async def get(self): ...\n    def put(self): ...\n'
PLANTED = [
    ({"services/a/src/a/ports.py": _PORT}, "what Store asks"),
    (
        {
            "services/a/src/a/ports.py": _PORT,
            "services/a/tests/fakes/stores.py": "class FakeStore:\n    async def get(self): ...\n",
        },
        "what Store asks",
    ),
]
KEPT = [
    {
        "services/a/src/a/ports.py": _PORT + "class Record:\n    def size(self): ...\n",
        "services/a/tests/fakes/stores.py": "class Memory:\n    async def get(self): ...\n    def put(self): ...\n",
    },
    {
        "services/a/src/a/ports.py": '"""P."""\nclass Clock(Protocol):\n    @property\n    def now(self): ...\n',
        "services/a/tests/fakes/x.py": "class FakeClock:\n    def __init__(self):\n        self.now = 0\n",
    },
]
