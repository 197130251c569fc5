"""What is counted is what Prometheus reads."""

import asyncio

import pytest
from prometheus_client.exposition import generate_latest

from tollgate_kit.metrics import Bounded, Family, Histogram, LoopLag, Measured, new_registry

pytestmark = pytest.mark.unit

FAMILIES = (
    Family("a_total", "counter", "Things.", ("kind",)),
    Family("b_bytes", "gauge", "Size."),
    Family("c_seconds", "histogram", "Time.", ("kind",)),
)


def text(*samples):
    """Returns the lines of our families."""
    lines = generate_latest(new_registry(FAMILIES, lambda: samples)).decode().splitlines()
    return [
        line for line in lines if line.split()[2 if line.startswith("#") else 0].split("{")[0][:2] in {"a_", "b_", "c_"}
    ]


def test_families_without_a_value_are_named():
    assert [line for line in text() if line.startswith("# TYPE")] == [
        "# TYPE a_total counter",
        "# TYPE b_bytes gauge",
        "# TYPE c_seconds histogram",
    ]


def test_values_stand_under_their_family():
    found = text(("b_bytes", (), 7), ("a_total", ("x",), 2), ("a_total", ("y",), 3))
    assert [line for line in found if not line.startswith("#")] == [
        'a_total{kind="x"} 2.0',
        'a_total{kind="y"} 3.0',
        "b_bytes 7.0",
    ]


def test_a_bound_counts_what_is_equal_to_it():
    seconds = Histogram((10, 20, 40), 0.001)
    for value in (0, 10, 11, 20, 41, 1000):
        seconds.observe(value)
    found = text(("c_seconds", ("x",), seconds))
    assert [line.partition("{")[2] for line in found if line.startswith("c_seconds_bucket")] == [
        'kind="x",le="0.01"} 2.0', 'kind="x",le="0.02"} 4.0', 'kind="x",le="0.04"} 4.0', 'kind="x",le="+Inf"} 6.0',
    ]  # fmt: skip
    assert seconds.scaled_total == pytest.approx(1.082)
    assert 'c_seconds_count{kind="x"} 6.0' in found


@pytest.mark.parametrize("sample", [("d_total", (), 1), ("b_bytes", (), Histogram((1,))), ("c_seconds", ("x",), 1)])
def test_what_nobody_declared_is_an_error(sample):
    with pytest.raises((KeyError, AssertionError)):
        list(Measured(FAMILIES, lambda: [sample]).collect())


def test_further_labels_share_one_value():
    made = Bounded(list, 3, "other")
    for name in ("a", "b", "c", "d", "e"):
        made[name].append(name)
    assert made == {"a": ["a"], "b": ["b"], "c": ["c"], "other": ["d", "e"]}


async def test_a_loop_that_is_held_up_is_late():
    lag = LoopLag()
    lag.start()
    while not lag.seconds.total:  # noqa: ASYNC110 - what is waited for is a timer.
        await asyncio.sleep(0.01)
    lag.stop()
    assert sum(lag.seconds.counts) >= 1
