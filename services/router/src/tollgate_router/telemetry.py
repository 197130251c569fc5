"""Every metric and span of the router, with unit and meaning."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tollgate.exchange.v1 import exchange_pb2 as wire

# One upstream call, from the first byte out to the last byte in.
SPAN_ATTEMPT: Final = "router.attempt"
# A usage event's way from the spool to the event log.
SPAN_PUBLISH: Final = "usage.recorded.v1 send"


class RouterCounters:
    """Plain numbers that the hot path counts; read when metrics are scraped."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.ends: Counter[int] = Counter()


class RouterMetrics(Collector):
    def __init__(self, counters: RouterCounters, gauges: Callable[[], dict[str, float]]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Yields the families; `gauges` holds open_requests, spool_records, spool_bytes and unpriced."""
        attempts = CounterMetricFamily("tollgate_router_attempts", "Upstream calls by channel.", labels=["channel"])
        for channel, count in self._counters.attempts.items():
            attempts.add_metric([channel], count)
        failures = CounterMetricFamily(
            "tollgate_router_failures", "Upstream calls that failed, by channel.", labels=["channel"]
        )
        for channel, count in self._counters.failures.items():
            failures.add_metric([channel], count)
        ends = CounterMetricFamily("tollgate_router_requests", "Requests that ended, by outcome.", labels=["outcome"])
        for outcome, count in self._counters.ends.items():
            ends.add_metric([wire.Outcome.Name(outcome).removeprefix("OUTCOME_").lower()], count)
        yield from (attempts, failures, ends)
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"tollgate_router_{name}", f"Now: {name.replace('_', ' ')}.", value=value)
