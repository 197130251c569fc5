"""What the router counts of its attempts, and how many time series it can become."""

import pytest

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.metrics import Measured
from tollgate_router.telemetry import FAMILIES, RouterCounters

pytestmark = pytest.mark.unit

CHAT = wire.Open(operation=wire.OPERATION_CHAT)
STREAM = wire.Open(operation=wire.OPERATION_CHAT, stream=True)


def count(counters, opened=CHAT, channel="one", kind=0, units=None):
    timings = {"upstream_started_us": 1000, "first_byte_us": 31_000, "total_us": 51_000}
    series = counters.series[channel, "openai", opened.operation, kind]
    series.add(**timings, units=units or {}, first_chunk=opened.stream and not kind)


def values(counters, name):
    """Returns the values of a family by the values of its labels; of a histogram, how many and their sum."""
    (metric,) = [
        one for one in Measured(FAMILIES, counters.samples).collect() if one.name == name.removesuffix("_total")
    ]
    return {
        (
            *sample.labels.values(),
            *([sample.name.rpartition("_")[2]] if metric.type == "histogram" else []),
        ): sample.value
        for sample in metric.samples
        if "le" not in sample.labels
    }


def test_times_are_those_of_the_call_alone():
    counters = RouterCounters()
    count(counters)
    count(counters, STREAM)
    call = ("one", "openai", "chat")
    assert values(counters, "gen_ai_client_operation_duration_seconds") == {
        (*call, "", "count"): 2,
        (*call, "", "sum"): pytest.approx(0.1),
    }
    assert values(counters, "gen_ai_client_operation_time_to_first_chunk_seconds") == {
        (*call, "count"): 1,
        (*call, "sum"): pytest.approx(0.03),
    }


def test_tokens_of_all_kinds_are_input_or_output():
    counters = RouterCounters()
    units = {"input": 1, "cache_read": 2, "cache_write_5m": 4, "output": 8, "reasoning": 16, "requests": 1}
    count(counters, units=units)
    assert values(counters, "tollgate_router_tokens_total") == {("one", "input"): 7, ("one", "output"): 24}


def test_failures_are_told_apart_by_kind_and_a_caller_that_leaves_is_none():
    counters = RouterCounters()
    for kind in (errors.ERROR_KIND_UPSTREAM_TIMEOUT, errors.ERROR_KIND_UPSTREAM_CUT, errors.ERROR_KIND_UPSTREAM_CUT):
        count(counters, kind=kind)
    count(counters, kind=errors.ERROR_KIND_CANCELLED)
    assert values(counters, "tollgate_router_failures_total") == {
        ("one", "upstream_timeout"): 1,
        ("one", "upstream_cut"): 2,
    }


def test_channels_beyond_the_limit_share_their_series():
    counters = RouterCounters()
    for number in range(6000):
        count(counters, channel=f"channel-{number}")
    found = values(counters, "gen_ai_client_operation_duration_seconds")
    assert len(found) <= 2 * 4001
    assert sum(value for labels, value in found.items() if labels[-1] == "count") == 6000
    assert found["other", "other", "other", "", "count"] == 2000
