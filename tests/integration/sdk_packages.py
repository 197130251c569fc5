"""The Python packages of other clients, installed from their lock into an environment of their own."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.process import locked, unavailable

FOLDER = Path(__file__).parent / "sdks"
LOCK = FOLDER / "requirements.lock"
INSTALL = "have a package index in reach of `uv pip sync`"


def python() -> str:
    """Returns the path of a Python that has what the lock names; ends the test when there is none to be had."""
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    with locked("sdks") as cache:
        home = cache / f"sdks-{digest}"
        binary, stamp = home / "bin" / "python", home / ".tollgate-lock"
        problem = "" if stamp.is_file() else _install(home, binary)
        if problem:
            unavailable("The Python packages of the clients", f"{INSTALL}. {problem}")
        stamp.touch()
    return str(binary)


def _install(home: Path, binary: Path) -> str:
    """Returns why it did not work, or nothing."""
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)],
        [*uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(binary), str(LOCK)],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment())
        if done.returncode:
            return f"{command[3]} failed: {(done.stderr or done.stdout).strip()[-1000:]}"
    return ""


def environment() -> dict[str, str]:
    """Returns an environment without our own packages, proxies, or keys of providers."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOLLGATE_", "OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "LANGCHAIN_", "LANGSMITH_"))
        and name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
        and not name.lower().endswith("_proxy")
    }
