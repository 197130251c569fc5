"""Looks once a minute at what operators have to know of the books, and tells them.

What rows say is asked of the usage store, so that a process that starts again finds it; what the sweep of holds, the
comparison of the books and the spools of other processes say is kept here as it comes. Each source is looked at by
itself: while one is away, the others are told of.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tollgate_billing.control_ports import Alerts, Fact, SpoolState, Troubled, Troubles
from tollgate_billing.domain.alerts import (
    DEAD_LETTERS,
    DIFFERENCES,
    FORGOTTEN,
    FULL_PERCENT,
    HOLDS,
    LAG,
    MISMATCHES,
    SPOOL,
    UNPRICED,
    Alert,
    runbook,
)
from tollgate_billing.domain.books import Report
from tollgate_billing.domain.budgets import DAY_US
from tollgate_billing.domain.delivery import BOOKS
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.errors import Unavailable
from tollgate_billing.ports import SweepResult
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.replay_letters import Inspected, ReplayLetters
from tollgate_holds import request_of
from tollgate_kit.clock import Clock

log = logging.getLogger(__name__)

# A letter that nobody can book stays for good; people are reminded of it for a week.
_LETTERS_US: Final = 7 * DAY_US
_MOST_LETTERS: Final = 100
_NAMED: Final = 5
# Each partition loses its own.
_MOST_PLACES: Final = 12
# A process that has not reported for so long is gone, or reports to another billing.
_SPOOL_US: Final = 300 * 1_000_000
# An event log that is being restarted is away for less.
_STUCK_US: Final = 120 * 1_000_000
_MOST_PROCESSES: Final = 1_000
# Far more than a batch takes.
_BEHIND_MS: Final = 60_000
# Holds that the comparison finds still there.
_STAYING: Final = frozenset({"expired_hold", "leaked_hold"})
# What it finds and is told under a kind of its own.
_TOLD_APART: Final = _STAYING | {"unbooked_hold", "mismatch", "poison"}


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is not booked: records, the age of the oldest that was read, and why nothing is read; empty for nothing.

    `stopped` are the partitions that are stopped, ascending.
    """

    records: int
    age_ms: int
    problem: str
    stopped: tuple[int, ...] = ()

    @property
    def behind(self) -> bool:
        """Something is to be booked that may be of any request: nothing is estimated meanwhile."""
        return bool(self.problem) or self.age_ms > _BEHIND_MS


@dataclass(slots=True)
class _Spool:
    state: SpoolState
    seen_us: int
    stuck_since_us: int


