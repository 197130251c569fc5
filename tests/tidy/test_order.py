"""`make test` runs every test file once, what fails fast first."""

from pathlib import Path

import pytest
from tools.test import ROOT, ordered

pytestmark = pytest.mark.tidy


def test_every_test_file_is_run_once() -> None:
    folders = [ROOT / name for name in ordered(ROOT)]
    for root in ("libs", "services", "cli", "simulators", "tests"):
        for file in (ROOT / root).rglob("test_*.py"):
            if "node_modules" not in file.parts:
                assert sum(folder in file.parents for folder in folders) == 1, file


def test_order_and_forgotten_folders(tmp_path: Path) -> None:
    names = ("tests/integration", "tests/load", "services/a/tests/unit", "services/a/tests/integration", "tests/tidy")
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "test_x.py").touch()
    (tmp_path / "tests/empty").mkdir()
    units = "services/a/tests/unit"
    expected = ["tests/tidy", units, "services/a/tests/integration", "tests/integration", "tests/load"]
    assert ordered(tmp_path) == expected
