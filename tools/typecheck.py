"""Runs `mypy --strict` over every package of ours. Run by `make check`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATTERNS = ("libs/*/src/tollgate_*", "services/*/src/tollgate_*", "cli/src/tollgate_*", "simulators/*/src/tollgate_*")


def main() -> int:
    """Returns mypy's exit code."""
    packages = sorted(path.name for pattern in PATTERNS for path in ROOT.glob(pattern))
    arguments = [part for name in packages for part in ("-p", name)]
    return subprocess.run([sys.executable, "-m", "mypy", *arguments, *sys.argv[1:]], check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
