"""A provider that has too much to do is told apart from one that is broken or away."""

import json

import pytest

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_resources import Quirks
from tollgate_router.domain.quirks.errors import ErrorReading
from tollgate_router.domain.upstream_errors import problem_of_error, problem_of_exception, problem_of_reply

pytestmark = pytest.mark.unit
BUSY, AWAY = "server_is_overloaded", ""


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (503, {"message": "x"}, BUSY),
        (529, {"type": "overloaded_error", "message": "Overloaded"}, BUSY),
        (500, {"type": "overloaded_error", "message": "Overloaded"}, BUSY),
        (500, {"message": "x"}, AWAY),
        (502, {"message": "x"}, AWAY),
        (404, {"message": "x"}, AWAY),
    ],
)
def test_a_refusal(status, error, code):
    found = problem_of_reply(status, json.dumps({"error": error}).encode())
    assert (found.kind, found.code) == (errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, code)
    assert found.retryable


def test_a_refusal_that_is_no_json_and_a_limit():
    assert problem_of_reply(503, b"<html>").code == BUSY
    limited = problem_of_reply(429, b'{"error":{"type":"overloaded_error"}}')
    assert (limited.kind, limited.code) == (errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, BUSY)
    assert problem_of_reply(429, b"{}").code == ""


def test_an_error_within_a_stream():
    assert problem_of_error({"type": "overloaded_error", "message": "Overloaded"}).code == BUSY
    assert problem_of_error({"code": 503, "message": "x"}).code == BUSY
    assert problem_of_error({"message": "x"}).code == AWAY
    assert problem_of_exception("ServiceUnavailableException", "x").code == BUSY
    assert problem_of_exception("InternalServerException", "x").code == AWAY


def test_a_provider_that_says_it_in_its_own_way():
    quirks = Quirks.model_validate({"errors": [{"means": "overloaded", "status": [400], "code": ["9"]}]})
    found = ErrorReading(quirks).of_reply(400, b'{"error":{"code":"9","message":"x"}}')
    assert (found.kind, found.code) == (errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, BUSY)
