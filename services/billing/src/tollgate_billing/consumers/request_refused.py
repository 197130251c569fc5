"""Reads request.refused.v1 into the request log: insert, then commit, so that a record may come twice and none is lost.

It has a group and a loop of its own: booking never waits for it.
"""

import asyncio
import contextlib
import logging
from typing import Final

from tollgate_billing.domain.refused import refused_rows
from tollgate_billing.domain.rows import Row
from tollgate_billing.errors import Poison, Unavailable
from tollgate_billing.ports import DeadLetters, Letter, RequestLog
from tollgate_billing.telemetry import BillingCounters
from tollgate_kit.event_log import Claim, EventConsumer, EventLogUnavailable, OwnershipLost, Stored

log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.5
_MOST_RECORDS: Final = 50
_FIRST_RETRY_SECONDS: Final = 0.5
_LAST_RETRY_SECONDS: Final = 30.0


class RequestRefusedConsumer:
    """Owns the consumer of the topic; `days` is how long rows are kept."""

    def __init__(
        self,
        *,
        consumer: EventConsumer,
        request_log: RequestLog,
        letters: DeadLetters,
        counters: BillingCounters,
        days: int,
    ) -> None:
        self._consumer = consumer
        self._log = request_log
        self._letters = letters
        self._counters = counters
        self._days = days
        self._started = False
        self._read: list[Stored] = []
        self._delay = _FIRST_RETRY_SECONDS
        self._problem = ""

    async def step(self, stopping: asyncio.Event) -> None:
        """Keeps what there is; waits a while when something is away."""
        try:
            if not self._started:
                await self._consumer.start()
                self._started = True
            self._read = self._read or await self._consumer.poll(_MOST_RECORDS, _POLL_SECONDS)
            await self._keep()
            self._delay, self._problem = _FIRST_RETRY_SECONDS, ""
        except OwnershipLost:
            log.info("a partition of the request log went to another process")
        except (Unavailable, EventLogUnavailable) as error:
            if not self._problem:
                log.warning("the request log waits", extra={"fields": {"reason": str(error)}})
            self._problem = str(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), self._delay)
            self._delay = min(self._delay * 2, _LAST_RETRY_SECONDS)

    async def _keep(self) -> None:
        by_claim: dict[Claim, list[Stored]] = {}
        for record in self._read:
            if not record.claim.lost:
                by_claim.setdefault(record.claim, []).append(record)
        for claim, records in by_claim.items():
            low, high = records[0].offset, records[-1].offset + 1
            rows, letters = self._decode(records)
            if rows:
                await self._log.insert(rows, f"{claim.epoch}/{claim.topic}/{claim.partition}/{low}-{high}")
            if letters:
                reasons = {"records": len(letters), "reason": letters[0].reason}
                log.error("records of refused requests cannot be used", extra={"fields": reasons})
                await self._letters.send(letters)
            await self._consumer.commit(claim, high, "")
            self._counters.add("refused", len(rows))
            self._counters.add("refused_left_out", sum(row["left_out"] for row in rows))
            self._counters.add("refused_poison", len(letters))
            self._read = [record for record in self._read if record.claim is not claim]
        self._read = []

    def _decode(self, records: list[Stored]) -> tuple[list[Row], list[Letter]]:
        rows: list[Row] = []
        letters: list[Letter] = []
        for record in records:
            try:
                rows += refused_rows(record.value, record.at_us, self._days)
            except Poison as error:
                claim = record.claim
                letters.append(
                    Letter(
                        claim.topic, claim.partition, record.offset, record.at_us, record.key, record.value, str(error)
                    )
                )
        return rows, letters
