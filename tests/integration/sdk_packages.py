"""Python packages that tests run beside the product, installed from a lock into an environment of their own."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.process import locked, unavailable

FOLDER = Path(__file__).parent / "sdks"
OLDER = Path(__file__).parent / "older_sdks"
INSTALL = "have a package index in reach of `uv pip sync`"


def python(folder: Path = FOLDER, what: str = "The Python packages of the clients") -> str:
    """Returns the path of a Python that has what the lock of a folder names.

    Ends the test, with `what` it lacks, when there is none to be had.
    """
    binary, problem = installed(folder)
    if problem:
        unavailable(what, f"{INSTALL}. {problem}")
    return str(binary)


def installed(folder: Path) -> tuple[Path, str]:
    """Returns a Python that has what the lock of a folder names, and why it is not there, or nothing."""
    lock = folder / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    with locked(folder.name) as cache:
        home = cache / f"{folder.name}-{digest}"
        binary, stamp = home / "bin" / "python", home / ".tollgate-lock"
        problem = "" if stamp.is_file() else _install(home, binary, lock)
        if not problem:
            stamp.touch()
    return binary, problem


def _install(home: Path, binary: Path, lock: Path) -> str:
    """Returns why it did not work, or nothing."""
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)],
        [*uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(binary), str(lock)],
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
