"""Every metric and span of edge, with unit and meaning."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tollgate.exchange.v1 import exchange_pb2 as wire

# One inference request, from its last body byte in to its last byte out.
SPAN_REQUEST: Final = "edge.request"
# One image request or media job, from the request to the answer.
SPAN_MEDIA: Final = "edge.media"


class InferenceCounters:
    """Plain numbers that the hot path counts; read when metrics are scraped."""

    def __init__(self) -> None:
        self.ends: Counter[int] = Counter()
        self.refused: Counter[str] = Counter()
        self.unpriced = 0
        self.routers_lost = 0
        self.client_gone = 0

    def count_end(self, outcome: int) -> None:
        """A request that reached a router has ended."""
        self.ends[outcome] += 1

    def count_refused(self, code: str) -> None:
        """A request was answered with an error of edge's own."""
        self.refused[code] += 1


class EdgeMetrics(Collector):
    def __init__(self, counters: InferenceCounters, gauges: Callable[[], Mapping[str, float]]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Yields the families; names of `gauges` become `tollgate_edge_<name>`."""
        ends = CounterMetricFamily("tollgate_edge_requests", "Inference requests that ended.", labels=["outcome"])
        for outcome, count in self._counters.ends.items():
            ends.add_metric([wire.Outcome.Name(outcome).removeprefix("OUTCOME_").lower()], count)
        refused = CounterMetricFamily("tollgate_edge_refused", "Inference requests refused here.", labels=["code"])
        for code, count in self._counters.refused.items():
            refused.add_metric([code], count)
        yield from (ends, refused)
        for name, count, meaning in (
            ("unpriced", self._counters.unpriced, "Requests refused since their model has no price."),
            ("routers_lost", self._counters.routers_lost, "Requests whose router vanished."),
            ("client_gone", self._counters.client_gone, "Requests whose caller went away."),
        ):
            yield CounterMetricFamily(f"tollgate_edge_{name}", meaning, value=count)
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"tollgate_edge_{name}", f"Now: {name.replace('_', ' ')}.", value=value)
