"""What was read of a partition and is not booked yet, and when a batch of it closes."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import attrgetter
from typing import Final

from tollgate_billing.domain.intent import Bounds, Intent
from tollgate_billing.use_cases.record_batch import Batch, SourceState
from tollgate_kit.event_log import Claim, Stored

_OFFSET_OF: Final = attrgetter("offset")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch closes at the first of these."""

    events: int
    size_bytes: int
    age_seconds: float


@dataclass(slots=True)
class Intake:
    """What was read of a claim and is not booked yet.

    `intents` are what the log knows of batches that were begun; `resume` those of them that an earlier process began
    and whose records are not taken out yet.
    """

    claim: Claim
    owner: str
    intents: list[Intent]
    resume: list[Intent]
    # One beyond the last record that was booked.
    position: int
    state: SourceState = field(default_factory=SourceState)
    records: list[Stored] = field(default_factory=list)
    size_bytes: int = 0
    since: float = 0.0
    # The next batch, whose records are no longer among the others. Nothing says in the log yet that it was begun.
    ahead: Batch | None = None
    # Why nothing more is booked of it, and the record that waits for somebody to look; the rest is not kept here.
    stopped: str = ""
    stopped_at: Stored | None = None

    @property
    def source(self) -> str:
        """The name of the partition in the ledger and in Redis."""
        return Bounds(self.claim.epoch, self.claim.topic, self.claim.partition, 0, 0).source

    @property
    def first(self) -> Stored | None:
        """The oldest record that no batch was begun for, or none was taken to its end."""
        if self.stopped_at is not None:
            return self.stopped_at
        if self.ahead is not None:
            return self.ahead.records[0]
        return self.records[0] if self.records else None

    def add(self, records: Sequence[Stored], now: float) -> None:
        """Takes records in, at `now` of the monotonic clock; none of a claim that is stopped."""
        if self.stopped:
            return
        if not self.records:
            self.since = now
        self.records += records
        self.size_bytes += sum(len(record.value) for record in records)

    def due(self, limits: BatchLimits, now: float) -> bool:
        """Tells whether a batch closes now. One that was begun before closes when all its records are here."""
        if self.ahead is not None:
            return True
        if not self.records:
            return False
        return self.full(limits) or (not self.resume and now - self.since >= limits.age_seconds)

    def full(self, limits: BatchLimits) -> bool:
        """Tells whether all records of the next batch are here."""
        if self.resume:
            return bool(self.records) and self.records[-1].offset + 1 >= self.resume[0].high
        return len(self.records) >= limits.events or self.size_bytes >= limits.size_bytes

    def close(self, limits: BatchLimits, now: float) -> list[Stored]:
        """Takes the records of the next batch out."""
        if self.resume:
            count = bisect_left(self.records, self.resume[0].high, key=_OFFSET_OF)
            sizes = list(accumulate(len(record.value) for record in self.records[:count]))
        else:
            sizes = list(accumulate(len(record.value) for record in self.records[: limits.events]))
            # The one that reaches the size is in.
            count = min(bisect_left(sizes, limits.size_bytes) + 1, len(sizes))
        taken, self.records = self.records[:count], self.records[count:]
        self.size_bytes -= sizes[count - 1]
        self.since = now
        return taken

    def forget_gone(self) -> list[Intent]:
        """Forgets batches that were begun before and have no record in the log any more; returns them."""
        gone = []
        while self.resume and self.records and self.records[0].offset >= self.resume[0].high:
            gone.append(self.resume.pop(0))
            self.intents.remove(gone[-1])
        return gone

    def stop(self, reason: str, first: Stored) -> None:
        """Books nothing more of the claim: `first` and all that follows comes again to whoever holds it next."""
        self.stopped, self.stopped_at = reason, first
        self.records, self.size_bytes, self.ahead = [], 0, None
