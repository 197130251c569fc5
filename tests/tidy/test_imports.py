"""Importing our modules does nothing, as seen from outside: a fresh process imports all of them under guard."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tidy

ROOT = Path(__file__).resolve().parents[2]
# What a rule has no use for; `socket` is not among them, since the standard library's `email` imports it.
IO_LIBRARIES = ["aiokafka", "asyncio", "chdb", "clickhouse_connect", "fastapi", "grpc", "hiredis", "httptools", "httpx"]
IO_LIBRARIES += ["sqlalchemy", "sqlite3", "ssl", "uvloop"]
GUARD = Path(__file__).with_name("import_guard.py")
PATTERNS = ("libs/*/src", "services/*/src", "cli/src", "simulators/*/src")


def guarded(*roots: Path) -> list[str]:
    """Returns what the modules below `roots` did while they were imported."""
    command = [sys.executable, str(GUARD), *(str(root) for root in roots)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["events"]


def test_importing_our_modules_does_nothing():
    roots = [path for pattern in PATTERNS for path in ROOT.glob(pattern) if path.parent.name != "contracts"]
    assert len(roots) >= 9
    assert guarded(*roots) == []


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ('import os\nHOME = os.environ.get("HOME")\n', "environ"),
        ('import os\nHOME = os.getenv("HOME")\n', "environ"),
        ("import pathlib\nTEXT = pathlib.Path(__file__).read_text()\n", "open"),
        ("import socket\nS = socket.create_server(('127.0.0.1', 0))\nS.close()\n", "socket"),
        ("import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''])\n", "subprocess"),
        ("import threading\nT = threading.Thread(target=print)\nT.start()\nT.join()\n", "thread"),
    ],
)
def test_the_guard_sees_what_is_planted(text, event, tmp_path):
    package = tmp_path / "src" / "tollgate_planted"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "quiet.py").write_text("import json\nVALUE = json.dumps({})\ndef f():\n    return open(__file__)\n")
    assert guarded(tmp_path / "src") == []
    (package / "loud.py").write_text(text)
    events = guarded(tmp_path / "src")
    assert any("loud.py" in found and event in found for found in events), events


def imported_by_domains(root: Path) -> list[str]:
    """Returns which I/O libraries the modules of `domain` packages below `root` bring in, directly or not."""
    names = [
        ".".join(path.relative_to(source).with_suffix("").parts)
        for source in (*root.glob("services/*/src"), *root.glob("src"))
        for path in sorted(source.glob("*/domain/**/*.py"))
    ]
    assert names
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += f"print(*sorted(set(sys.modules) & {set(IO_LIBRARIES)!r}))"
    path = os.pathsep.join([*sys.path, *map(str, root.glob("src"))])
    command = [sys.executable, "-c", code, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_rules_bring_in_no_library_that_does_io(tmp_path):
    assert imported_by_domains(ROOT) == []
    package = tmp_path / "src" / "tollgate_planted" / "domain"
    package.mkdir(parents=True)
    (package / "rule.py").write_text("from tollgate_holds.holds import Holds\n")
    assert "hiredis" in imported_by_domains(tmp_path)
