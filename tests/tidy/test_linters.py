"""The linters fail on what is planted: the configuration in pyproject.toml is not only there, it bites."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tidy

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "services/router/src/tollgate_router/planted.py"
DOCUMENTED = '"""Planted."""\n\n'
FUNCTION = "def f(value: int) -> int:\n"
# What is planted → the code that ruff must report for it.
PLANTED = {
    "a clock of one's own": ("import time\n\nNOW = time.time\n", "TID251"),
    "a monotonic clock of one's own": ("import time\n\nNOW = time.monotonic\n", "TID251"),
    "a date of one's own": ("import datetime\n\nNOW = datetime.datetime.now\n", "TID251"),
    "an id of one's own": ("import uuid\n\nNEW = uuid.uuid4\n", "TID251"),
    "randomness of one's own": ("import random\n\nPICK = random.choice\n", "TID251"),
    "bytes of the system": ("import os\n\nTAKE = os.urandom\n", "TID251"),
    "a secret of one's own": ("import secrets\n\nTAKE = secrets.token_hex\n", "TID251"),
    "a bare except": (FUNCTION + "    try:\n        return value\n    except:\n        return 0\n", "E722"),
    "a broad except": (
        FUNCTION + "    try:\n        return value\n    except Exception:\n        return 0\n",
        "BLE001",
    ),
    "no annotations": ("def f(value):\n    return value\n", "ANN001"),
    "print": (FUNCTION + "    print(value)\n    return value\n", "T201"),
    "a long line": ("TEXT = " + repr("x" * 130) + "\n", "E501"),
    "a forgotten task": ("import asyncio\n\n\nasync def f() -> None:\n    asyncio.create_task(f())\n", "RUF006"),
    "an argument that nobody reads": ("class A:\n    def f(self, value: int) -> int:\n        return 1\n", "ARG002"),
    "a shell": ("import subprocess\n\nsubprocess.run('ls', shell=True, check=True)\n", "S602"),
    "a suppression of nothing": ("VALUE = 1  # noqa: E501\n", "RUF100"),
    "a suppression of everything": ("import os  # noqa\n", "PGH004"),
    "an ignore of every type": ("VALUE = 1  # type: ignore\n", "PGH003"),
    "branches without end": (
        FUNCTION
        + "".join(f"    if value == {number}:\n        value += 1\n" for number in range(11))
        + "    return value\n",
        "C901",
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_ruff_reports_what_is_planted(what):
    text, code = PLANTED[what]
    assert code in ruff(DOCUMENTED + text), what


def test_ruff_reports_nothing_in_what_is_right():
    assert ruff(DOCUMENTED + FUNCTION + '    """Returns twice the value."""\n    return 2 * value\n') == ""


def ruff(text: str) -> str:
    """Returns what ruff says of a file that would stand in a service."""
    command = [sys.executable, "-m", "ruff", "check", "--output-format=concise", "--stdin-filename", SOURCE, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout if done.returncode else ""


def test_ruff_format_changes_what_is_not_formatted():
    command = [sys.executable, "-m", "ruff", "format", "--check", "--stdin-filename", SOURCE, "-"]
    done = subprocess.run(command, input="x  =  1\n", capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1


TYPES = {
    "an untyped definition": ("def f(value):\n    return value\n", "no-untyped-def"),
    "a wrong type": ("VALUE: int = 'x'\n", "assignment"),
    "a generic without its parameter": ("VALUES: list = []\n", "type-arg"),
    "Any that leaves": ("import json\n\n\ndef f() -> int:\n    return json.loads('1')\n", "no-any-return"),
    "an ignore of nothing": ("VALUE = 1  # type: ignore[assignment]\n", "unused-ignore"),
}


def test_mypy_reports_what_is_planted(tmp_path):
    """One run for all: each run reads the standard library's types anew."""
    for number, (text, _) in enumerate(TYPES.values()):
        (tmp_path / f"planted_{number}.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--show-error-codes"]
    command += ["--cache-dir", tmp_path / "cache", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    for number, (what, (_, code)) in enumerate(TYPES.items()):
        said = [line for line in done.stdout.splitlines() if f"planted_{number}.py" in line]
        assert any(f"[{code}]" in line for line in said), f"{what}: {done.stdout}"


def test_a_warning_fails_a_test(tmp_path):
    (tmp_path / "test_planted.py").write_text("import warnings\n\n\ndef test_x():\n    warnings.warn('planted')\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml"]
    command += ["--rootdir", tmp_path, tmp_path / "test_planted.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "UserWarning: planted" in done.stdout


def test_an_unknown_marker_fails_a_test(tmp_path):
    (tmp_path / "test_planted.py").write_text("import pytest\n\n\n@pytest.mark.untit\ndef test_x():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml"]
    command += ["--rootdir", tmp_path, tmp_path / "test_planted.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "'untit' not found" in done.stdout
