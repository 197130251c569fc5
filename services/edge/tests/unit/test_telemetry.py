"""What edge counts, and how many time series it can become."""

import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.telemetry import FAMILIES, InferenceCounters
from tollgate_kit.metrics import Measured

pytestmark = pytest.mark.unit


def collected(counters):
    return {metric.name: metric.samples for metric in Measured(FAMILIES, counters.samples).collect()}


def test_a_provider_cannot_make_time_series_by_thinking_of_codes():
    counters = InferenceCounters()
    for number in range(5000):
        counters.count_refused(f"code-{number}")
    counters.count_refused("code-7")
    samples = collected(counters)["tollgate_edge_refused"]
    assert len(samples) <= 101
    assert sum(sample.value for sample in samples) == 5001
    found = {sample.labels["code"]: sample.value for sample in samples}
    assert (found["code-7"], found["other"]) == (2, 4900)


def test_only_whole_streams_have_a_first_token():
    counters = InferenceCounters()
    counters.count_end(wire.OPERATION_CHAT, wire.OUTCOME_OK, 0.001, 0.03, 2.0)
    counters.count_end(wire.OPERATION_CHAT, wire.OUTCOME_OK, 0.001, -1.0, 0.5)
    counters.count_end(wire.OPERATION_CHAT, wire.OUTCOME_UPSTREAM_CUT, 0.001, 0.02, 1.0)
    found = collected(counters)
    sums = {
        (sample.labels["error_type"], sample.name.rpartition("_")[2]): sample.value
        for sample in found["gen_ai_server_request_duration_seconds"]
        if "bucket" not in sample.name
    }
    assert sums == {("", "count"): 2, ("", "sum"): 2.5, ("upstream_cut", "count"): 1, ("upstream_cut", "sum"): 1.0}
    (count,) = [one.value for one in found["gen_ai_server_time_to_first_token_seconds"] if one.name.endswith("_count")]
    assert count == 1
    assert {one.labels["outcome"]: one.value for one in found["tollgate_edge_requests"]} == {"ok": 2, "upstream_cut": 1}
