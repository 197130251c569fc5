"""Writes the locks of the clients that tests drive: the newest versions that their requirements allow, with hashes.

Run by `make lock-clients`. Neither lock names a registry.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / "tests" / "integration" / "sdks"
NODE = ROOT / "tests" / "integration" / "node"
HEADER = "# Written by `make lock-clients`; installed with `uv pip sync --require-hashes`. Do not edit.\n"


def main() -> int:
    """Writes both locks; returns the exit code of what failed, or 0."""
    return _python() or _node()


def _python() -> int:
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "requirements.in", "--universal", "--generate-hashes",
        "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.11",
        "--upgrade",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PYTHON)
    if done.returncode:
        sys.stderr.write(done.stderr)
        return done.returncode
    (PYTHON / "requirements.lock").write_text(HEADER + done.stdout, encoding="utf-8")
    return 0


def _node() -> int:
    wanted = json.loads((NODE / "package.json").read_bytes())["dependencies"]
    newest = [f"{name}@latest" for name in wanted]
    command = ["npm", "install", "--package-lock-only", "--save-exact", "--loglevel=error", *newest]
    return subprocess.run(command, check=False, cwd=NODE).returncode


if __name__ == "__main__":
    sys.exit(main())
