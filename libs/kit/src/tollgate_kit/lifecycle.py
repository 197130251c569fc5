"""The life of a process: STARTING, READY, DRAINING, STOPPED, and what ends it."""

import asyncio
import contextlib
import enum
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator

log = logging.getLogger(__name__)


class State(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"


class Lifecycle:
    """Knows whether the process can serve, and says when it is to stop.

    `blockers` are asked by /readyz: each returns a sentence that says what is missing, or None. `notes` are sentences
    of what one should know although the process serves.
    """

    def __init__(self) -> None:
        self.state = State.STARTING
        self.stopping = asyncio.Event()
        self._blockers: list[Callable[[], str | None]] = []
        self._notes: list[Callable[[], str | None]] = []

    def add_blocker(self, blocker: Callable[[], str | None]) -> None:
        """Asks `blocker` whenever readiness is asked for."""
        self._blockers.append(blocker)

    def add_note(self, note: Callable[[], str | None]) -> None:
        """Asks `note` whenever readiness is asked for; what it says does not keep the process from serving."""
        self._notes.append(note)

    def notes(self) -> list[str]:
        """Returns what one should know of a process that serves."""
        return [said for note in self._notes if (said := note()) is not None]

    def missing(self) -> list[str]:
        """Returns what keeps the process from serving; empty when it can."""
        found = [reason for blocker in self._blockers if (reason := blocker()) is not None]
        if self.state is not State.READY:
            found.insert(0, f"process is {self.state.value}")
        return found

    def ready(self) -> None:
        """The process can serve; one that was told to stop meanwhile goes on draining."""
        if self.state is State.STARTING:
            self.state = State.READY

    def stopped(self) -> None:
        """Nothing is left to do; the admin port says so until it closes as the last of all."""
        self.state = State.STOPPED

    def stop(self, reason: str) -> None:
        """Begins to drain; a second call does nothing."""
        if not self.stopping.is_set():
            log.info("stopping", extra={"fields": {"reason": reason}})
            self.state = State.DRAINING
            self.stopping.set()


@contextlib.contextmanager
def stop_on_signals(lifecycle: Lifecycle, supervisor_fd: int = -1) -> Iterator[None]:
    """While open, SIGTERM, SIGINT and the closing of the supervisor's pipe begin the drain."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lifecycle.stop, number.name)
    if supervisor_fd >= 0:

        def closed() -> None:
            if not os.read(supervisor_fd, 1):
                loop.remove_reader(supervisor_fd)
                lifecycle.stop("the supervisor is gone")

        loop.add_reader(supervisor_fd, closed)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if supervisor_fd >= 0:
            loop.remove_reader(supervisor_fd)


async def forever(
    name: str, step: Callable[[], Awaitable[None]], *, pause_seconds: float, stopping: asyncio.Event
) -> None:
    """Calls `step` again and again until `stopping`; an error is logged and the next call comes after a pause.

    One of the loops that own a process: it is where unexpected errors end.
    """
    while not stopping.is_set():
        try:
            await step()
        except Exception:
            log.exception("%s failed; trying again", name)
            delay = max(pause_seconds, 0.5)
        else:
            delay = pause_seconds
        if delay:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), delay)
