"""The directory that keeps a product's state between runs: where things are in it, its lock and its ready file.

Standard library only: the supervisor, which runs all the time, imports it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LONGEST_SOCKET_PATH = 100
LONGEST_SOCKET_NAME = len("/media-jobs-admin.sock")


class AlreadyRunning(Exception):  # noqa: N818
    """Another supervisor has this home. `pid` is 0 when it did not say who it is."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid


class Home:
    """Paths below one home directory."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.ready = self.root / "ready.json"
        self.lock = self.root / "lock"
        self.logs = self.root / "logs"
        self.bootstrap = self.root / "edge" / "bootstrap.json"
        self.run = run_directory(self.root)

    def prepare(self) -> None:
        """Makes the directories, for their owner only. Raises OSError."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("edge", "billing", "media-jobs", "valkey", "log", "usage", "assets", "logs"):
            (self.root / name).mkdir(exist_ok=True, mode=0o700)
        self.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = self.run.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
            raise PermissionError(f"{self.run} belongs to somebody else; remove it or use another --home")

    def socket(self, name: str) -> str:
        """Returns the path of a Unix socket."""
        return str(self.run / f"{name}.sock")

    def take_lock(self) -> int:
        """Returns the descriptor that holds the home until it is closed. Raises AlreadyRunning, OSError."""
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyRunning(int(pid) if pid.isdecimal() else 0) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor

    def running(self) -> int | None:
        """Returns the supervisor's process id (0: unknown), or None when nothing runs here."""
        if not self.lock.exists():
            return None
        try:
            os.close(self.take_lock())
        except AlreadyRunning as error:
            return error.pid
        return None

    def read_ready(self) -> dict[str, Any] | None:
        """Returns the ready file, or None when there is none that can be read."""
        return read_json(self.ready)


def run_directory(root: Path) -> Path:
    """Returns where sockets go: below the home, or in a short place when their paths would get too long."""
    near = root / "run"
    if len(os.fsencode(near)) + LONGEST_SOCKET_NAME <= LONGEST_SOCKET_PATH:
        return near
    mark = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"tollgate-{os.getuid()}-{mark}"


def default_home() -> Path:
    """Returns `.tollgate` in the checkout that this package runs from, else in the working directory."""
    checkout = Path(__file__).parents[3]
    return (checkout if (checkout / "requirements.lock").exists() else Path.cwd()) / ".tollgate"


def home_of(option: Path | None, environment: Mapping[str, str]) -> Home:
    """Returns the home named by the option, `TOLLGATE_HOME`, or the default."""
    named = environment.get("TOLLGATE_HOME")
    return Home(option or (Path(named) if named else default_home()))


def read_json(path: Path) -> dict[str, Any] | None:
    """Returns the object in a file, or None when it is absent or broken."""
    with contextlib.suppress(OSError, ValueError):
        value = json.loads(path.read_bytes())
        return value if isinstance(value, dict) else None
    return None


def write_json(path: Path, value: object) -> None:
    """Replaces a file at once, readable by its owner only. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
    fresh.replace(path)
