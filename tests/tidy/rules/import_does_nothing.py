"""Importing a module does nothing: no clients, settings, files, tasks or environment reads at module level."""

import ast
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation, dotted, run_at_import

ENVIRONMENT = {"os.environ", "os.getenv", "environ", "getenv", "os.environb"}
FORBIDDEN = {
    "open", "print", "input", "exec", "eval", "load_settings", "create_engine", "FastAPI", "asyncio.run",
    "asyncio.new_event_loop", "asyncio.get_event_loop", "asyncio.create_task", "os.system", "time.sleep", "time.time",
    "datetime.now", "datetime.utcnow", "random.random", "signal.signal", "atexit.register", "warnings.filterwarnings",
    "logging.basicConfig", "set_event_loop_policy", "uvloop.install", "from_url",
}  # fmt: skip
FORBIDDEN_LAST = {"connect", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "start", "getaddrinfo"}
FORBIDDEN_ROOTS = {"subprocess", "socket", "threading", "multiprocessing", "requests", "httpx", "urllib"}
FORBIDDEN_ENDINGS = ("Client", "Settings", "Engine", "Channel", "Connection", "Producer", "Consumer", "Pool", "Server")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields the calls and reads that an import would make."""
    for name in tree.sources():
        if name.endswith("__main__.py"):
            continue
        for node in run_at_import(tree.parsed(name).body):
            found = _found(node)
            if found:
                yield Violation(name, getattr(node, "lineno", 1), f"{found} runs when the module is imported")


def _found(node: ast.AST) -> str:
    called = dotted(node)
    if isinstance(node, ast.Attribute | ast.Name) and called in ENVIRONMENT:
        return called
    if not isinstance(node, ast.Call):
        return ""
    last = called.rpartition(".")[2]
    forbidden = (
        called in FORBIDDEN
        or last in FORBIDDEN
        or (last in FORBIDDEN_LAST and "." in called)
        or called.partition(".")[0] in FORBIDDEN_ROOTS
        or last.endswith(FORBIDDEN_ENDINGS)
    )
    return f"{called}()" if forbidden else ""


PLANTED = [
    ({"libs/a/src/a/x.py": 'import os\nHOME = os.environ["HOME"]\n'}, "os.environ"),
    ({"libs/a/src/a/x.py": 'import os\ndef f(home=os.getenv("HOME")):\n    return home\n'}, "os.getenv"),
    ({"libs/a/src/a/x.py": "import httpx\nclient = httpx.Client()\n"}, "httpx.Client()"),
    ({"libs/a/src/a/x.py": "class A:\n    settings = load_settings(B)\n"}, "load_settings()"),
    ({"libs/a/src/a/x.py": 'TEXT = Path("x").read_text()\n'}, "libs/a/src/a/x.py:1"),
    ({"libs/a/src/a/x.py": "try:\n    app = FastAPI()\nfinally:\n    pass\n"}, "FastAPI()"),
]
KEPT = [
    {"libs/a/src/a/x.py": "import os\ndef f():\n    return os.environ, open('x')\nlog = logging.getLogger(__name__)\n"},
    {"libs/a/src/a/__main__.py": "import os\nprint(os.environ)\n"},
    {"libs/a/src/a/x.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    print(1)\n"},
    {"libs/a/src/a/x.py": "f = lambda: open('x')\nPATTERN = re.compile('a')\n"},
    {"libs/a/tests/unit/x.py": "import os\nHOME = os.environ\n"},
]
