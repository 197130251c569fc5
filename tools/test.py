"""Runs every test; called by `make test`. Arguments go to pytest."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Returns pytest's exit code; its closing lines come last."""
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *sys.argv[1:]], check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
