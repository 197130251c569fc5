"""Every metric and span of billing, with unit and meaning."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

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
    "retries": "Attempts to finish a batch that failed because something was away.",
    "corrected_holds": "Holds that edge had settled at another cost than the charge.",
    "drifted_wallets": "Wallets that differed from the ledger and were repaired.",
    "drift_pico": "Sum of those differences, without sign, in pico-units.",
    "rebuilt_wallets": "Wallets that were missing and were made again from the ledger.",
    "released_holds": "Holds that expired and were given back.",
    "refused": "Refused requests that became rows of the request log.",
    "refused_left_out": "Refused requests that edge left out of it, since there were too many.",
    "refused_poison": "Records of refused requests that could not be used.",
    "comparisons": "Times that usage rows, ledger, wallets and holds were compared.",
    "failed_comparisons": "Comparisons that broke off since something was away.",
    "overdue_holds": "Settled holds that were found unbooked after an hour, each time they were found.",
    "notices_sent": "Notices that a destination took.",
    "notice_failures": "Attempts to send a message that its destination did not take.",
    "notices_given_up": "Notices that were tried for a day and are not tried again.",
    "anomalies": "Anomalies that were found.",
}
_GAUGES: Final = {
    "lag_events": "Records in the event log that are not booked yet.",
    "lag_ms": "Age of the oldest record that was read and is not booked yet, in milliseconds.",
    "open_exceptions": "Finals that nobody confirmed and that a later one may replace.",
    "recent_ids": "Event ids that are remembered against duplicates.",
}


class BillingCounters:
    """Plain numbers, read when metrics are scraped."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.mismatches: Counter[str] = Counter()
        # Of the last comparison of the books, by kind; nothing before there was one.
        self.differences: dict[str, int] = {}

    def add(self, name: str, amount: int = 1) -> None:
        """Adds to one of the counters; a name that is none is a KeyError."""
        _COUNTERS[name]
        self.counts[name] += amount


class BillingMetrics(Collector):
    """`gauges` returns the current value of each gauge by name."""

    def __init__(self, counters: BillingCounters, gauges: Callable[[], dict[str, float]]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"tollgate_billing_{name}", text, value=self._counters.counts[name])
        mismatches = CounterMetricFamily(
            "tollgate_billing_mismatches", "Events whose charge billing computes otherwise.", labels=["reason"]
        )
        for reason, count in self._counters.mismatches.items():
            mismatches.add_metric([reason], count)
        yield mismatches
        differences = GaugeMetricFamily(
            "tollgate_billing_book_differences",
            "What did not agree between usage rows, ledger, wallets and holds when they were last compared.",
            labels=["kind"],
        )
        for kind, count in self._counters.differences.items():
            differences.add_metric([kind], count)
        yield differences
        values = self._gauges()
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"tollgate_billing_{name}", text, value=values.get(name, 0.0))
