"""Metrics that cost the hot path an addition each: plain numbers, read and named when Prometheus asks.

A service declares its families in its `telemetry.py`; the reference page is written from them, and a value that belongs
to no declared family is an error when metrics are read, not a surprise on a dashboard.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

# What the conventions for generative AI ask for, in seconds and, for counts of microseconds, a million times as much.
GEN_AI_SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
GEN_AI_MICROSECONDS: Final = tuple(10_000 * 2**power for power in range(14))
FIRST_TOKEN_SECONDS: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
SHORT_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
POWERS_OF_TWO: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_LAG_SECONDS: Final = 0.25

Number = int | float
Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name with unit and `_total`, what it means, and the labels that each of its samples carries."""

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()


class Histogram:
    """Counts by upper bound, inclusive. `scale` turns what is observed into the unit of the metric's name."""

    __slots__ = ("_bounds", "_scale", "counts", "total")

    def __init__(self, bounds: Sequence[Number], scale: float = 1) -> None:
        self._bounds = bounds
        self._scale = scale
        self.counts = [0] * (len(bounds) + 1)
        self.total: Number = 0

    def observe(self, value: Number) -> None:
        """Counts one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Returns (upper bound, how many are not above it), the last one for all."""
        found, seen = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self.counts, strict=True):
            seen += count
            found.append(("+Inf" if bound == float("inf") else f"{bound * self._scale:g}", float(seen)))
        return found

    @property
    def scaled_total(self) -> float:
        return self.total * self._scale


K = TypeVar("K")
V = TypeVar("V")


class Bounded(dict[K, V]):
    """Values by what tells them apart, made on demand; once there are `most`, all further ones are that of `other`.

    Nobody outside may make as many time series as he can think of labels.
    """

    def __init__(self, make: Callable[[], V], most: int, other: K) -> None:
        super().__init__()
        self._make = make
        self._most = most
        self._other = other

    def __missing__(self, key: K) -> V:
        if len(self) >= self._most:
            key = self._other
            if key in self:
                return self[key]
        made = self[key] = self._make()
        return made


Sample = tuple[str, tuple[str, ...], "Number | Histogram"]


class Measured(Collector):
    """Turns `read()`'s samples, each (name, label values, value), into the declared families. Raises KeyError."""

    def __init__(self, families: Sequence[Family], read: Callable[[], Iterable[Sample]]) -> None:
        self._families = families
        self._read = read

    def describe(self) -> Iterator[Metric]:
        """Yields the families without samples."""
        yield from self._empty().values()

    def collect(self) -> Iterator[Metric]:
        """Yields all families, those without samples too."""
        found = self._empty()
        for name, labels, value in self._read():
            metric = found[name]
            if isinstance(metric, HistogramMetricFamily):
                assert isinstance(value, Histogram)
                metric.add_metric(labels, value.buckets(), value.scaled_total)
            else:
                assert isinstance(metric, CounterMetricFamily | GaugeMetricFamily)
                assert not isinstance(value, Histogram)
                metric.add_metric(labels, value)
        yield from found.values()

    def _empty(self) -> dict[str, CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        made = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
        return {one.name: made[one.kind](one.name, one.meaning, labels=one.labels) for one in self._families}


def new_registry(families: Sequence[Family], read: Callable[[], Iterable[Sample]]) -> CollectorRegistry:
    """Returns what the admin port serves: the families, and the process as the system sees it."""
    registry = CollectorRegistry()
    registry.register(Measured(families, read))
    ProcessCollector(registry=registry)
    return registry


class LoopLag:
    """How late a timer of the event loop is, four times a second: what everything that waits for the loop waits."""

    def __init__(self) -> None:
        self.seconds = Histogram(SHORT_SECONDS)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to look, in the running loop."""
        self._wait(asyncio.get_running_loop())

    def stop(self) -> None:
        """Ends it."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + _LAG_SECONDS

        def look() -> None:
            self.seconds.observe(max(0.0, loop.time() - due))
            self._wait(loop)

        self._timer = loop.call_at(due, look)
