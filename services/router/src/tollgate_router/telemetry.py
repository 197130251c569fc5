"""Every metric and span of the router, with unit and meaning."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
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
        self.fallbacks: Counter[str] = Counter()


class RouterMetrics(Collector):
    """`held` is (channel, why) → how much of it, `extra` channel → attempts; asked when metrics are scraped."""

    def __init__(
        self,
        counters: RouterCounters,
        gauges: Callable[[], dict[str, float]],
        held: Callable[[], Mapping[tuple[str, str], int]],
        extra: Callable[[], Mapping[str, int]],
    ) -> None:
        self._counters = counters
        self._gauges = gauges
        self._held = held
        self._extra = extra

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
        yield from (attempts, failures, ends, *self._routing())
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"tollgate_router_{name}", f"Now: {name.replace('_', ' ')}.", value=value)

    def _routing(self) -> Iterator[Metric]:
        extra = CounterMetricFamily(
            "tollgate_router_extra_attempts", "Attempts that the failures of a channel caused.", labels=["channel"]
        )
        for channel, count in self._extra().items():
            extra.add_metric([channel], count)
        fallbacks = CounterMetricFamily(
            "tollgate_router_fallbacks", "Requests that another model answered, by reason.", labels=["reason"]
        )
        for reason, count in self._counters.fallbacks.items():
            fallbacks.add_metric([reason], count)
        held = GaugeMetricFamily(
            "tollgate_router_held",
            "Channels, credentials and models that get no requests now, by why.",
            labels=["channel", "why"],
        )
        for (channel, why), count in self._held().items():
            held.add_metric([channel, why], count)
        yield from (extra, fallbacks, held)