class WatchAlerts:
    """`runbooks` is where the runbooks are published; `late_seconds` is the age from which on a backlog is told.

    `slot` is the number of this process among those of billing, each of which tells of its own backlog.
    """

    def __init__(
        self,
        alerts: Alerts,
        troubles: Troubles,
        letters: ReplayLetters,
        backlog: Callable[[], Backlog],
        clock: Clock,
        counters: BillingCounters,
        *,
        slot: int,
        late_seconds: float,
        runbooks: str,
    ) -> None:
        self._alerts = alerts
        self._troubles = troubles
        self._letters = letters
        self._backlog = backlog
        self._clock = clock
        self._counters = counters
        self._late_us = int(late_seconds * 1_000_000)
        self._runbooks = runbooks
        self._slot = f"billing {slot}"
        self._report: Report | None = None
        self._released = self._estimated = 0
        self._overdue: dict[str, Sequence[str]] = {}
        self._spools: dict[str, _Spool] = {}
        # Spools that are heard of no more, until what was told of them is over.
        self._gone: set[str] = set()
        self._unread_since_us = 0
        # Up to where each partition is known to have lost records, and what nobody was told of yet.
        self._forgotten_to: dict[str, int] = {}
        self._forgotten: list[Bounds] = []
        # The newest letter when all were booked: with none after it there is nothing to look at.
        self._settled_us = -1
        # How many of the last seven days are not booked, up to a hundred.
        self.dead_letters = 0

    def compared(self, report: Report) -> None:
        """Takes what the last comparison of the books found."""
        self._report = report

    def swept(self, organization_id: str, swept: SweepResult) -> None:
        """Takes what a sweep of an organization's holds found."""
        self._released += swept.released
        self._estimated += swept.estimated
        self._overdue.pop(organization_id, None)
        if swept.overdue:
            self._overdue[organization_id] = swept.overdue

    def spools(self, states: Iterable[SpoolState]) -> None:
        """Takes what processes have on their disks."""
        now_us = self._clock.now_us()
        for state in states:
            before = self._spools.get(state.process)
            if before is None and len(self._spools) >= _MOST_PROCESSES:
                continue
            since_us = before.stuck_since_us if before is not None and before.state.problem else now_us
            self._spools[state.process] = _Spool(state, now_us, since_us)

    def forgotten(self, bounds: Bounds) -> None:
        """Takes which records the event log had no longer when they were to be booked; the same ones count once."""
        low = max(bounds.low, self._forgotten_to.get(bounds.source, 0))
        if low >= bounds.high:
            return
        self._forgotten_to[bounds.source] = bounds.high
        self._forgotten.append(replace(bounds, low=low))
        self._counters.add("forgotten_events", bounds.high - low)
        page = runbook(FORGOTTEN, self._runbooks)
        fields = {"events": bounds.high - low, "of": bounds.source, "low": low, "high": bounds.high, "runbook": page}
        log.critical("the event log has forgotten events that are not booked", extra={"fields": fields})

    async def step(self) -> int:
        """Looks once; returns how many alerts are news. Raises Unavailable where they cannot be kept."""
        now_us = self._clock.now_us()
        found: list[Alert] = []
        looked: dict[str, Collection[str] | None] = {HOLDS: None}
        sources: dict[str, Callable[[int], Awaitable[list[Alert]]]] = {
            MISMATCHES: self._mismatches,
            UNPRICED: self._unpriced,
            DEAD_LETTERS: self._dead_letters,
        }
        for kind, source in sources.items():
            try:
                found += await source(now_us)
            except Unavailable as error:
                log.warning("an alert cannot be looked for", extra={"fields": {"kind": kind, "reason": str(error)}})
            else:
                looked[kind] = None
        found += [*self._lag(now_us), *self._full(now_us), *self._holds(), *self._lost_records()]
        # Of these, other processes know others.
        looked[LAG], looked[SPOOL], looked[FORGOTTEN] = {self._slot}, {*self._spools, *self._gone}, {self._slot}
        if self._report is not None:
            found += _differences(self._report)
            looked[DIFFERENCES] = None
        released, estimated, forgotten = self._released, self._estimated, len(self._forgotten)
        news = await self._alerts.keep(found, looked, lambda alert: self._fact(alert, now_us), now_us)
        self._gone.clear()
        for alert in news:
            fields = {"kind": alert.kind, "runbook": runbook(alert.kind, self._runbooks), **alert.numbers}
            log.error("operators are told that something is wrong", extra={"fields": fields})
            if alert.kind == HOLDS:
                # Counted until it is told: nothing else remembers them.
                self._released -= released
                self._estimated -= estimated
            elif alert.kind == FORGOTTEN:
                del self._forgotten[:forgotten]
        self._counters.add("alerts", len(news))
        return len(news)

    async def _mismatches(self, now_us: int) -> list[Alert]:
        return _troubled(MISMATCHES, await self._troubles.mismatches(now_us - DAY_US))

    async def _unpriced(self, now_us: int) -> list[Alert]:
        return _troubled(UNPRICED, await self._troubles.unpriced(now_us - DAY_US))

    async def _dead_letters(self, now_us: int) -> list[Alert]:
        newest_us = await self._troubles.last_letter_us()
        waiting: list[Inspected] = []
        more = False
        if newest_us not in {0, self._settled_us} and newest_us >= now_us - _LETTERS_US:
            waiting, more = await self._letters.waiting(now_us - _LETTERS_US, _MOST_LETTERS)
        self.dead_letters = len(waiting)
        if not waiting:
            self._settled_us = newest_us
            return []
        numbers = {
            "count": len(waiting),
            "more": more,
            "ids": [one.id for one in waiting[:_NAMED]],
            "reasons": sorted({one.letter.reason[:200] for one in waiting[:_NAMED]}),
        }
        return [Alert(DEAD_LETTERS, numbers, mark=str(newest_us))]

    def _lag(self, now_us: int) -> list[Alert]:
        backlog = self._backlog()
        if not backlog.problem:
            self._unread_since_us = 0
        elif not self._unread_since_us:
            self._unread_since_us = now_us
        unread_us = now_us - self._unread_since_us if self._unread_since_us else 0
        late_us = max(backlog.age_ms * 1_000, unread_us)
        if late_us < self._late_us:
            return []
        numbers = {"seconds": late_us // 1_000_000, "records": backlog.records, "problem": backlog.problem}
        # A partition more that is stopped is news, however long the others are told of.
        mark = f"{len(backlog.stopped)}/{','.join(map(str, backlog.stopped))}" if backlog.stopped else ""
        return [Alert(LAG, numbers, self._slot, mark[:64])]

    def _full(self, now_us: int) -> list[Alert]:
        heard = {name: one for name, one in self._spools.items() if one.seen_us > now_us - _SPOOL_US}
        self._gone.update(self._spools.keys() - heard.keys())
        self._spools = heard
        found = []
        for name, one in sorted(self._spools.items()):
            state = one.state
            percent = state.size_bytes * 100 // max(1, state.limit_bytes)
            stuck = state.problem and now_us - one.stuck_since_us >= _STUCK_US
            if percent >= FULL_PERCENT or stuck:
                numbers = {"process": name, "percent": percent, "records": state.records, "problem": state.problem}
                # That it fills is news after it was told that its events wait.
                found.append(Alert(SPOOL, numbers, name, "full" if percent >= FULL_PERCENT else "stuck"))
        return found

    def _holds(self) -> list[Alert]:
        differences = self._report.differences if self._report is not None else []
        # Of what is settled and not booked, the sweep knows more than the comparison knew an hour ago.
        unbooked = {request_of(hold_id) for hold_ids in self._overdue.values() for hold_id in hold_ids}
        staying = {name for one in differences if one.kind in _STAYING for name in one.request_ids}
        names = sorted(unbooked | staying)
        if not names and not self._released and not self._estimated:
            return []
        numbers = {
            "released": self._released,
            "unbooked": len(unbooked),
            "estimated": self._estimated,
            "staying": len(staying),
            "request_ids": names[:_NAMED],
        }
        return [
            Alert(
                HOLDS,
                numbers,
                mark=f"{self._released}/{self._estimated}/{len(names)}/{names[-1] if names else ''}"[:64],
            )
        ]

    def _lost_records(self) -> list[Alert]:
        if not self._forgotten:
            return []
        places = [f"{one.topic}/{one.partition}: {one.low} to {one.high - 1}" for one in self._forgotten]
        count = sum(one.high - one.low for one in self._forgotten)
        return [Alert(FORGOTTEN, {"count": count, "places": places[:_MOST_PLACES]}, self._slot, mark=str(count))]

    def _fact(self, alert: Alert, now_us: int) -> Fact:
        page = runbook(alert.kind, self._runbooks)
        content: Mapping[str, Any] = {
            "about": BOOKS,
            "kind": alert.kind,
            "numbers": dict(alert.numbers),
            "runbook": page,
        }
        return Fact(f"{BOOKS}/{alert.kind}/{alert.subject}/{now_us}"[:512], "", BOOKS, content)


def _troubled(kind: str, found: Troubled) -> list[Alert]:
    if not found.count:
        return []
    numbers = {"count": found.count, "request_ids": list(found.request_ids), "names": list(found.names)}
    return [Alert(kind, numbers, mark=str(found.last_us))]


def _differences(report: Report) -> list[Alert]:
    told = [one for one in report.differences if one.kind not in _TOLD_APART]
    if not told:
        return []
    requests = list(dict.fromkeys(name for one in told for name in one.request_ids))
    kinds = Counter(one.kind for one in told)
    numbers = {
        "count": len(told) + report.cut,
        "kinds": dict(kinds),
        "request_ids": requests[:_NAMED],
        "organization_ids": sorted({one.organization_id for one in told if one.organization_id})[:_NAMED],
    }
    mark = ",".join(f"{kind}{count}" for kind, count in sorted(kinds.items()))
    return [Alert(DIFFERENCES, numbers, mark=mark[:64])]
