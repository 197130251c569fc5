"""What the product is measured against, and how each figure is read from the results."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.machine import percentile
from benchmarks.peers.printed import median_of, ratios
from benchmarks.peers.turns import OURS
from benchmarks.results import rows
from benchmarks.workloads import PACED, RATES, SMALL, STREAM

# The results by the name of their file, without its ending.
Found = Mapping[str, Mapping[str, Any]]
BESIDE = "ferrogw"


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its limit: at most, or at least."""

    title: str
    unit: str
    limit: float
    value: Callable[[Found], float]
    least: bool = False

    def met(self, value: float) -> bool:
        """Tells whether a value is within the limit."""
        return value >= self.limit if self.least else value <= self.limit


def measured(found: Found) -> Iterator[tuple[Target, float]]:
    """Yields the targets whose figures are among the results."""
    for target in TARGETS:
        try:
            value = target.value(found)
        except (KeyError, ValueError):
            # No such file, or none of its rows: `median` of nothing raises ValueError.
            continue
        yield target, value


def ratio(found: Found, table: str, workload: str, peer: str) -> list[float]:
    """Returns our processor time over a peer's, round by round. Raises KeyError without a run of peers."""
    ours, theirs = (rows(found["peers"], table, workload=workload, gateway=name) for name in (OURS, peer))
    return ratios(ours, theirs)


def peers_of(found: Found) -> list[str]:
    """Returns the peers that were measured. Raises KeyError without a run of them."""
    names = list(found["peers"]["versions"])
    return [name for name in names if rows(found["peers"], "requests", gateway=name)]


def growth(found: Found, what: str) -> list[float]:
    """Returns the ratios of the pairs of a kind of growth, large over small."""
    return [row["large"] / row["small"] for row in rows(found["product"], "growth", what=what)]


def _path(workload: str) -> Callable[[Found], float]:
    return lambda found: median_of(rows(found["product"], "requests", workload=workload), "path")


def _paced(workload: str, *path: str) -> Callable[[Found], float]:
    return lambda found: median_of(rows(found["product"], "paced", workload=workload, subject=OURS), *path)


def _latency(part: str) -> Callable[[Found], float]:
    return lambda found: median(
        row["load"][part] - row["direct"][part] for row in rows(found["product"], "latency", rate=RATES[0])
    )


def _ratio(table: str, workload: str) -> Callable[[Found], float]:
    return lambda found: median(ratio(found, table, workload, BESIDE))


def _highest_ratio(workload: str) -> Callable[[Found], float]:
    return lambda found: max(median(ratio(found, "requests", workload, peer)) for peer in peers_of(found))


def _open(found: Found) -> float:
    (row,) = rows(found["product"], "open")
    return sum(row["bytes"].values()) / 1e6 / row["streams"] * 1000


def _bodies(kind: str) -> Callable[[Found], float]:
    return lambda found: max(row["share"][kind] for row in rows(found["product"], "bodies"))


def _growth(what: str) -> Callable[[Found], float]:
    return lambda found: median(growth(found, what))


def _idle_mb(found: Found) -> float:
    """Returns the memory of every process, idle."""
    return median(sum(row["bytes"].values()) for row in rows(found["product"], "start")) / 1e6


def _usage(table: str, path: str, **having: Any) -> Callable[[Found], float]:
    return lambda found: median_of(rows(found["usage"], table, **having), path)


def _outages(found: Found) -> list[Mapping[str, Any]]:
    """Returns the outages of a run by itself, or else of the whole run. Raises KeyError without either."""
    return rows(found["usage-outage" if "usage-outage" in found else "usage"], "outage")


def _slowest_view(found: Found) -> float:
    """Returns the 95th percentile of the view that takes longest, in ms."""
    return max(percentile(row["ms"][1:], 0.95) for row in rows(found["usage-views"], "views"))


