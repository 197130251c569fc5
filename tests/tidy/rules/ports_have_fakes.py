"""Every port of a service has a fake: a class under tests/fakes that does all that the port names, by its names.

Where a real part is the honest double, `real_doubles.yaml` says which, why, and which tests hold it to the port.
"""

import ast
from collections.abc import Iterator, Mapping

import yaml
from tests.tidy.rules.tree import Tree, Violation, dotted

LISTED = "tests/tidy/real_doubles.yaml"
PORTS = "services/*/src/*/*ports.py"
Function = ast.FunctionDef | ast.AsyncFunctionDef


def check(tree: Tree) -> Iterator[Violation]:
    """Yields ports that neither a fake nor a listed part of the product does, and entries that do not hold."""
    listed = (yaml.safe_load(tree.text(LISTED)) or {}) if LISTED in tree.names else {}
    real = {(service, port): entry for service, ports in listed.items() for port, entry in ports.items()}
    for name in tree.matching(PORTS):
        service = "/".join(name.split("/")[:2])
        fakes = _classes(tree, f"{service}/tests/fakes/*.py")
        for node in tree.parsed(name).body:
            if not isinstance(node, ast.ClassDef) or not any(dotted(base).endswith("Protocol") for base in node.bases):
                continue
            asked = {part.name for part in node.body if isinstance(part, Function)}
            entry = real.pop((service, node.name), None)
            faked = any(asked <= _offers(fake, fakes) for fake in fakes)
            if entry is None and not faked:
                yield Violation(name, node.lineno, f"no class in {service}/tests/fakes does what {node.name} asks")
            elif entry is not None:
                wrong = "it has a fake, so take it off" if faked else _wrong(tree, service, asked, entry)
                if wrong:
                    yield Violation(LISTED, 1, f"{node.name} of {service}: {wrong}")
    for service, port in real:
        yield Violation(LISTED, 1, f"{port} of {service}: there is no such port")


def _wrong(tree: Tree, service: str, asked: set[str], entry: Mapping[str, str]) -> str:
    """Returns what is wrong with an entry, "" for nothing."""
    name, _, method = entry["does"].partition(".")
    classes = _classes(tree, f"{service}/src/**")
    offered = [_offers(node, classes) for node in classes if node.name == name]
    # A port that is called is done by a method.
    wanted = {method} if method and asked == {"__call__"} else asked
    if not any(wanted <= one for one in offered):
        return f"{entry['does']} does not do what it asks"
    if not str(entry.get("because") or "").strip():
        return "say why it has no fake"
    word, tests = entry.get("word", name), entry["tested_by"]
    if tests not in tree.names or word not in tree.text(tests):
        return f"{tests} does not test it by {word}"
    return ""


def _classes(tree: Tree, pattern: str) -> list[ast.ClassDef]:
    files = [name for name in tree.matching(pattern) if name.endswith(".py")]
    return [node for file in files for node in ast.walk(tree.parsed(file)) if isinstance(node, ast.ClassDef)]


def _offers(node: ast.ClassDef, among: list[ast.ClassDef]) -> set[str]:
    """Returns the names of methods, and of attributes that the class, its parents or their methods set."""
    found = {part.name for part in node.body if isinstance(part, Function)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and dotted(inner.value) == "self":
            found.add(inner.attr)
        elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            found.add(inner.id)
    parents = {dotted(base) for base in node.bases} - {node.name}
    return found.union(*(_offers(parent, among) for parent in among if parent.name in parents))


_PORT = '"""P."""\nclass Store(Protocol):\n    async def get(self): ...\n    def put(self): ...\n'
_CALLED = '"""P."""\nclass Between(Protocol):\n    async def __call__(self): ...\n'
_FAKE = "class Memory:\n    async def get(self): ...\n    def put(self): ...\n"
_REAL = {
    "services/a/src/a/more_ports.py": _PORT,
    "services/a/src/a/adapters/sql.py": _FAKE.replace("Memory", "Sql"),
    "services/a/tests/test_sql.py": "Sql()\n",
}
_ENTRY = "{does: Sql, tested_by: services/a/tests/test_sql.py, because: Sums.}"
_CALL = _ENTRY.replace("does: Sql", "does: Reader.between, word: Sql")
PLANTED = [
    ({"services/a/src/a/ports.py": _PORT}, "what Store asks"),
    ({"services/a/src/a/more_ports.py": _PORT}, "what Store asks"),
    (
        {
            "services/a/src/a/ports.py": _PORT,
            "services/a/tests/fakes/stores.py": "class FakeStore:\n    async def get(self): ...\n",
        },
        "what Store asks",
    ),
    (
        {
            "services/a/src/a/ports.py": _PORT,
            "services/a/tests/fakes/stores.py": "class Any:\n    def __getattr__(self, name): ...\n",
        },
        "what Store asks",
    ),
    (_REAL | {LISTED: f"services/a: {{Store: {_ENTRY.replace('Sql', 'Away')}}}\n"}, "Away does not do"),
    (_REAL | {LISTED: f"services/a: {{Store: {_ENTRY.replace('Sums.', '')}}}\n"}, "say why"),
    (_REAL | {LISTED: f"services/a: {{Store: {_ENTRY}}}\n", "services/a/tests/test_sql.py": ""}, "does not test it"),
    (_REAL | {LISTED: f"services/a: {{Store: {_ENTRY}, Old: {_ENTRY}}}\n"}, "Old of services/a: there is no such port"),
    (
        _REAL | {LISTED: f"services/a: {{Store: {_ENTRY}}}\n", "services/a/tests/fakes/x.py": _FAKE},
        "it has a fake, so take it off",
    ),
]
KEPT = [
    {
        "services/a/src/a/ports.py": _PORT + "class Record:\n    def size(self): ...\n",
        "services/a/tests/fakes/stores.py": _FAKE,
    },
    {
        "services/a/src/a/ports.py": '"""P."""\nclass Clock(Protocol):\n    @property\n    def now(self): ...\n',
        "services/a/tests/fakes/x.py": "class FakeClock:\n    def __init__(self):\n        self.now = 0\n",
    },
    _REAL | {LISTED: f"services/a: {{Store: {_ENTRY}}}\n"},
    _REAL
    | {
        "services/a/src/a/ports.py": _CALLED,
        "services/a/src/a/consumers/x.py": "class Reader:\n    async def between(self): ...\n",
        "services/a/tests/fakes/x.py": "",
        LISTED: f"services/a: {{Store: {_ENTRY}, Between: {_CALL}}}\n",
    },
]
