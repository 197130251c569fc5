"""Writes the locks of what tests run beside the product: the newest versions that are allowed, with hashes.

Run by `make lock-clients`; its arguments name some of the folders with a lock of Python packages, by default all are
written, and that of npm. None names a registry.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "tests/integration/sdks",
    "tests/integration/older_sdks",
    "tests/integration/aider",
    "tests/openapi",
    "tests/fuzz/engine",
)
PYTHON = {path.name: path for path in map(Path, FOLDERS)}
NODE = ROOT / "tests" / "integration" / "node"
HEADER = "# Written by `make lock-clients`; installed with `uv pip sync --require-hashes`. Do not edit.\n"


def main(named: Sequence[str]) -> int:
    """Writes the locks; returns the exit code of what failed, or 0."""
    for name in named or PYTHON:
        if failed := _python(ROOT / PYTHON[name]):
            return failed
    return 0 if named else _node()


def _python(folder: Path) -> int:
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "requirements.in", "--universal", "--generate-hashes",
        "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.11",
        "--upgrade",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.stderr.write(done.stderr)
        return done.returncode
    (folder / "requirements.lock").write_text(HEADER + done.stdout, encoding="utf-8")
    return 0


def _node() -> int:
    wanted = json.loads((NODE / "package.json").read_bytes())["dependencies"]
    newest = [f"{name}@latest" for name in wanted]
    command = ["npm", "install", "--package-lock-only", "--save-exact", "--loglevel=error", *newest]
    return subprocess.run(command, check=False, cwd=NODE).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
