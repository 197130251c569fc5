"""Holds and settles of many requests in one round trip: what gathers in a loop tick travels together.

Valkey takes 36 µs of a request that comes alone, and 12 of each of eight (docs/reference/benchmarks.md).

A hold is repeated under its id when the connection broke, so a request that was asked for twice is held once. Settles
are a courtesy: what is lost stays held until billing books the event.

A request is answered within its time, whether its hold waits here or Redis was asked and says nothing. Who was answered
without Redis holds nothing there: what it places later is given back.

Requests with limits carry a ticket and travel behind those without, in the same call; a batch without any is said to
the script as if there were no limits at all.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

from tollgate_edge.errors import PublicError
from tollgate_edge.inference.alone import Alone
from tollgate_edge.inference.batches import Admitted, Batch, Limited, one_by_one
from tollgate_edge.inference.guarding import guarded
from tollgate_edge.inference.limits import Ticket
from tollgate_holds import HoldResult, LimitSet, request_of
from tollgate_holds.holds import Holds, results_of, verdicts_of
from tollgate_holds.pipe import RedisError, RedisUnavailable

log = logging.getLogger(__name__)

# So long a settle waits for a hold to travel with: alone it would be a round trip of its own.
_SETTLE_PAUSE_SECONDS: Final = 0.02
# After an error that trying at once would only repeat: a read-only replica, a full memory.
_ERROR_PAUSE_SECONDS: Final = 0.05
# A process that stops waits no longer for Redis to have taken what was sent.
_DRAIN_SECONDS: Final = 2.0
_MAX_WAITING: Final = 20_000
# No time of the loop's clock is before it.
_ANSWERED: Final = -1.0


def _ignore(_limits: LimitSet, _place: int, _started_us: int) -> None:
    """Without anybody to ask, a budget begins whole."""


class Unanswered:
    """Stands in a batch for a request that was answered before Redis did, and gives back what is placed for it."""

    admission_deadline = _ANSWERED

    def __init__(self, request: Admitted, give_back: Callable[["Unanswered", HoldResult | None], None]) -> None:
        self.hold_id, self.tries = request.hold_id, request.tries
        self.started_us = request.started_us
        # Not the request's own, which may have been admitted without Redis.
        self.ticket = None if request.ticket is None else Ticket(request.ticket.limits, request.ticket.tokens)
        self._give_back = give_back

    def admitted(self, result: HoldResult | None) -> None:
        """Called with what became of the hold; None when that is not known."""
        self._give_back(self, result)

    def broke(self) -> None:
        """Nobody waits for it."""


class Sent:
    """A call to Redis that carries one batch. An error in what is done with its reply ends no connection."""

    __slots__ = ("_admission", "_batch", "_organization")

    def __init__(self, admission: "Admission", organization: str, batch: Batch) -> None:
        self._admission, self._organization, self._batch = admission, organization, batch

    def done(self, reply: object) -> None:
        """Takes the reply, or the error in its place."""
        guarded(self, self._admission.done, self._organization, self._batch, reply)

    def broke(self) -> None:
        """Who waits for it is answered as where Redis says nothing."""
        self._admission.broke(self._organization, self._batch)


class Admission:
    """One per process. `on_no_wallet` is told which organization's wallet is missing.

    `on_new_budget` is told when Redis begins to count a budget: limits, place of its scope, and when the first request
    started, in microseconds. `alone` admits those who pay later while Redis is away; without it they wait for Redis as
    everybody does.
    """

    def __init__(
        self,
        holds: Holds,
        *,
        hold_ttl_seconds: int,
        slot_ttl_seconds: int = 60,
        pause_seconds: float,
        on_no_wallet: Callable[[str], None],
        alone: Alone | None = None,
        on_new_budget: Callable[[LimitSet, int, int], None] = _ignore,
    ) -> None:
        self._holds = holds
        self._ttl = hold_ttl_seconds
        self._slot_ttl = slot_ttl_seconds
        self._pause = pause_seconds
        self._on_no_wallet = on_no_wallet
        self._alone = alone
        self._on_new_budget = on_new_budget
        self._batches: dict[str, Batch] = {}
        # Those that Redis was sent and has not answered, and whose they are.
        self._sent: dict[Batch, str] = {}
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._due = float("inf")
        self._last = 0.0
        self._loop = asyncio.get_running_loop()
        self.waiting = 0
        self.round_trips = 0
        self.refused = 0
        self.settle_mismatches = 0
        holds.pipe.on_ready = self._connected

    def hold(self, organization: str, request: Admitted, amount_pico: int) -> None:
        """Asks for a hold; `request.admitted` is called later, never from within this call."""
        if self.waiting >= _MAX_WAITING:
            self._loop.call_soon(guarded, request, request.admitted, None)
            return
        self.waiting += 1
        self._batch(organization).hold(request, amount_pico)
        if self._last + self._pause < self._due:
            self._wake(self._last + self._pause)

    def hold_limited(
        self, organization: str, request: Admitted, amount_pico: int, ticket: Ticket, *, prepaid: bool
    ) -> None:
        """Asks for a hold within the limits of `ticket`, which the request keeps; else as `hold`."""
        request.ticket = ticket
        if self.waiting >= _MAX_WAITING:
            self._end_first(organization, request)
            self._loop.call_soon(guarded, request, request.admitted, None)
            return
        self.waiting += 1
        self._limited(organization).hold(request, ticket, amount_pico, prepaid=prepaid)
        self._wake(self._last + self._pause)

    def settle(
        self, organization: str, hold_id: str, cost_pico: int, ticket: Ticket | None = None, tokens: int = 0
    ) -> None:
        """Settles a hold with the request's cost; `tokens` is what it used, where its ticket counted others."""
        if ticket is None:
            self._other(organization, b"s", hold_id, cost_pico)
        else:
            self._limited_other(organization, b"s", hold_id, cost_pico, ticket, tokens - ticket.tokens)

    def forget(self, organization: str, hold_id: str, ticket: Ticket | None = None) -> None:
        """Returns a hold whose request never reached a router."""
        if ticket is None:
            self._other(organization, b"f", hold_id, 0)
        else:
            self._limited_other(organization, b"f", hold_id, 0, ticket, -ticket.tokens)

    def renew(self, organization: str, hold_id: str, ticket: Ticket | None = None) -> None:
        """Moves the expiry of a long request's hold."""
        if ticket is None:
            self._other(organization, b"r", hold_id, 0)
        else:
            self._limited_other(organization, b"r", hold_id, 0, ticket, 0)

    def end(self, organization: str, hold_id: str, ticket: Ticket) -> None:
        """Gives back the slots of a request that ended without a cost; its hold is for billing to book."""
        self._limited_other(organization, b"e", hold_id, 0, ticket, 0)

    def use_budget(self, limits: LimitSet, place: int, window: str, amount_pico: int) -> None:
        """Tells what a budget took in this window before Redis began to count it."""
        self._limited(limits.organization).use_budget(limits, place, window, amount_pico)
        self._wake(self._loop.time() + _SETTLE_PAUSE_SECONDS)

    def _new_budgets(self, limits: LimitSet, which: int, started_us: int) -> None:
        for place in range(1, len(limits.scopes) + 1):
            if which & (1 << (place - 1)):
                self._on_new_budget(limits, place, started_us)

    def placed_elsewhere(
        self, limits: LimitSet, verdict: Sequence[int], tokens: int, started_us: int
    ) -> tuple[dict[str, str], PublicError | None]:
        """Takes in what Redis said to a hold that another service placed for a request within these limits.

        Returns the headers of its answer, and the error of a refusal.
        """
        ticket = Ticket(limits, tokens)
        ticket.verdict = list(verdict)
        if verdict[8]:
            self._new_budgets(limits, verdict[8], started_us)
        result = HoldResult(verdict[0])
        if result is HoldResult.NO_WALLET:
            self._on_no_wallet(limits.organization)
        refused = result is not HoldResult.DONE
        return ticket.headers(), ticket.refusal(started_us) if refused else None

    async def left(self, organization: str) -> int | None:
        """Returns what a wallet has left; None where that cannot be known."""
        try:
            return await self._holds.left(organization)
        except (RedisUnavailable, RedisError):
            return None

    async def drain(self) -> None:
        """Sends what waits, for a process that stops; what Redis does not take in time stays held until it expires."""
        self._flush()
        if self._holds.ready:
            with contextlib.suppress(RedisUnavailable, RedisError, TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self._holds.pipe.call("PING")

    def expire(self, now: float) -> None:
        """Gives up on holds that waited too long for a connection or a reply; called once a second.

        One whose reply was lost may have been placed, so it is given back when there is a connection again.
        """
        for organization, batch in tuple(self._batches.items()):
            late = batch.take_late(now)
            self.waiting -= len(late)
            for request in late:
                self._forget_unanswered(organization, request)
                guarded(request, request.admitted, None)
        for batch, organization in tuple(self._sent.items()):
            self._go_on_without(batch, organization, now)

    def _go_on_without(self, batch: Batch, organization: str, now: float) -> None:
        """Answers those of a batch that Redis let wait too long."""

        def give_back(one: Unanswered, result: HoldResult | None) -> None:
            if result is None:
                self._forget_unanswered(organization, one)
            elif result is HoldResult.DONE:
                self.forget(organization, one.hold_id, one.ticket)
            if result is not None and self._alone is not None:
                # Redis is back, over the same connection.
                self._alone.clear()

        bound, later = batch.replace_late(now, lambda request: Unanswered(request, give_back))
        for request in bound:
            guarded(request, request.admitted, None)
        for request, amount in later:
            if self._alone is None:
                guarded(request, request.admitted, None)
            else:
                self._admit_alone(self._alone, request, amount)

    def _forget_unanswered(self, organization: str, request: Admitted) -> None:
        """Gives back a hold that Redis may have placed or never heard of."""
        self.forget(organization, request.hold_id, request.ticket)
        self._end_first(organization, request)

    def _end_first(self, organization: str, request: Admitted) -> None:
        """Frees the first try's slots, unless a second took them over; the witness's event frees its money."""
        if request.tries and request.ticket is not None:
            self.end(organization, request_of(request.hold_id), request.ticket)

    def _other(self, organization: str, operation: bytes, hold_id: str, amount: int) -> None:
        batch = self._batch(organization)
        if len(batch.others) < 3 * _MAX_WAITING:
            batch.others += (operation, hold_id, amount)
        if self._timer is None:
            self._wake(self._loop.time() + _SETTLE_PAUSE_SECONDS)

    def _limited_other(
        self, organization: str, operation: bytes, hold_id: str, amount: int, ticket: Ticket, tokens: int
    ) -> None:
        if ticket.era:
            if self._alone is not None and operation != b"r":
                requests = -1 if operation == b"f" else 0
                self._alone.finish(hold_id, ticket, amount, tokens=tokens, requests=requests)
            return
        limited = self._limited(organization)
        if len(limited.others) < 3 * _MAX_WAITING:
            limited.other(operation, hold_id, amount, ticket, tokens)
        self._wake(self._loop.time() + _SETTLE_PAUSE_SECONDS)

    def _batch(self, organization: str) -> Batch:
        batch = self._batches.get(organization)
        if batch is None:
            batch = self._batches[organization] = Batch()
        return batch

    def _limited(self, organization: str) -> Limited:
        batch = self._batch(organization)
        if batch.limited is None:
            batch.limited = Limited()
        return batch.limited

    def _connected(self) -> None:
        if self._alone is not None:
            self._alone.clear()
        self._flush()

    def _go_on_alone(self, alone: Alone) -> None:
        """Admits those who pay later without Redis; what Redis may have placed for them is booked or expires there."""
        for batch in tuple(self._batches.values()):
            for request, amount in batch.take_postpaid():
                self.waiting -= 1
                self._admit_alone(alone, request, amount)

    def _admit_alone(self, alone: Alone, request: Admitted, amount: int) -> None:
        assert request.ticket is not None
        result = alone.hold(request.hold_id, amount, request.ticket)
        if result is not HoldResult.DONE:
            self.refused += 1
        guarded(request, request.admitted, result)

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
        if not self._holds.ready:
            if self._alone is not None:
                self._go_on_alone(self._alone)
            return
        if not self._batches:
            return
        self._last = self._loop.time()
        batches, self._batches = self._batches, {}
        for organization, batch in batches.items():
            packed = self._pack(organization, batch)
            self.round_trips += 1
            if self._holds.pipe.submit(packed, Sent(self, organization, batch).done):
                self._sent[batch] = organization
            else:
                self._again(organization, batch)

    def _pack(self, organization: str, batch: Batch) -> bytes:
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

    def done(self, organization: str, batch: Batch, reply: object) -> None:
        """Answers those who wait in a batch with what Redis said to it."""
        del self._sent[batch]
        if batch.limited is not None:
            self._limited_done(organization, batch, batch.limited, reply)
            return
        results = results_of(reply, len(batch.waiting) + len(batch.others) // 3)
        if results is None:
            self._failed(organization, batch, reply)
            return
        if batch.others:
            self.settle_mismatches += results[len(batch.waiting) :].count(HoldResult.DIFFERS)
        for request, result in zip(one_by_one(batch.waiting), results, strict=False):
            self._answer(organization, request, result)

    def broke(self, organization: str, batch: Batch) -> None:
        """An error kept a reply from being taken: Redis may have placed what those who still wait asked for."""
        self._sent.pop(batch, None)
        left = batch.take_all()
        self.waiting -= len(left)
        for request in left:
            if not isinstance(request, Unanswered):
                self._forget_unanswered(organization, request)
            guarded(request, request.admitted, None)

    def _limited_done(self, organization: str, batch: Batch, limited: Limited, reply: object) -> None:
        """Answers as `done` does, and those who wait within limits: theirs are the last replies, a list each."""
        first = (len(batch.operations) + len(batch.others) + len(limited.others)) // 3
        results = results_of(reply[:first], first) if isinstance(reply, list) else None
        verdicts = verdicts_of(reply, first, [len(one.ticket.limits.scopes) for one in limited.waiting if one.ticket])
        if results is None or verdicts is None:
            self._failed(organization, batch, reply)
            return
        self.settle_mismatches += results[len(batch.waiting) :].count(HoldResult.DIFFERS)
        for request, result in zip(one_by_one(batch.waiting), results, strict=False):
            self._answer(organization, request, result)
        for request, verdict in zip(one_by_one(limited.waiting), verdicts, strict=True):
            assert request.ticket is not None
            request.ticket.verdict = verdict
            if verdict[8]:
                guarded(request, self._new_budgets, request.ticket.limits, verdict[8], request.started_us)
            self._answer(organization, request, HoldResult(verdict[0]))

    def _answer(self, organization: str, request: Admitted, result: HoldResult) -> None:
        if result is HoldResult.NO_WALLET:
            guarded(request, self._on_no_wallet, organization)
        if result is not HoldResult.DONE:
            self.refused += 1
        guarded(request, request.admitted, result)
        self.waiting -= 1

    def _failed(self, organization: str, batch: Batch, reply: object) -> None:
        """Sends a batch again: at once when the server forgot the scripts (SCRIPT FLUSH, a failover), later otherwise.

        Without a connection nothing is sent, but who may go on without it does; `on_ready` comes when there is one.
        """
        self._again(organization, batch)
        if isinstance(reply, RedisUnavailable) or self._holds.pipe.gives_up(reply):
            # By the next turn of the loop the connection counts as lost.
            self._wake(self._loop.time())
        elif str(reply).startswith("NOSCRIPT"):
            self._reload = self._loop.create_task(self._load_scripts())
        else:
            log.warning("Redis refuses to hold money, trying again", extra={"fields": {"reply": f"{reply!r:.200}"}})
            if self._alone is not None:
                self._go_on_alone(self._alone)
            self._wake(self._loop.time() + _ERROR_PAUSE_SECONDS)

    def _again(self, organization: str, batch: Batch) -> None:
        # Nobody waits for these any more.
        for one in batch.take_late(0.0):
            self.waiting -= 1
            guarded(one, one.admitted, None)
        self._batch(organization).put_before(batch, 3 * _MAX_WAITING)
        batch.take_all()

    async def _load_scripts(self) -> None:
        try:
            await self._holds.reload()
        except RedisUnavailable:
            self._wake(self._loop.time())
            return
        except RedisError as error:
            log.warning("Redis does not take the scripts, trying again", extra={"fields": {"error": str(error)}})
            self._wake(self._loop.time() + _ERROR_PAUSE_SECONDS)
            return
        self._flush()
