"""An event loop for one case: time is a number that jumps to the next timer, and turns are counted.

So nothing waits for a clock, a case that hangs is one that runs out of turns or has nothing left to wait for, and
errors that a protocol throws at its loop or logs are not lost.
"""

import asyncio
import logging
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

TURNS: Final = 30_000
_TURNS_OF_QUIET: Final = 12
_BRIEF_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 0.5


class Hang(AssertionError):  # noqa: N818 - what is found.
    """A case came to no end."""


class _Selector(selectors.PollSelector):
    """Never waits. `grace_seconds` is real time that the kernel may take to deliver what was sent on a TCP socket.

    Before a long time passes, or none is left to wait for, it may take longer: what comes after that comes too late.
    """

    def __init__(self, grace_seconds: float) -> None:
        super().__init__()
        self._grace = grace_seconds
        self.now = 0.0
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        if self.turns > TURNS:
            raise Hang(f"no end after {TURNS} turns of the loop")
        found = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        brief = timeout is not None and timeout < _BRIEF_SECONDS
        if self._grace and (found := super().select(self._grace if brief else _PATIENCE_SECONDS)):
            return found
        if timeout is None:
            raise Hang("nothing is left to wait for")
        self.now += timeout
        return []


class CountedLoop(asyncio.SelectorEventLoop):
    """Time starts at 1,000 seconds."""

    def __init__(self, grace_seconds: float = 0.0) -> None:
        self._jumping = _Selector(grace_seconds)
        super().__init__(self._jumping)

    def time(self) -> float:
        return 1000.0 + self._jumping.now

    async def run_in_executor(self, _executor: Any, function: Callable[..., Any], *arguments: Any) -> Any:  # type: ignore[override]
        """A thread would come and go by the clock."""
        return function(*arguments)


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


def run(main: Callable[[], Coroutine[Any, Any, None]], grace_seconds: float = 0.0) -> None:
    """Runs `main` on a loop of its own. Raises what it raises, Hang, or AssertionError for errors that nobody took."""
    loop = CountedLoop(grace_seconds)
    thrown: list[str] = []

    def note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        thrown.append(f"{context['message']}: {context.get('exception')!r}")

    loop.set_exception_handler(note)
    with _watched_logs() as logged:
        try:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(main())
            left = [task for task in asyncio.all_tasks(loop) if not task.done()]
            assert not left, f"tasks are left: {left}"
        finally:
            _abandon(loop)
    assert not thrown, f"thrown at the loop: {thrown[0]}"
    assert not logged, f"logged as an error: {logged[0]}"


async def quiet(pulse: Callable[[], object], turns: int = _TURNS_OF_QUIET) -> None:
    """Waits until `pulse` has been the same for so many turns of the loop."""
    same, last = 0, pulse()
    while same < turns:
        await asyncio.sleep(0)
        same, last = (same + 1, last) if (now := pulse()) == last else (0, now)


@contextmanager
def _watched_logs() -> Iterator[list[str]]:
    errors, root = _Errors(), logging.getLogger()
    root.addHandler(errors)
    try:
        yield errors.found
    finally:
        root.removeHandler(errors)


def _abandon(loop: CountedLoop) -> None:
    """Ends what a case left behind, also one that hangs."""
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop._jumping.turns = 0
        for _ in range(10):
            loop.call_soon(loop.stop)
            loop.run_forever()
    finally:
        asyncio.set_event_loop(None)
        loop.close()
