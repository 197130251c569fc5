"""Child processes of tests: started on free loopback ports, waited for, and stopped by their own id."""

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache"


class ServerFailedError(RuntimeError):
    """A server of the tests did not do what it was started for."""


def unavailable(what: str, install: str) -> NoReturn:
    """Ends the test: a skip that names what to install, and a failure on CI, where nothing may be missing."""
    message = f"{what} cannot be started here. To get it: {install}"
    if os.environ.get("CI", "").lower() in {"1", "true", "yes"}:
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def free_ports(count: int) -> list[int]:
    """Returns ports of the loopback interface that nobody listens on now, all different.

    None of them is one that the system gives to connections by itself: such a port may be taken before its server
    listens, or while it is killed and started again. Processes of tests take turns, so that no two are given the same.
    """
    first, beyond = 10_000, _first_of_the_system()
    with (Path(tempfile.gettempdir()) / f"tollgate-ports-{os.getuid()}").open("a+") as turns:
        fcntl.flock(turns, fcntl.LOCK_EX)
        turns.seek(0)
        last = int(turns.read() or random.randrange(first, beyond))
        ports: list[int] = []
        while len(ports) < count:
            last = last + 1 if first <= last + 1 < beyond else first
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", last))
                ports.append(last)
        turns.truncate(0)
        turns.write(str(last))
        return ports


def _first_of_the_system() -> int:
    """Returns the first of the ports that the system gives to whoever asks for any."""
    range_of_linux = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(range_of_linux.read_text().split()[0]) if range_of_linux.exists() else 49_152
    # Where it gives nearly all of them, none is better than another.
    return lowest if lowest > 12_000 else 32_768


def free_port() -> int:
    """Returns one port that nobody listens on now."""
    return free_ports(1)[0]


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60.0, pause: float = 0.05) -> None:
    """Asks again and again until `condition` is true. Raises ServerFailedError that names `what` when it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServerFailedError(f"waited {seconds:g} s for {what}")
        time.sleep(pause)


def alive(pid: int) -> bool:
    """Tells whether a process runs; one that has ended and was not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def accepts(port: int) -> bool:
    """Tells whether somebody listens on a port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def locked(name: str) -> Iterator[Path]:
    """Holds a lock of the checkout's cache, so that two test processes do not fetch the same thing; gives the cache."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield CACHE


class Child:
    """A process with its output in a file. `command` is run again by `start` after `kill` or `stop`.

    With `own_group` it leads a process group, which gets every signal whole, as from a terminal.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        cwd: Path | None = None,
        stop_signal: int = signal.SIGTERM,
        own_group: bool = False,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        self.environment = dict(environment) if environment is not None else None
        self.user = user
        self.cwd = cwd
        self.stop_signal = stop_signal
        self.own_group = own_group
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    def start(self, ready: Callable[[], object], seconds: float = 180.0) -> None:
        """Starts the process and waits until `ready`. Raises ServerFailedError with its last words when it dies."""
        identity = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self.cwd,
                process_group=0 if self.own_group else None,
                **identity,
            )

        def ready_or_dead() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise ServerFailedError(f"{self.command[0]} ended with {self.process.returncode}:\n{self.tail()}")
            return bool(ready())

        try:
            wait_until(ready_or_dead, f"{Path(self.command[0]).name} to be ready", seconds)
        except ServerFailedError:
            self.stop()
            raise

    def signal(self, number: int) -> None:
        """Sends a signal to the process, if it still runs."""
        if self.process is None or self.process.poll() is not None:
            return
        if self.own_group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Ends the process at once, as a crash would."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self, seconds: float = 20.0) -> None:
        """Asks the process to end, and ends it when it does not."""
        if self.process is None:
            return
        self.signal(self.stop_signal)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def tail(self, lines: int = 30) -> str:
        """Returns the end of what the process printed."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def run(command: Sequence[str | Path], *, cwd: Path | None = None, user: int | None = None) -> None:
    """Runs a command to its end. Raises ServerFailedError with its output when it fails."""
    identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    arguments = [str(part) for part in command]
    done = subprocess.run(arguments, cwd=cwd, check=False, capture_output=True, text=True, **identity)
    if done.returncode:
        raise ServerFailedError(f"{arguments[0]} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
