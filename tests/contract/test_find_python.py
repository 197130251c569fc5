"""Which interpreter `make install` builds on. Stand-ins answer what it asks of each: usable? optimized?"""

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.contract

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "find_python.sh"
ANSWERS = """#!/bin/sh
case "$2" in
*enable-optimizations*) exit {optimized} ;;
*) exit {usable} ;;
esac
"""


def stand_in(path: Path, kind: str) -> str:
    path.parent.mkdir(exist_ok=True)
    answers = {"optimized": (0, 0), "plain": (0, 1), "old": (1, 0)}[kind]
    path.write_text(ANSWERS.format(usable=answers[0], optimized=answers[1]))
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("first", "system", "found"),
    [
        ("optimized", "plain", "python3"),
        ("plain", "plain", "system"),
        ("plain", "old", "python3"),
        ("old", "plain", "system"),
    ],
)
def test_the_first_is_left_for_the_systems_where_that_is_better(
    tmp_path: Path, first: str, system: str, found: str
) -> None:
    stand_in(tmp_path / "bin" / "python3", first)
    answer = ask(tmp_path, stand_in(tmp_path / "system", system))
    assert (answer.returncode, Path(answer.stdout.strip()).name) == (0, found)


def test_the_one_that_is_named_is_taken_or_refused_with_the_reason(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin" / "python3", "optimized")
    named = stand_in(tmp_path / "named", "plain")
    assert ask(tmp_path, "/none", PYTHON=named).stdout.strip() == named
    refused = ask(tmp_path, "/none", PYTHON=stand_in(tmp_path / "named", "old"))
    assert refused.returncode == 1
    assert f"needs Python 3.11 or later, with venv, ssl and sqlite3; '{named}' is not" in refused.stderr


def test_nothing_usable_is_said(tmp_path: Path) -> None:
    stand_in(tmp_path / "bin" / "python3", "old")
    assert ask(tmp_path, stand_in(tmp_path / "system", "old")).returncode == 1


def ask(tmp_path: Path, system: str, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    environment["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{environment['PATH']}"
    command = ["bash", str(SCRIPT), system]
    return subprocess.run(command, check=False, env=environment | more, capture_output=True, text=True, timeout=60)
