"""Tests that wait for a part that is not built yet: named in tests/waiting.txt, run all the same, and required to fail.

The day the part lands they pass, which is an error until the line is taken out. A line that names a whole file keeps
pytest from importing it. Registered in the root conftest.
"""

from pathlib import Path

import pytest

_FILE = Path(__file__).parent / "waiting.txt"
_ROOT = Path(__file__).parent.parent


def _waiting() -> dict[str, str]:
    lines = [line for line in _FILE.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split(": ", 1) for line in lines)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out whole files that wait."""
    name = collection_path.relative_to(_ROOT).as_posix() if collection_path.is_relative_to(_ROOT) else ""
    return True if name.endswith(".py") and name in _waiting() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expects the named tests to fail."""
    waiting = _waiting()
    for item in items:
        reason = waiting.get(item.nodeid)
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
