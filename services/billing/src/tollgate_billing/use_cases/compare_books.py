"""Compares raw usage, its sums, ledger, wallets and holds, and names what differs. It changes nothing.

Batches of a time are compared whole; one that is being booked now is left for the next time.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tollgate_billing.domain.books import (
    KINDS,
    BatchLine,
    Difference,
    Report,
    amounts_of,
    compare,
    is_posted,
    missing_offsets,
    nearest,
)
from tollgate_billing.domain.rollups import HOUR_US
from tollgate_billing.errors import Unavailable
from tollgate_billing.ports import HoldRecord, Ledger, LedgerBooks, UsageBooks, Wallets
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.compare_rollups import CompareRollups
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_billing.use_cases.replay_letters import ReplayLetters, id_of
from tollgate_holds import request_of
from tollgate_kit.clock import Clock
from tollgate_rating import format_decimal

log = logging.getLogger(__name__)

_SLICE_US: Final = HOUR_US
# What is younger may be booked at this moment.
_SETTLED_US: Final = 60 * 1_000_000
_LATE_US: Final = 600 * 1_000_000
_MOST: Final = 200
_MOST_LOGGED: Final = 20
_NAMES: Final = 10


@dataclass(frozen=True, slots=True)
class _Line:
    line: BatchLine
    kind: str
    raw: int
    ledger: int


class CompareBooks:
    def __init__(
        self,
        books: UsageBooks,
        booked: LedgerBooks,
        ledger: Ledger,
        wallets: Wallets,
        keep: KeepWallets,
        counters: BillingCounters,
        clock: Clock,
        letters: ReplayLetters,
        rollups: CompareRollups,
        *,
        overdue_seconds: float = 3600,
    ) -> None:
        self._books = books
        self._booked = booked
        self._ledger = ledger
        self._wallets = wallets
        self._keep = keep
        self._counters = counters
        self._clock = clock
        self._letters = letters
        self._rollups = rollups
        self._overdue_us = int(overdue_seconds * 1_000_000)

    async def __call__(self, from_us: int, to_us: int) -> Report:
        """Compares what was booked in this time, and all wallets and holds as they are now. Raises Unavailable."""
        report = await self.rows_and_ledger(from_us, to_us)
        report.add(await self._repeated(from_us, to_us), _MOST)
        report.add(await self._books.mismatches_between(from_us, to_us, _MOST), _MOST)
        report.add(await self._poison(from_us, to_us), _MOST)
        report.add(await self._accounts(), _MOST)
        sums, cut = await self._rollups(from_us, report.to_us, _MOST)
        report.add(sums, _MOST)
        report.cut += cut
        await self._compare_wallets(report)
        self._counters.add("comparisons")
        found = Counter(one.kind for one in report.differences)
        self._counters.differences = {kind: found[kind] for kind in KINDS}
        return report

    async def look_back(self, hours: int) -> Report | None:
        """Compares the last hours and logs what differs; None where something is away: the next look does it then."""
        now = self._clock.now_us()
        try:
            report = await self(now - hours * HOUR_US, now)
        except Unavailable as error:
            self._counters.add("failed_comparisons")
            log.warning("the books are not compared now", extra={"fields": {"reason": str(error)}})
            return None
        for one in report.differences[:_MOST_LOGGED]:
            fields = {"kind": one.kind, "detail": one.detail, "organization_id": one.organization_id}
            fields |= {"batch": one.batch, "request_ids": ", ".join(one.request_ids), "next_step": one.next_step}
            log.error("the books do not agree", extra={"fields": fields})
        return report

    async def rows_and_ledger(self, from_us: int, to_us: int, slice_us: int = _SLICE_US) -> Report:
        """Compares usage rows with the ledger only, so much of the time at once. Raises Unavailable."""
        report = Report(from_us, min(to_us, self._clock.now_us()))
        start = from_us
        while start < report.to_us:
            end = min(start + slice_us, report.to_us)
            await self._compare_slice(report, start, end)
            start = end
        return report

    async def _compare_slice(self, report: Report, from_us: int, to_us: int) -> None:
        """Compares what came in this time, and a little before: the ledger is later than the rows that it books."""
        raw = await self._books.batch_amounts(from_us - _LATE_US, to_us)
        heights = await self._booked.heights()
        fresh = {line: rows for line, (_, rows, at_us) in raw.items() if at_us >= from_us}
        report.rows += sum(fresh.values())
        report.batches += len({line.batch for line in fresh})
        late = self._clock.now_us() - _LATE_US
        posted = {line: amounts for line, (amounts, _, _) in raw.items() if is_posted(line.batch, heights)}
        waiting = {line.batch: line for line in fresh if line not in posted and raw[line][2] < late}
        ledger = amounts_of(await self._booked.transfers_of({line.batch for line in posted}))
        # What the ledger booked in this time, and nothing of it came in this time.
        known = {line.batch for line in raw}
        booked = amounts_of(await self._booked.transfers_between(from_us, to_us))
        ledger |= {line: amounts for line, amounts in booked.items() if line.batch not in known}
        suspects = {line.batch for line, _, _, _ in compare(posted, ledger)}
        if suspects:
            # A batch that broke off may have come in two parts: these are read whole.
            whole = await self._books.amounts_of_batches(suspects)
            found = compare(whole, {line: amounts for line, amounts in ledger.items() if line.batch in suspects})
            report.add([await self._explain(_Line(*one)) for one in found[:_MOST]], _MOST)
            report.cut += max(0, len(found) - _MOST)
        report.add([_unposted(line) for line in waiting.values()], _MOST)

    async def _explain(self, one: _Line) -> Difference:
        """Names the requests that a difference comes from, or the places in the log that rows are missing of."""
        line, difference = one.line, one.raw - one.ledger
        rows = await self._books.rows_of(line)
        exact = [row.request_id for row in rows if getattr(row.amounts, one.kind) == difference]
        detail = f"usage rows say {one.raw}, the ledger {one.ledger}, for {line.model}, project {line.project_id}"
        if difference < 0 or not rows:
            places = missing_offsets(line.batch, await self._books.offsets_of(line.batch), _NAMES)
            if places:
                detail += f"; no rows of the records at {', '.join(map(str, places))}"
        names = exact or [row.request_id for row in rows]
        return Difference(
            one.kind,
            detail,
            line.organization_id,
            line.batch,
            tuple(dict.fromkeys(names[:_NAMES])),
            found_pico=one.raw,
            expected_pico=one.ledger,
            project_id=line.project_id,
            model=line.model,
        )

    async def _repeated(self, from_us: int, to_us: int) -> list[Difference]:
        found: list[Difference] = []
        for one in await self._books.repeated(from_us, to_us, _MOST):
            about = (one.organization_id, "", (one.request_id,))
            if one.repeated:
                found.append(Difference("repeated_event", f"{one.repeated} rows more than events", *about))
            if one.standing > 1:
                found.append(Difference("double_charge", f"{one.standing} finals carry a charge", *about))
        return found

    async def _poison(self, from_us: int, to_us: int) -> list[Difference]:
        found = await self._letters.unbooked(await self._books.poison_between(from_us, to_us, _MOST))
        return [
            Difference("poison", f"{one.topic}, partition {one.partition}, {one.offset}: {one.reason}; {id_of(one)}")
            for one in found
        ]

    async def _accounts(self) -> list[Difference]:
        return [
            Difference(
                "account",
                # Said here, since both amounts may be beyond what the report's numbers hold.
                f"account {one.account} in {one.currency} is not the sum of its transfers, by"
                f" {format_decimal(one.balance_pico - one.transfers_pico)}",
                one.organization_id,
                found_pico=one.balance_pico,
                expected_pico=one.transfers_pico,
            )
            for one in await self._booked.unbalanced()
        ]

    async def _compare_wallets(self, report: Report) -> None:
        for organization_id in await self._ledger.balances():
            report.organizations += 1
            expected, state = await self._keep.expected(organization_id)
            if nearest(expected) != expected:
                detail = f"the wallet would be {format_decimal(expected)}, beyond what Redis counts"
                beyond = Difference("wallet_beyond", detail, organization_id, "", (), state.wallet or 0, expected)
                report.add([beyond], _MOST)
            elif state.wallet != expected:
                missing = "there is no wallet" if state.wallet is None else "the wallet is another"
                detail = f"{missing}: ledger less {state.held} held and {state.settled} settled is {expected}"
                wallet = Difference("wallet", detail, organization_id, "", (), state.wallet or 0, expected)
                report.add([wallet], _MOST)
            holds = await self._wallets.list_holds(organization_id)
            report.holds += len(holds)
            report.add(await self._hanging(organization_id, holds), _MOST)

    async def _hanging(self, organization_id: str, holds: Sequence[HoldRecord]) -> list[Difference]:
        now = self._clock.now_us()
        found = []
        live = {hold.hold_id: hold for hold in holds if hold.state != "released"}
        booked = await self._books.booked_finals(live.keys(), now - _SETTLED_US) if live else {}
        heights = await self._booked.heights() if booked else {}
        for hold_id, hold in live.items():
            kind = self._trouble(hold, now)
            batch = booked.get(hold_id, "")
            if batch and is_posted(batch, heights) and await self._wallets.find_hold(organization_id, hold_id) == hold:
                kind = "leaked_hold"
            if kind:
                detail = f"{hold.state} {hold.amount_pico}, its time {hold.at_us}"
                requests = (request_of(hold_id),)
                found.append(Difference(kind, detail, organization_id, batch, requests, hold.amount_pico))
        return found

    def _trouble(self, hold: HoldRecord, now_us: int) -> str:
        if hold.state == "held" and hold.at_us < now_us - _LATE_US:
            return "expired_hold"
        if hold.state == "settled" and hold.at_us < now_us - self._overdue_us:
            return "unbooked_hold"
        return ""


def _unposted(line: BatchLine) -> Difference:
    detail = "its rows are in the usage store, and the ledger has not got it"
    return Difference("unposted_batch", detail, line.organization_id, line.batch)
