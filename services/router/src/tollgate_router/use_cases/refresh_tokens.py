"""Asks for access tokens ahead of their end, one request at a time for each account, and benches who gets none."""

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from tollgate_kit.clock import Clock
from tollgate_router.domain.channels import Key, Ready
from tollgate_router.domain.tokens import Token, Tokens, TokenSource
from tollgate_router.domain.upstream_errors import Bench
from tollgate_router.ports import TokenPort

if TYPE_CHECKING:
    from tollgate_router.domain.snapshot import Snapshot

log = logging.getLogger(__name__)

_LONGEST_SLEEP_SECONDS: Final = 1.0


class RefreshTokens:
    """`follow` takes the configuration in force; `run` asks for what is due until told to stop."""

    def __init__(self, port: TokenPort, tokens: Tokens, clock: Clock) -> None:
        self._port = port
        self._tokens = tokens
        self._clock = clock
        self._users: dict[TokenSource, list[tuple[Ready, Key]]] = {}
        # Also sources of an earlier configuration, whose last requests are under way.
        self._wanted: set[TokenSource] = set()
        self._woken = asyncio.Event()
        tokens.wake = self._wake
        self.asked = 0
        self.failed = 0

    def follow(self, snapshot: "Snapshot") -> None:
        """Renews the tokens of this configuration's channels from now on."""
        users: dict[TokenSource, list[tuple[Ready, Key]]] = defaultdict(list)
        for ready in snapshot.ready.values():
            for key in ready.keys:
                if isinstance(key.signer, TokenSource):
                    users[key.signer].append((ready, key))
        self._users = dict(users)
        self._tokens.retain(self._users.keys())
        self._woken.set()

    def _wake(self, source: TokenSource) -> None:
        self._wanted.add(source)
        self._woken.set()

    def due(self) -> list[TokenSource]:
        """Returns whose token is to be asked for now, and marks them as being asked."""
        now_us = self._clock.now_us()
        asked = [*self._users, *(self._wanted - self._users.keys())]
        self._wanted.clear()
        found = [source for source in asked if not source.asking and source.due_us <= now_us]
        for source in found:
            source.asking = True
        return found

    async def refresh(self, source: TokenSource) -> None:
        """Asks for one token, and tells who uses it."""
        found: Token | str = "asking for a token failed"
        try:
            form = source.account.form(self._clock.now_us())
            found = await self._port.fetch(source.target, form, source.account.hidden)
        finally:
            self.asked += 1
            now_us = self._clock.now_us()
            if not isinstance(found, Token):
                self.failed += 1
                self._without(source, found, now_us)
            else:
                self._with(source)
            source.settle(found, now_us)

    def _without(self, source: TokenSource, problem: str, now_us: int) -> None:
        holds = source.holds(now_us)
        for ready, key in self._users.get(source, ()):
            fields = {"channel": ready.channel.name, "reason": problem, "token_holds": holds}
            log.warning("no access token", extra={"fields": fields})
            if not holds and ready.health.policy.bench_first > 0:
                ready.health.refuse_key(ready.health.key(key.identity), self._clock.monotonic(), Bench.NO_PROOF)

    def _with(self, source: TokenSource) -> None:
        for ready, key in self._users.get(source, ()):
            health = ready.health.key(key.identity)
            if health.bench is Bench.NO_PROOF:
                ready.health.restore_key(health)

    async def run(self, stopping: asyncio.Event) -> None:
        """Asks for tokens when they are due, until `stopping`."""
        under_way: set[asyncio.Task[None]] = set()
        stop = asyncio.ensure_future(stopping.wait())
        try:
            while not stopping.is_set():
                self._woken.clear()
                for source in self.due():
                    task = asyncio.create_task(self.refresh(source))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                woken = asyncio.ensure_future(self._woken.wait())
                await asyncio.wait({stop, woken}, timeout=_LONGEST_SLEEP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
        finally:
            stop.cancel()
            for task in tuple(under_way):
                task.cancel()
