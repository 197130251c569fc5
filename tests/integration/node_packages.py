"""The npm packages of the tests, installed from their lock, and a Node that they accept."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.servers.process import locked, unavailable

FOLDER = Path(__file__).parent / "node"
MODULES = FOLDER / "node_modules"
TRIES = 3
INSTALL = "install npm (Debian: apt-get install nodejs npm), with a registry in reach of `npm ci`"


def node() -> str:
    """Returns the path of a Node that runs what the lock names; ends the test when there is none to be had."""
    with locked("npm"):
        problem = _install()
    if problem:
        unavailable("The npm packages of the clients", f"{INSTALL}. {problem}")
    # The registry's own builds of Node are packages too: Debian's may be older than the SDK takes.
    candidates = [str(found) for found in (*sorted(MODULES.glob("node-*/bin/node")), shutil.which("node")) if found]
    found = next((binary for binary in candidates if _new_enough(binary)), None)
    return found or unavailable("The npm packages of the clients", f"install Node {_wanted()} or newer")


def _install() -> str:
    """Installs the packages once per lock. Returns why it did not work, or nothing."""
    stamp = MODULES / ".tollgate-lock"
    lock = (FOLDER / "package-lock.json").read_bytes()
    if stamp.is_file() and stamp.read_bytes() == lock:
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return "There is no npm."
    said = ""
    for attempt in range(TRIES):
        time.sleep(attempt)
        done = subprocess.run(
            [npm, "ci", "--loglevel=error"], cwd=FOLDER, check=False, capture_output=True, text=True, env=_environment()
        )
        if done.returncode == 0:
            stamp.write_bytes(lock)
            return ""
        said = (done.stderr or done.stdout).strip()
    return f"npm ci failed: {said[-1000:]}"


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {"NODE_OPTIONS", "NODE_PATH"}}


def _wanted() -> int:
    """Returns the oldest major version of Node that the SDK takes."""
    package = json.loads((MODULES / "openai" / "package.json").read_bytes())
    found = re.search(r"\d+", package.get("engines", {}).get("node", "0"))
    return int(found[0]) if found else 0


def _new_enough(binary: str) -> bool:
    try:
        said = subprocess.run([binary, "--version"], check=False, capture_output=True, text=True, timeout=60).stdout
    except OSError:
        return False
    found = re.match(r"v(\d+)\.", said)
    return found is not None and int(found[1]) >= _wanted()
