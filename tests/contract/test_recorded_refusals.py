"""What the vendors with wires of their own were seen to refuse with, and what the router makes of it.

The samples are the simulated provider's, which says them on request; each names the page or issue that it comes from.
"""

import json
from importlib import resources

import pytest
from tests.contract.test_vendors import KINDS

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_resources import load_catalogue
from tollgate_router.domain.quirks.wire import WireQuirks
from tollgate_router.domain.upstream_errors import OVERLOADED, Bench, Hints, problem_of_error

SAMPLES = json.loads((resources.files("tollgate_simulator_provider") / "data" / "refusals.json").read_bytes())
CATALOGUE = load_catalogue()
MEANINGS = {**KINDS, "too_large": errors.ERROR_KIND_PAYLOAD_TOO_LARGE}
BENCHES = {"quota": Bench.BALANCE, "auth": Bench.CREDENTIALS}
ALL = [(vendor, name) for vendor, samples in SAMPLES.items() for name in samples]


def errors_of(provider):
    return WireQuirks(CATALOGUE.quirks_of(CATALOGUE.providers[provider])).errors


def check(problem, name, sample):
    kind = name.partition(":")[0]
    assert problem.kind == MEANINGS[kind], problem
    assert problem.bench is BENCHES.get(kind, Bench.NONE)
    assert problem.retry_after_ms == sample.get("wait_ms", 0)
    # The callers' own dialects have names for what it means; the vendor's own would be new to them.
    assert problem.code in {"", "unknown_parameter", "model_not_found", *([OVERLOADED] if kind == "overloaded" else ())}


@pytest.mark.parametrize(("vendor", "name"), ALL)
def test_recorded_refusals_mean_what_they_mean(vendor, name):
    sample = SAMPLES[vendor][name]
    body = json.dumps(sample["body"]).replace("{param}", "temperature").encode()
    problem = errors_of(vendor).of_reply(sample["status"], body, Hints(0, sample.get("name", "")))
    check(problem, name, sample)
    assert (problem.code == OVERLOADED) == name.startswith("overloaded")
    if name == "invalid_parameter" and "{param}" in json.dumps(sample["body"]):
        assert "temperature" in f"{problem.param} {problem.message}"


@pytest.mark.parametrize(
    ("vendor", "name"), [(vendor, name) for vendor, name in ALL if "error" in SAMPLES[vendor][name]["body"]]
)
def test_an_error_within_a_stream_means_the_same(vendor, name):
    sample = SAMPLES[vendor][name]
    kind = name.partition(":")[0]
    found = errors_of(vendor).again(problem_of_error(sample["body"]["error"]))
    if kind in {"rate_limit", "quota", "context_length", "overloaded", "auth"}:
        check(found, name, sample)


@pytest.mark.parametrize("name", [name for name in SAMPLES["gemini"] if name != "invalid_parameter"])
def test_the_compatible_endpoint_of_google_says_the_same_in_a_list(name):
    sample = SAMPLES["gemini"][name]
    check(errors_of("gemini-openai").of_reply(sample["status"], json.dumps([sample["body"]]).encode()), name, sample)


def test_what_a_retry_info_says_is_no_longer_than_an_hour_and_never_broken():
    for said, wait in (("7200s", 3_600_000), ("x", 0), ("-3s", 0), (7, 0), ("nans", 0), ("1e999s", 0)):
        body = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m", "details": [{"retryDelay": said}]}
        found = errors_of("gemini").of_reply(429, json.dumps({"error": body}).encode())
        assert (found.kind, found.retry_after_ms) == (errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, wait)
