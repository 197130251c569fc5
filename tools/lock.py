"""Writes requirements.lock: every third-party requirement of every member and of the dev group, pinned with hashes.

Run by `make lock`. uv is asked for no index addresses, so that no registry's host name reaches the repository.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Written by `make lock`; installed with `uv pip sync --require-hashes`. Do not edit.\n"


def requirements() -> list[str]:
    """Returns the sorted requirement lines of all members and the dev group, our own packages left out."""
    root = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: set[str] = set(root["dependency-groups"]["dev"])
    for pattern in root["tool"]["uv"]["workspace"]["members"]:
        for project in sorted(ROOT.glob(f"{pattern}/pyproject.toml")):
            found.update(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"])
    return sorted(line for line in found if not line.startswith("tollgate-"))


def main() -> int:
    """Compiles the lock; returns uv's exit code."""
    command = [
        sys.executable, "-m", "uv", "pip", "compile", "-", "--universal", "--generate-hashes", "--no-annotate",
        "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.11", *sys.argv[1:],
    ]  # fmt: skip
    text = "\n".join(requirements()) + "\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        sys.stderr.write(done.stderr)
        return done.returncode
    (ROOT / "requirements.lock").write_text(HEADER + done.stdout, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
