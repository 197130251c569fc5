"""Runs every test; called by `make test`. Arguments go to pytest, and name what is run when they hold a path.

What fails fast comes first: style and contracts, then units, then the parts with real servers, then the whole product.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ORDER = (
    "tests/tidy",
    "tests/contract",
    "libs/*/tests/unit",
    "services/*/tests/unit",
    "cli/tests/unit",
    "simulators/*/tests/unit",
    "libs/*/tests/integration",
    "services/*/tests/integration",
    "cli/tests/integration",
    "simulators/*/tests/integration",
    "tests/integration",
)
HOLD_TESTS = ("libs/*/tests", "services/*/tests", "cli/tests", "simulators/*/tests", "tests")


def main(arguments: list[str]) -> int:
    """Returns pytest's exit code; its closing lines come last."""
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    if not any(_is_path(argument) for argument in arguments):
        # Most of the time is spent waiting for servers that start and stop: three files at a time, each in one process.
        command += ["-n", "3", "--dist", "loadfile", *ordered(ROOT)]
    # Tests start some hundred processes: where nothing may be kept, each compiles every module anew, which takes a
    # product three times as long to start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode


def ordered(root: Path) -> list[str]:
    """Returns the test folders below `root` in the order they are run, and those that `ORDER` forgets at the end."""
    found: list[str] = []
    for pattern in ORDER:
        found += sorted(str(folder.relative_to(root)) for folder in root.glob(pattern) if _has_tests(folder))
    rest = sorted(
        str(folder.relative_to(root))
        for pattern in HOLD_TESTS
        for folder in root.glob(f"{pattern}/*")
        if folder.is_dir() and _has_tests(folder)
    )
    return found + [name for name in rest if name not in found]


def _has_tests(folder: Path) -> bool:
    return any("node_modules" not in file.parts for file in folder.rglob("test_*.py"))


def _is_path(argument: str) -> bool:
    return not argument.startswith("-") and (ROOT / argument.partition("::")[0]).exists()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
