"""Rules, use cases and ports import what docs/adr/0013-what-rules-may-import.md names, and nothing else."""

import ast
import re
import sys
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation

DECISION = "docs/adr/0013-what-rules-may-import.md"
# What of the standard library reaches out of the process, waits, or draws time and chance from the system.
# fmt: off
REACHING = {
    "asyncio", "concurrent", "fcntl", "ftplib", "getpass", "glob", "http", "imaplib", "locale", "logging", "mmap",
    "multiprocessing", "os", "pathlib", "platform", "poplib", "queue", "resource", "sched", "secrets", "select",
    "selectors", "shelve", "shutil", "signal", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "subprocess",
    "sys", "syslog", "tempfile", "threading", "time", "urllib.request", "webbrowser", "xmlrpc",
}
# fmt: on
# What is imported from elsewhere: a name covers what is below it; stubs are messages, never services.
MESSAGES = re.compile(r"google\.protobuf\.(message|json_format)|tollgate\.\w+\.v\d+(\.\w+_pb2)?")
DOMAIN = {"msgspec", "tollgate_rating", "tollgate_resources", "tollgate_kit.multipart"}
DOMAIN |= {f"tollgate_holds.{name}" for name in ("LimitSet", "Scope", "hold_id_of", "request_of")}
USE_CASES = DOMAIN | {f"tollgate_kit.{port}" for port in ("clock", "ids", "event_log", "lifecycle", "tracing")}
# They order work and words of it; a path is a value that they hand on.
ORDERING = {"asyncio", "logging", "pathlib"}


def check(tree: Tree) -> Iterator[Violation]:
    """Yields imports that are not allowed where they stand."""
    for name in tree.matching(
        "services/*/src/*/domain/**", "services/*/src/*/use_cases/**", "services/*/src/*/*ports.py"
    ):
        if not name.endswith(".py"):
            continue
        package, layer = name.split("/")[3:5]
        inner = layer == "domain"
        for line, imported in _imports(tree.parsed(name)):
            if not _below(imported, {package}) and not _allowed(imported, inner=inner):
                yield Violation(name, line, f"{layer} does not import {imported}: {DECISION} says what it may")


def _imports(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Yields all that is imported, down to the name."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _allowed(imported: str, *, inner: bool) -> bool:
    if imported.partition(".")[0] in sys.stdlib_module_names:
        return not _below(imported, REACHING if inner else REACHING - ORDERING)
    if imported.startswith(("tollgate.", "google.")):
        found = MESSAGES.match(imported)
        return found is not None and "_grpc" not in imported
    return _below(imported, DOMAIN if inner else USE_CASES)


def _below(name: str, modules: set[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _planted(layer: str, line: str) -> dict[str, str]:
    return {f"services/a/src/tollgate_a/{layer}": f"{line}\n"}


PLANTED = [
    (_planted("domain/x.py", "import asyncio"), "domain does not import asyncio"),
    (_planted("domain/x.py", "from time import monotonic"), "domain does not import time.monotonic"),
    (_planted("domain/x.py", "def f():\n    import urllib.request"), "does not import urllib.request"),
    (_planted("domain/x.py", "from tollgate_kit.clock import Clock"), "does not import tollgate_kit.clock.Clock"),
    (_planted("domain/deep/x.py", "from tollgate_holds import Holds"), "does not import tollgate_holds.Holds"),
    (_planted("domain/x.py", "import pydantic"), "does not import pydantic"),
    (_planted("use_cases/x.py", "from opentelemetry.trace import SpanKind"), "use_cases does not import opentelemetry"),
    (_planted("use_cases/x.py", "import socket"), "does not import socket"),
    (_planted("use_cases/x.py", "from tollgate_kit.sql import Database"), "does not import tollgate_kit.sql"),
    (_planted("use_cases/x.py", "from tollgate.media.v1 import media_pb2_grpc"), "does not import tollgate.media"),
    (_planted("more_ports.py", "import httpx"), "more_ports.py does not import httpx"),
    (_planted("ports.py", "from sqlalchemy import Table"), "ports.py does not import sqlalchemy"),
]
KEPT = [
    _planted("domain/x.py", "import re\nfrom urllib.parse import urlsplit\nimport msgspec\nimport tollgate_a.errors"),
    _planted("domain/x.py", "from tollgate.events.v1 import usage_pb2 as usage\nfrom tollgate_holds import Scope"),
    _planted("use_cases/x.py", "import asyncio\nfrom tollgate_kit.clock import Clock\nimport tollgate_rating"),
    _planted("adapters/x.py", "import httpx"),
]
