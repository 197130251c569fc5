"""`tollgate down`: stops a supervisor from the outside."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from tollgate_cli.errors import Failure
from tollgate_cli.home import Home, home_of
from tollgate_cli.output import print_json

PATIENCE_SECONDS = 10.0


def run_down(option: Path | None, environment: Mapping[str, str], *, as_json: bool) -> None:
    """Stops what runs with a home. It is no error when nothing does. Raises Failure."""
    home = home_of(option, environment)
    pid = home.running()
    if pid is not None:
        if not pid:
            raise Failure(f"Something holds {home.lock}, and does not say who it is.", advice="End it by hand.")
        _stop(home, pid)
    if as_json:
        print_json({"stopped": pid is not None, "pid": pid, "home": str(home.root)})
    else:
        print(f"Stopped process {pid}." if pid is not None else f"Nothing runs with the home {home.root}.")


def _stop(home: Home, pid: int) -> None:
    ready = home.read_ready() or {}
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError as error:
        raise Failure(f"Process {pid} belongs to somebody else.", advice="Stop it as its owner.") from error
    except ProcessLookupError:
        pass
    if _gone(home):
        return
    left = [pid, *(one for group in ready.get("processes", {}).values() for one in group)]
    for one in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    if not _gone(home):
        raise Failure(f"Process {pid} does not end.")


def _gone(home: Home) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while home.running() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
