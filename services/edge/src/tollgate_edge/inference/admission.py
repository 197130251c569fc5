"""Holds and settles of many requests in one round trip: what gathers in a loop tick travels together.

A hold is repeated under its id when the connection broke, so a request that was asked for twice is held once. Settles
are a courtesy: what is lost stays held until billing books the event.

Requests with limits carry a ticket and travel behind those without, in the same call; a batch without any is said to
the script as if there were no limits at all.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tollgate_edge.inference.limits import Ticket
from tollgate_holds import HoldResult, Holds, LimitSet, RedisUnavailable

_SETTLE_PAUSE_SECONDS: Final = 0.02
# What a script replies, by its number: cheaper than asking the enumeration.
_RESULTS: Final = {int(result): result for result in HoldResult}
_MAX_WAITING: Final = 20_000


class Admitted(Protocol):
    """A request that waits for its hold."""

    request_id: str
    admission_deadline: float
    ticket: Ticket | None

    def admitted(self, result: HoldResult | None) -> None:
        """Called once: the result, or None when Redis could not be asked in time."""
        ...


@dataclass(slots=True)
class _Limited:
    """Operations within limits. `gates` has three numbers for each: index of its limits in `sets`, tokens, second."""

    sets: list[LimitSet] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    holds: list[bytes | str | int] = field(default_factory=list)
    hold_gates: list[int] = field(default_factory=list)
    waiting: list[Admitted] = field(default_factory=list)
    others: list[bytes | str | int] = field(default_factory=list)
    other_gates: list[int] = field(default_factory=list)

    def place(self, limits: LimitSet) -> int:
        """Returns the index of these limits, by identity: those of a key are made once and cached with it."""
        place = self.places.get(id(limits))
        if place is None:
            place = self.places[id(limits)] = len(self.sets)
            self.sets.append(limits)
        return place


@dataclass(slots=True)
class _Batch:
    """Operations of one organization that go out together; `waiting` are the holds, in the order of `operations`."""

    operations: list[bytes | str | int] = field(default_factory=list)
    waiting: list[Admitted] = field(default_factory=list)
    others: list[bytes | str | int] = field(default_factory=list)
    limited: _Limited | None = None


class Admission:
    """One per process. `on_no_wallet` is told which organization's wallet is missing."""

    def __init__(
        self,
        holds: Holds,
        *,
        hold_ttl_seconds: int,
        slot_ttl_seconds: int,
        pause_seconds: float,
        on_no_wallet: Callable[[str], None],
    ) -> None:
        self._holds = holds
        self._ttl = hold_ttl_seconds
        self._slot_ttl = slot_ttl_seconds
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

    def hold_limited(
        self, organization: str, request: Admitted, amount_pico: int, ticket: Ticket, *, prepaid: bool
    ) -> None:
        """Asks for a hold within the limits of `ticket`, which the request keeps; else as `hold`."""
        request.ticket = ticket
        if self.waiting >= _MAX_WAITING:
            self._loop.call_soon(request.admitted, None)
            return
        self.waiting += 1
        limited = self._limited(organization)
        limited.holds += (b"h" if prepaid else b"p", request.request_id, amount_pico)
        limited.hold_gates += (limited.place(ticket.limits), ticket.tokens, 0)
        limited.waiting.append(request)
        self._wake(self._last + self._pause)

    def settle(
        self, organization: str, request_id: str, cost_pico: int, ticket: Ticket | None = None, tokens: int = 0
    ) -> None:
        """Settles a hold with the request's cost; `tokens` is what it used, where its ticket counted others."""
        if ticket is None:
            self._other(organization, b"s", request_id, cost_pico)
        else:
            self._limited_other(organization, b"s", request_id, cost_pico, ticket, tokens - ticket.tokens)

    def forget(self, organization: str, request_id: str, ticket: Ticket | None = None) -> None:
        """Returns a hold whose request never reached a router."""
        if ticket is None:
            self._other(organization, b"f", request_id, 0)
        else:
            self._limited_other(organization, b"f", request_id, 0, ticket, -ticket.tokens)

    def renew(self, organization: str, request_id: str, ticket: Ticket | None = None) -> None:
        """Moves the expiry of a long request's hold."""
        if ticket is None:
            self._other(organization, b"r", request_id, 0)
        else:
            self._limited_other(organization, b"r", request_id, 0, ticket, 0)

    def end(self, organization: str, request_id: str, ticket: Ticket) -> None:
        """Gives back the slots of a request that ended without a cost; its hold is for billing to book."""
        self._limited_other(organization, b"e", request_id, 0, ticket, 0)

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
            batch.operations, batch.waiting, late, _ = _without_late(batch.operations, batch.waiting, [], now)
            limited = batch.limited
            if limited is not None:
                limited.holds, limited.waiting, more, limited.hold_gates = _without_late(
                    limited.holds, limited.waiting, limited.hold_gates, now
                )
                late += more
            self.waiting -= len(late)
            for request in late:
                self.forget(organization, request.request_id, request.ticket)
                request.admitted(None)

    def _other(self, organization: str, operation: bytes, request_id: str, amount: int) -> None:
        batch = self._batch(organization)
        if len(batch.others) < 3 * _MAX_WAITING:
            batch.others += (operation, request_id, amount)
        self._wake(self._loop.time() + _SETTLE_PAUSE_SECONDS)

    def _limited_other(
        self, organization: str, operation: bytes, request_id: str, amount: int, ticket: Ticket, tokens: int
    ) -> None:
        limited = self._limited(organization)
        if len(limited.others) < 3 * _MAX_WAITING:
            limited.others += (operation, request_id, amount)
            limited.other_gates += (limited.place(ticket.limits), tokens, ticket.second)
        self._wake(self._loop.time() + _SETTLE_PAUSE_SECONDS)

    def _batch(self, organization: str) -> _Batch:
        batch = self._batches.get(organization)
        if batch is None:
            batch = self._batches[organization] = _Batch()
        return batch

    def _limited(self, organization: str) -> _Limited:
        batch = self._batch(organization)
        if batch.limited is None:
            batch.limited = _Limited()
        return batch.limited

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
            packed = self._pack(organization, batch)
            self.round_trips += 1

            def done(reply: object, organization: str = organization, batch: _Batch = batch) -> None:
                self._done(organization, batch, reply)

            if not self._holds.pipe.submit(packed, done):
                self._again(organization, batch)

    def _pack(self, organization: str, batch: _Batch) -> bytes:
        operations, limited = batch.operations + batch.others, batch.limited
        if limited is None:
            return self._holds.pack(organization, self._ttl, operations)
        # Slots that are given back make room for the holds behind them.
        return self._holds.pack_limited(
            organization,
            self._ttl,
            self._slot_ttl,
            operations,
            limited.others + limited.holds,
            limited.sets,
            limited.other_gates + limited.hold_gates,
        )

    def _done(self, organization: str, batch: _Batch, reply: object) -> None:
        if not isinstance(reply, list):
            self._again(organization, batch)
            if not isinstance(reply, RedisUnavailable):
                # The server forgot the scripts (SCRIPT FLUSH, a failover): load them, then send again.
                self._reload = self._loop.create_task(self._load_scripts())
            return
        self.waiting -= len(batch.waiting)
        for request, code in zip(batch.waiting, reply, strict=False):
            result = _RESULTS[code]
            if result is HoldResult.NO_WALLET:
                self._on_no_wallet(organization)
            if result is not HoldResult.DONE:
                self.refused += 1
            request.admitted(result)
        if batch.limited is not None:
            self._limited_done(organization, batch, batch.limited, reply)
        elif batch.others:
            self.settle_mismatches += reply[len(batch.waiting) :].count(int(HoldResult.DIFFERS))

    def _limited_done(self, organization: str, batch: _Batch, limited: _Limited, reply: list[Any]) -> None:
        """Answers those who wait within limits: theirs are the last replies, a list each."""
        first = len(reply) - len(limited.waiting)
        self.settle_mismatches += reply[len(batch.waiting) : first].count(int(HoldResult.DIFFERS))
        self.waiting -= len(limited.waiting)
        for request, verdict in zip(limited.waiting, reply[first:], strict=True):
            assert request.ticket is not None
            request.ticket.verdict = verdict
            result = _RESULTS[verdict[0]]
            if result is HoldResult.NO_WALLET:
                self._on_no_wallet(organization)
            if result is not HoldResult.DONE:
                self.refused += 1
            request.admitted(result)

    def _again(self, organization: str, batch: _Batch) -> None:
        newer = self._batch(organization)
        newer.operations[:0] = batch.operations
        newer.waiting[:0] = batch.waiting
        newer.others[:0] = batch.others[: 3 * _MAX_WAITING]
        if batch.limited is not None:
            self._limited_again(self._limited(organization), batch.limited)

    @staticmethod
    def _limited_again(newer: _Limited, older: _Limited) -> None:
        places = [newer.place(limits) for limits in older.sets]
        newer.holds[:0] = older.holds
        newer.waiting[:0] = older.waiting
        newer.others[:0] = older.others[: 3 * _MAX_WAITING]
        holds, others = older.hold_gates, older.other_gates[: 3 * _MAX_WAITING]
        for at in range(0, len(holds), 3):
            holds[at] = places[holds[at]]
        for at in range(0, len(others), 3):
            others[at] = places[others[at]]
            # What was corrected already, if it was, must not be corrected again.
            others[at + 2] = -abs(others[at + 2])
        newer.hold_gates[:0] = holds
        newer.other_gates[:0] = others

    async def _load_scripts(self) -> None:
        await self._holds.reload()
        self._flush()


def _without_late(
    operations: list[bytes | str | int], waiting: list[Admitted], gates: list[int], now: float
) -> tuple[list[bytes | str | int], list[Admitted], list[Admitted], list[int]]:
    """Returns operations, requests, the late ones among them, and gates; all but the late ones without those."""
    late = [request for request in waiting if request.admission_deadline < now]
    if not late:
        return operations, waiting, late, gates
    kept = [i for i, request in enumerate(waiting) if request.admission_deadline >= now]
    return (
        [part for i in kept for part in operations[i * 3 : i * 3 + 3]],
        [waiting[i] for i in kept],
        late,
        [part for i in kept for part in gates[i * 3 : i * 3 + 3]],
    )
