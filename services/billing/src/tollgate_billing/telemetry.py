"""Every metric and span of billing, with unit and meaning."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from tollgate_kit.metrics import Family, Sample
from tollgate_kit.process_metrics import loop_families

# From the closing of a batch to its commit, once per event of it whose trace is kept.
SPAN_RECORD: Final = "billing.record"

_COUNTERS: Final = {
    "events": "Usage events that became rows.",
    "duplicates": "Usage events that were dropped because their id was booked before.",
    "poison": "Records that could not be used.",
    "lost": "Finals that lost to another final of their request and were booked without charge.",
    "adjustments": "Charges that were taken back because a better final came later.",
    "unpriced": "Events without a price.",
    "batches": "Batches that were committed.",
    "repeated_batches": "Batches that an earlier process had begun.",
    "forgotten_events": "Records of usage that the event log had no longer when they were to be booked.",
    "retries": "Attempts to finish a batch that failed because something was away.",
    "corrected_holds": "Holds that edge had settled at another cost than the charge.",
    "drifted_wallets": "Wallets that differed from the ledger and were repaired.",
    "drift_pico": "Sum of those differences, without sign, in pico-units.",
    "rebuilt_wallets": "Wallets that were missing and were made again from the ledger.",
    "released_holds": "Holds that expired and were given back.",
    "refused": "Refused requests that became rows of the request log.",
    "refused_left_out": "Refused requests that edge left out of it, since there were too many.",
    "refused_poison": "Records of refused requests that could not be used.",
    "comparisons": "Times that usage rows, their sums, ledger, wallets and holds were compared.",
    "failed_comparisons": "Comparisons that broke off since something was away.",
    "overdue_holds": "Settled holds whose usage event was overdue, each time they were found.",
    "estimated_holds": "Settled holds whose usage event never came, that are booked with what they were settled with.",
    "notices_sent": "Notices that a destination took.",
    "notice_failures": "Attempts to send a message that its destination did not take.",
    "notices_given_up": "Notices that were tried for a day and are not tried again.",
    "anomalies": "Anomalies that were found.",
    "alerts": "Alerts about the books that operators were told of.",
}
_GAUGES: Final = {
    "lag_events": "Records in the event log that are not booked yet.",
    "lag_ms": "Age of the oldest record that was read and is not booked yet, in milliseconds.",
    "open_exceptions": "Finals that nobody confirmed and that a later one may replace.",
    "dead_letters": "Dead letters of the last seven days that are not booked, up to a hundred.",
    "recent_ids": "Event ids that are remembered against duplicates.",
    "wallets_beyond": "Organizations whose wallet is beyond what Redis counts (int64), at the last look.",
    "unbooked_holds": "Settled holds whose usage event is overdue and that nobody has booked, at the last look.",
    "stopped_partitions": "Partitions of which nothing is booked: poison on end, or a batch that the ledger refused.",
}
_PREFIX: Final = "tollgate_billing_"
_MISMATCHES: Final = Family(
    f"{_PREFIX}mismatches_total", "counter", "Events whose charge billing computes otherwise.", ("reason",)
)
_DIFFERENCES: Final = Family(
    f"{_PREFIX}book_differences",
    "gauge",
    "What did not agree between usage rows, their sums, ledger, wallets and holds when they were last compared.",
    ("kind",),
)
FAMILIES: Final = (
    *(Family(f"{_PREFIX}{name}_total", "counter", meaning) for name, meaning in _COUNTERS.items()),
    _MISMATCHES,
    _DIFFERENCES,
    *(Family(f"{_PREFIX}{name}", "gauge", meaning) for name, meaning in _GAUGES.items()),
    *loop_families("billing"),
)


class BillingCounters:
    """Plain numbers, read when metrics are scraped."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.mismatches: Counter[str] = Counter()
        # Of the last comparison of the books, by kind; nothing before there was one.
        self.differences: dict[str, int] = {}
        self.unbooked_holds = 0
        self.wallets_beyond = 0

    def add(self, name: str, amount: int = 1) -> None:
        """Adds to one of the counters; a name that is none is a KeyError."""
        _COUNTERS[name]
        self.counts[name] += amount


def samples(counters: BillingCounters, gauges: Mapping[str, float]) -> Iterator[Sample]:
    """Yields every value; `gauges` has the current value of each gauge by name."""
    for name in _COUNTERS:
        yield f"{_PREFIX}{name}_total", (), counters.counts[name]
    for reason, count in counters.mismatches.items():
        yield _MISMATCHES.name, (reason,), count
    for kind, count in counters.differences.items():
        yield _DIFFERENCES.name, (kind,), count
    for name in _GAUGES:
        yield f"{_PREFIX}{name}", (), gauges.get(name, 0.0)
