"""One process under supervision: started, read from, signalled, reaped, and started again after a pause."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from tollgate_cli.supervisor.spec import Spec

SHORTEST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
STEADY_SECONDS = 30.0
PR_SET_PDEATHSIG = 1


class Child:
    """A process and its history. Times are of a monotonic clock, in seconds."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.output = -1
        self.started = 0.0
        self.restart_at: float | None = None
        self.failures = 0

    @property
    def alive(self) -> bool:
        return self.process is not None

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def start(self, now: float) -> None:
        """Starts the process; its output is to be read from `output`. Raises OSError."""
        self.output, writer = os.pipe()
        try:
            # The terminal's Ctrl-C is for the supervisor alone, hence the group. What runs before exec is one system
            # call, which is safe with the one thread that may exist beside this one.
            self.process = subprocess.Popen(
                self.spec.arguments,
                env=dict(self.spec.environment),
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                pass_fds=self.spec.descriptors,
                process_group=0,
                preexec_fn=_end_with_parent() if self.spec.bound else None,  # noqa: PLW1509 - one call into libc, no locks.
            )
        except OSError:
            os.close(self.output)
            self.output = -1
            raise
        finally:
            os.close(writer)
        if self.spec.niceness:
            os.setpriority(os.PRIO_PROCESS, self.process.pid, self.spec.niceness)
        os.set_blocking(self.output, False)
        self.started = now
        self.restart_at = None

    def reap(self, now: float) -> int | None:
        """Returns how the process ended (negative: by which signal), or None while it runs."""
        if self.process is None:
            return None
        code = self.process.poll()
        if code is None:
            return None
        self.process = None
        self.failures = 1 if now - self.started > STEADY_SECONDS else self.failures + 1
        self.restart_at = now + min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** (self.failures - 1))
        return code

    def signal(self, number: int) -> None:
        """Sends a signal to the process, if there is one."""
        if self.process is not None:
            self.process.send_signal(number)


def told(code: int) -> str:
    """Returns how a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _end_with_parent() -> Callable[[], None] | None:
    """Returns what a child calls so that Linux ends it with its parent; other systems know no such thing."""
    if sys.platform != "linux":
        return None
    control = ctypes.CDLL(None).prctl

    def ask() -> None:
        control(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return ask
