"""Our own code is never patched: a port takes a fake instead."""

import ast
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation, dotted

OURS = "tollgate"
PATCHERS = ("patch", "patch.object", "patch.dict", "patch.multiple", "setattr", "delattr")
PATCHERS += tuple(f"monkeypatch.{what}" for what in ("setattr", "delattr", "setitem", "delitem"))


def check(tree: Tree) -> Iterator[Violation]:
    """Yields calls that replace a part of our code in place."""
    for name in tree.python():
        module = tree.parsed(name)
        ours = set(_imported(module))
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and _patches(dotted(node)) and node.args and _ours(node.args[0], ours):
                yield Violation(name, node.lineno, f"{dotted(node)} replaces our own code; hand in a fake")
            for target in _stored(node):
                if dotted(target).partition(".")[0] in ours:
                    yield Violation(name, node.lineno, f"{dotted(target)} is our own code and set here; hand in a fake")


def _stored(node: ast.AST) -> Iterator[ast.expr]:
    """Yields whose attribute or item a statement sets or deletes."""
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        yield node.value


def _patches(called: str) -> bool:
    return any(called == patcher or called.endswith(f".{patcher}") for patcher in PATCHERS)


def _imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OURS):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(OURS):
                    yield (alias.asname or alias.name).partition(".")[0]


def _ours(target: ast.expr, ours: set[str]) -> bool:
    if isinstance(target, ast.Constant):
        return str(target.value).startswith(OURS)
    return dotted(target).partition(".")[0] in ours


PLANTED = [
    ({"t.py": 'with mock.patch("tollgate_kit.clock.time"):\n    pass\n'}, "t.py:1"),
    ({"t.py": '@patch("tollgate_edge.app.x")\ndef f(x): ...\n'}, "t.py:1"),
    ({"t.py": "from tollgate_kit import clock\nmock.patch.object(clock, 'time')\n"}, "t.py:2"),
    ({"t.py": "from tollgate_kit import clock\nclock.time = 1\n"}, "t.py:2"),
    ({"t.py": "from tollgate_kit.clock import Clock\ndel Clock.now\n"}, "t.py:2"),
    ({"t.py": "from tollgate_edge.error_table import BY_CODE\nBY_CODE['x'] += 1\n"}, "t.py:2"),
    ({"t.py": "from tollgate_kit import clock\nmonkeypatch.setitem(clock.ZONES, 'x', 1)\n"}, "t.py:2"),
    ({"t.py": "from tollgate_kit import clock\nsetattr(clock, 'time', 1)\n"}, "t.py:2"),
    ({"t.py": "import tollgate_kit.clock\nmonkeypatch.setattr(tollgate_kit.clock, 'time', 1)\n"}, "t.py:2"),
    ({"t.py": "from tollgate_kit.clock import SystemClock\nmocker.patch.object(SystemClock, 'now')\n"}, "t.py:2"),
]
KEPT = [
    {"t.py": "import tollgate_kit\nmonkeypatch.setenv('A', 'tollgate_kit')\nclient.patch('/v1/x')\n"},
    {"t.py": "from tollgate_kit import clock\nmine = clock.New()\nmine.time = 1\nmonkeypatch.setitem(x, 'A', 1)\n"},
    {"t.py": "from tollgate_kit import x\nself._dispatch(x)\n"},
    {"t.py": "import sys\nmonkeypatch.setattr(sys, 'stdin', 1)\n"},
]
