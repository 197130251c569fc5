"""The loop that owns all processes: one thread, woken by output, signals and deadlines."""

import contextlib
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from tollgate_cli.supervisor.child import Child, told
from tollgate_cli.supervisor.journal import Journal
from tollgate_cli.supervisor.spec import Spec

STOP_SECONDS = 3.4
LAST_STOP_SECONDS = 1.0
DEATHS_BEFORE_GIVING_UP = 3
READ_BYTES = 65536


class Voice(Protocol):
    """Says what happens to who started the product."""

    def restarted(self, name: str, how: str) -> None:
        """A process that ended by itself runs again; `how` it ended."""
        ...

    def failed(self, name: str, how: str) -> None:
        """The product cannot start because of this process."""
        ...

    def stopping(self) -> None:
        """The stop begins."""
        ...


class Watcher(Protocol):
    """Finds out when the product can serve."""

    def begin(self, wake: Callable[[], None]) -> None:
        """Starts to look; `wake` may be called from another thread when `finished` has changed."""
        ...

    def end(self) -> None:
        """Stops to look."""
        ...

    @property
    def finished(self) -> bool:
        """True when there is nothing more to wait for; `succeeded` tells how it went."""
        ...

    @property
    def succeeded(self) -> bool:
        """True when the product can serve."""
        ...


class Supervisor:
    """Runs `specs` until it is told to stop.

    `announce` gets the processes by service, when the product can serve and again whenever one was restarted.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        journal: Journal,
        voice: Voice,
        watcher: Watcher,
        announce: Callable[[dict[str, list[int]]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = [Child(spec) for spec in specs]
        self._journal = journal
        self._voice = voice
        self._watcher = watcher
        self._announce = announce
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._serving = False
        self._code = 0
        self._kill_at: float | None = None
        self._last_phase = False
        self._wake_writer = -1

    def run(self) -> int:
        """Returns the exit code: 0 after a stop that was asked for, 1 when the product could not start."""
        with self._signals():
            for child in self._children:
                self._start(child)
            self._watcher.begin(self._wake)
            while any(child.alive for child in self._children) or self._kill_at is None:
                self._turn()
        return self._code

    def stop(self) -> None:
        """Begins to stop all processes; when called again, ends them at once."""
        now = self._clock()
        if self._kill_at is not None:
            self._kill_at = now
            return
        self._voice.stopping()
        self._kill_at = now + STOP_SECONDS
        self._end(lambda child: not child.spec.last)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._pause()):
            key.data()
        now = self._clock()
        for child in self._children:
            self._look_after(child, now)
        if self._kill_at is not None:
            self._finish(now)
        elif self._watcher.finished and not self._serving:
            self._serving = True
            if self._watcher.succeeded:
                self._announce(self._processes())
            else:
                self._give_up()

    def _look_after(self, child: Child, now: float) -> None:
        code = child.reap(now)
        if code is not None:
            self._drain(child)
            self._journal.end(child.spec.name)
            self._close(child)
            if self._kill_at is None and not self._serving and self._hopeless(child, code):
                self._voice.failed(child.spec.name, told(code))
                self._give_up()
            elif self._kill_at is None:
                self._voice.restarted(child.spec.name, told(code))
        if self._kill_at is None and child.restart_at is not None and now >= child.restart_at:
            self._start(child)
            if self._serving:
                self._announce(self._processes())

    def _hopeless(self, child: Child, code: int) -> bool:
        # Code 2 says that the settings are wrong, which another try does not change.
        return code == 2 or child.failures >= DEATHS_BEFORE_GIVING_UP

    def _give_up(self) -> None:
        self._code = 1
        self.stop()

    def _finish(self, now: float) -> None:
        others_gone = not any(child.alive and not child.spec.last for child in self._children)
        if self._kill_at is not None and now >= self._kill_at:
            for child in self._children:
                if self._last_phase or not child.spec.last:
                    child.signal(signal.SIGKILL)
        if others_gone and not self._last_phase:
            self._last_phase = True
            self._kill_at = now + LAST_STOP_SECONDS
            self._end(lambda child: child.spec.last)

    def _end(self, which: Callable[[Child], bool]) -> None:
        for child in self._children:
            if which(child):
                child.signal(signal.SIGTERM)

    def _pause(self) -> float | None:
        now = self._clock()
        moments = [child.restart_at for child in self._children if child.restart_at and self._kill_at is None]
        if self._kill_at is not None:
            # After the deadline it is only the system that is waited for.
            moments.append(max(self._kill_at, now + 0.05))
        return max(0.0, min(moments) - now) if moments else None

    def _processes(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for child in self._children:
            found.setdefault(child.spec.service, []).extend([child.pid] if child.alive else [])
        return found

    def _start(self, child: Child) -> None:
        try:
            child.start(self._clock())
        except OSError as error:
            self._journal.write(child.spec.name, f"{child.spec.arguments[0]}: {error.strerror}\n".encode())
            self._voice.failed(child.spec.name, "it cannot be run")
            self._give_up()
            return
        self._selector.register(child.output, selectors.EVENT_READ, lambda: self._drain(child))

    def _drain(self, child: Child) -> None:
        while child.output >= 0:
            try:
                data = os.read(child.output, READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._close(child)
                return
            self._journal.write(child.spec.name, data)

    def _close(self, child: Child) -> None:
        if child.output >= 0:
            self._selector.unregister(child.output)
            os.close(child.output)
            child.output = -1

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_writer, b"\0")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        reader, self._wake_writer = os.pipe()
        for descriptor in (reader, self._wake_writer):
            os.set_blocking(descriptor, False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        self._selector.register(reader, selectors.EVENT_READ, lambda: self._signalled(os.read(reader, 512)))
        try:
            yield
        finally:
            self._watcher.end()
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            for child in self._children:
                self._close(child)
            self._selector.close()
            os.close(reader)
            os.close(self._wake_writer)

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number in {signal.SIGTERM, signal.SIGINT}:
                self.stop()
            elif number == signal.SIGHUP:
                for child in self._children:
                    if child.spec.service == "edge":
                        child.signal(signal.SIGHUP)
