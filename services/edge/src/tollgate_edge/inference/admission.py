"""Holds and settles of many requests in one round trip: what gathers in a loop tick travels together.

A hold is repeated under its id when the connection broke, so a request that was asked for twice is held once. Settles
are a courtesy: what is lost stays held until billing books the event.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from tollgate_holds import HoldResult, Holds, RedisError, RedisUnavailable, results_of

log = logging.getLogger(__name__)

_SETTLE_PAUSE_SECONDS: Final = 0.02
# After an error that trying at once would only repeat: a read-only replica, a full memory.
_ERROR_PAUSE_SECONDS: Final = 0.05
_MAX_WAITING: Final = 20_000


class Admitted(Protocol):
    """A request that waits for its hold."""

    request_id: str
    admission_deadline: float

    def admitted(self, result: HoldResult | None) -> None:
        """Called once: the result, or None when Redis could not be asked in time."""
        ...


@dataclass(slots=True)
class _Batch:
    """Operations of one organization that go out together; `waiting` are the holds, in the order of `operations`."""

    operations: list[bytes | str | int] = field(default_factory=list)
    waiting: list[Admitted] = field(default_factory=list)
    others: list[bytes | str | int] = field(default_factory=list)


class Admission:
    """One per process. `on_no_wallet` is told which organization's wallet is missing."""

    def __init__(
        self, holds: Holds, *, hold_ttl_seconds: int, pause_seconds: float, on_no_wallet: Callable[[str], None]
    ) -> None:
        self._holds = holds
        self._ttl = hold_ttl_seconds
        self._pause = pause_seconds
        self._on_no_wallet = on_no_wallet
        self._batches: dict[str, _Batch] = {}
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._due = float("inf")
        self._last = 0.0
        self._loop = asyncio.get_running_loop()
        self.waiting = 0
        self.round_trips = 0
        self.refused = 0
        self.settle_mismatches = 0
        holds.pipe.on_ready = self._flush

    def hold(self, organization: str, request: Admitted, amount_pico: int) -> None:
        """Asks for a hold; `request.admitted` is called later, never from within this call."""
        if self.waiting >= _MAX_WAITING:
            self._loop.call_soon(request.admitted, None)
            return
        self.waiting += 1
        batch = self._batch(organization)
        batch.operations += (b"h", request.request_id, amount_pico)
        batch.waiting.append(request)
        self._wake(self._last + self._pause)

    def settle(self, organization: str, request_id: str, cost_pico: int) -> None:
        """Settles a hold with the request's cost."""
        self._other(organization, b"s", request_id, cost_pico)

    def forget(self, organization: str, request_id: str) -> None:
        """Returns a hold whose request never reached a router."""
        self._other(organization, b"f", request_id, 0)

    def renew(self, organization: str, request_id: str) -> None:
        """Moves the expiry of a long request's hold."""
        self._other(organization, b"r", request_id, 0)

    async def drain(self) -> None:
        """Sends what waits, for a process that stops."""
        self._flush()
        if self._holds.ready:
            await self._holds.pipe.call("PING")

    def expire(self, now: float) -> None:
        """Gives up on holds that waited too long for a connection; called once a second.

        One whose reply was lost may have been placed, so it is given back when there is a connection again.
        """
        for organization, batch in tuple(self._batches.items()):
            late = [request for request in batch.waiting if request.admission_deadline < now]
            if late:
                kept = [
                    (request, batch.operations[i * 3 : i * 3 + 3])
                    for i, request in enumerate(batch.waiting)
                    if request.admission_deadline >= now
                ]
                batch.waiting = [request for request, _ in kept]
                batch.operations = [part for _, parts in kept for part in parts]
                self.waiting -= len(late)
                for request in late:
                    self.forget(organization, request.request_id)
                    request.admitted(None)

    def _other(self, organization: str, operation: bytes, request_id: str, amount: int) -> None:
        batch = self._batch(organization)
        if len(batch.others) < 3 * _MAX_WAITING:
            batch.others += (operation, request_id, amount)
        self._wake(self._loop.time() + _SETTLE_PAUSE_SECONDS)

    def _batch(self, organization: str) -> _Batch:
        batch = self._batches.get(organization)
        if batch is None:
            batch = self._batches[organization] = _Batch()
        return batch

    def _wake(self, when: float) -> None:
        if when >= self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = when
        now = self._loop.time()
        self._timer = (
            self._loop.call_soon(self._flush) if when <= now else self._loop.call_later(when - now, self._flush)
        )

    def _flush(self) -> None:
        self._timer, self._due = None, float("inf")
        if not self._holds.ready or not self._batches:
            return
        self._last = self._loop.time()
        batches, self._batches = self._batches, {}
        for organization, batch in batches.items():
            packed = self._holds.pack(organization, self._ttl, batch.operations + batch.others)
            self.round_trips += 1

            def done(reply: object, organization: str = organization, batch: _Batch = batch) -> None:
                self._done(organization, batch, reply)

            if not self._holds.pipe.submit(packed, done):
                self._again(organization, batch)

    def _done(self, organization: str, batch: _Batch, reply: object) -> None:
        results = results_of(reply, len(batch.waiting) + len(batch.others) // 3)
        if results is None:
            self._failed(organization, batch, reply)
            return
        self.waiting -= len(batch.waiting)
        for request, result in zip(batch.waiting, results, strict=False):
            if result is HoldResult.NO_WALLET:
                self._on_no_wallet(organization)
            if result is not HoldResult.DONE:
                self.refused += 1
            request.admitted(result)
        if batch.others:
            self.settle_mismatches += results[len(batch.waiting) :].count(HoldResult.DIFFERS)

    def _failed(self, organization: str, batch: _Batch, reply: object) -> None:
        """Sends a batch again: at once when the server forgot the scripts (SCRIPT FLUSH, a failover), later otherwise.

        Without a connection nothing is to be done: `on_ready` comes when there is one.
        """
        self._again(organization, batch)
        if isinstance(reply, RedisUnavailable):
            return
        if str(reply).startswith("NOSCRIPT"):
            self._reload = self._loop.create_task(self._load_scripts())
            return
        log.warning("Redis refuses to hold money, trying again", extra={"fields": {"reply": f"{reply!r:.200}"}})
        self._wake(self._loop.time() + _ERROR_PAUSE_SECONDS)

    def _again(self, organization: str, batch: _Batch) -> None:
        newer = self._batch(organization)
        newer.operations[:0] = batch.operations
        newer.waiting[:0] = batch.waiting
        newer.others[:0] = batch.others[: 3 * _MAX_WAITING]

    async def _load_scripts(self) -> None:
        try:
            await self._holds.reload()
        except RedisUnavailable:
            return
        except RedisError as error:
            log.warning("Redis does not take the scripts, trying again", extra={"fields": {"error": str(error)}})
            self._wake(self._loop.time() + _ERROR_PAUSE_SECONDS)
            return
        self._flush()
