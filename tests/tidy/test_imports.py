"""Importing our modules does nothing, as seen from outside: a fresh process imports all of them under guard."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tidy

ROOT = Path(__file__).resolve().parents[2]
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