_MANY, _MOST = (workload.name for workload in PACED)
TARGETS = (
    Target(f"small chat request / {BESIDE}", "", 0.6, _ratio("requests", SMALL.name)),
    Target(f"burst stream / {BESIDE}", "", 0.5, _ratio("requests", STREAM.name)),
    Target(f"256 paced streams / {BESIDE}", "", 0.8, _ratio("paced", _MANY)),
    Target(f"512 paced streams / {BESIDE}", "", 0.8, _ratio("paced", _MOST)),
    Target("small chat request / the best peer", "", 0.6, _highest_ratio(SMALL.name)),
    Target("burst stream / the best peer", "", 1.0, _highest_ratio(STREAM.name)),
    Target("small chat request: first aim", "µs of processor", 220, _path(SMALL.name)),
    Target("burst stream of 65 chunks: first aim", "µs of processor", 800, _path(STREAM.name)),
    Target("small chat request", "µs of processor", 150, _path(SMALL.name)),
    Target("burst stream of 65 chunks", "µs of processor", 550, _path(STREAM.name)),
    Target("256 paced streams: each", "µs of processor", 3600, _paced(_MANY, "micros", OURS)),
    Target("256 paced streams: p99 gap", "ms", 35, _paced(_MANY, "load", "gap_p99_ms")),
    Target("512 paced streams: delivered", "", 0.95, _paced(_MOST, "delivered"), least=True),
    Target("512 paced streams: p99 gap", "ms", 60, _paced(_MOST, "load", "gap_p99_ms")),
    Target(
        "small requests a second, load client and upstream beside it",
        "",
        8000,
        lambda found: median_of(rows(found["product"], "requests", workload=SMALL.name), "load", "rate"),
        least=True,
    ),
    Target("added latency at 200 requests/s: p50", "ms", 1, _latency("p50_ms")),
    Target("added latency at 200 requests/s: p99", "ms", 4, _latency("p99_ms")),
    Target("memory of 1,000 open streams", "MB", 40, _open),
    Target("peak of edge, in bodies of 1 MB in flight", "", 2, _bodies("edge")),
    Target("peak of router, in bodies of 1 MB in flight", "", 2, _bodies("router")),
    Target("3,000 of 100,000 keys in turn / ten keys", "", 1.05, _growth("3,000 of 100,000 keys in turn")),
    Target(
        "3,000 of 10,000 routes over 1,000 channels / ten of each",
        "",
        1.05,
        _growth("3,000 of 10,000 routes in turn, 1,000 channels"),
    ),
    Target("idle memory of all that `make up` starts", "MB", 800, _idle_mb),
    Target(
        "clone to first answer, package caches empty",
        "s",
        180,
        lambda found: median_of(rows(found["product"], "clone"), "seconds"),
    ),
    Target("warm start to first answer", "s", 6, lambda found: median_of(rows(found["product"], "start"), "warm_s")),
    Target(
        "end of an answer to its row, 200 requests/s: p99",
        "s",
        3,
        lambda found: median_of(rows(found["product"], "freshness"), "p99_s"),
    ),
    Target(
        "rows a second into the usage store, batches of 20,000 with fsync",
        "",
        50_000,
        _usage("insert", "rate", batch=20_000, fsync=True),
        least=True,
    ),
    Target("rows a second booked from a file, billing alone", "", 25_000, _usage("alone", "rate"), least=True),
    Target("rows a second booked from Apache Kafka", "", 20_000, _usage("kafka", "rate"), least=True),
    Target(
        "from the return of a server to the first commit",
        "s",
        30,
        lambda found: max(row["first_s"] for row in _outages(found)),
    ),
    Target(
        "what waits is booked, times what arrives meanwhile",
        "",
        3,
        lambda found: min(row["drain"] / row["arriving"] for row in _outages(found)),
        least=True,
    ),
    Target("from the log to a row, 5,000 events/s: p99", "s", 3, _usage("freshness of rows", "p99_s")),
    Target("the slowest of twelve views over 20 million rows: p95", "ms", 300, _slowest_view),
)
