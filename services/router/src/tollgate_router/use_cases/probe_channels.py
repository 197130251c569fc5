"""Asks providers after their health at the intervals that channels declare."""

import asyncio
import random
from typing import TYPE_CHECKING, Final

from tollgate_kit.clock import Clock
from tollgate_router.domain.channels import Ready
from tollgate_router.domain.probes import Probe, judge, probes_of
from tollgate_router.ports import ProbePort

if TYPE_CHECKING:
    from tollgate_router.domain.snapshot import Snapshot

_AT_ONCE: Final = 16
_LONGEST_SLEEP_SECONDS: Final = 1.0


class ProbeChannels:
    """`follow` takes the configuration in force; `round` sends what is due, `run` does so until told to stop."""

    def __init__(self, port: ProbePort, clock: Clock, source: random.Random) -> None:
        self._port = port
        self._clock = clock
        self._source = source
        self._due: dict[str, float] = {}
        self._turns: dict[str, int] = {}
        self._ready: dict[str, Ready] = {}
        self._under_way: set[str] = set()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self.sent = 0
        self.failed = 0

    def follow(self, snapshot: "Snapshot") -> None:
        """Probes the channels of this configuration from now on; those that stay keep their time."""
        self._ready = {name: ready for name, ready in snapshot.ready.items() if ready.channel.probe is not None}
        now = self._clock.monotonic()
        # Spread, so that a start of many routers is no wave of probes.
        self._due = {
            name: self._due.get(name, now + self._source.random() * self._interval(name)) for name in self._ready
        }

    def _interval(self, name: str) -> float:
        declared = self._ready[name].channel.probe
        assert declared is not None
        return declared.interval_seconds

    def next_due(self) -> float | None:
        """Returns when the next probe is due, in seconds of the clock; None when no channel declares one."""
        return min(self._due.values(), default=None)

    async def round(self) -> None:
        """Sends every probe that is due, and judges the answers."""
        now = self._clock.monotonic()
        due = [name for name, at in self._due.items() if at <= now and name not in self._under_way]
        probes: list[Probe] = []
        for name in due:
            self._due[name] = now + self._interval(name)
            self._turns[name] = turn = self._turns.get(name, -1) + 1
            probes += probes_of(self._ready[name], turn)
        self._under_way.update(due)
        try:
            await asyncio.gather(*(self._probe(probe) for probe in probes))
        finally:
            self._under_way.difference_update(due)

    async def _probe(self, probe: Probe) -> None:
        async with self._places:
            problem = await self._port.ask(probe.target, probe.request)
        self.sent += 1
        self.failed += problem is not None
        judge(probe, problem, self._clock.monotonic())

    async def run(self, stopping: asyncio.Event) -> None:
        """Sends probes when they are due, until `stopping`."""
        rounds: set[asyncio.Task[None]] = set()
        stop = asyncio.ensure_future(stopping.wait())
        try:
            while not stopping.is_set():
                due, now = self.next_due(), self._clock.monotonic()
                if due is not None and due <= now:
                    task = asyncio.create_task(self.round())
                    rounds.add(task)
                    task.add_done_callback(rounds.discard)
                    # Lets the round take what is due.
                    await asyncio.sleep(0)
                    continue
                wait = _LONGEST_SLEEP_SECONDS if due is None else min(_LONGEST_SLEEP_SECONDS, due - now)
                await asyncio.wait({stop}, timeout=wait)
        finally:
            stop.cancel()
            for task in tuple(rounds):
                task.cancel()
