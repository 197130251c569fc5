"""What answers of the images wire mean, by table."""

import base64
import json

import pytest
from media_jobs_fakes.images import png

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_media_jobs.adapters.providers.openai_images import answer_of, refusal_of, reported_of
from tollgate_media_jobs.errors import AnswerLost, Refused
from tollgate_media_jobs.ports import Drawn

pytestmark = pytest.mark.unit

ENCODED = base64.b64encode(png()).decode()


def said(message="no", code=None, **more):
    return json.dumps({"error": {"message": message, "code": code, **more}}).encode()


def test_bytes_and_addresses_are_results():
    body = json.dumps(
        {"data": [{"b64_json": ENCODED}, {"url": "https://cdn.example/x"}, {"b64_json": None, "url": "u"}]}
    )
    assert answer_of(200, body.encode()).drawn == [Drawn(png()), Drawn(url="https://cdn.example/x"), Drawn(url="u")]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"7", b"null", b"{}", b'{"data": null}', b'{"data": []}', b'{"data": {}}',
        b'{"data": [7]}', b'{"data": [null]}', b'{"data": [{}]}', b'{"data": [{"url": 7}]}', b'{"data": [{"url": ""}]}',
        b'{"data": [{"b64_json": "***"}]}', b'{"data": "x"}', b"[" * 100_000, b"\xff\xfe",
    ],
)  # fmt: skip
def test_an_answer_without_results_is_of_no_use_and_never_asked_for_again(body):
    with pytest.raises(Refused) as found:
        answer_of(200, body)
    assert found.value.failure.kind == errors.ERROR_KIND_UPSTREAM_PROTOCOL
    assert not found.value.elsewhere
    assert found.value.again_seconds is None


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, {}),
        ({"input_tokens": 5, "output_tokens": 9}, {"input": 5, "image_output": 9}),
        (
            {
                "input_tokens": 50, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40, "cached_tokens": 4},
                "output_tokens": 9, "output_tokens_details": {"text_tokens": 2, "image_tokens": 7},
            },
            {"input": 6, "cache_read": 4, "image_input": 40, "output": 2, "image_output": 7},
        ),
        ({"input_tokens": 5, "input_tokens_details": {"image_tokens": 900}}, {"image_input": 5}),
        ({"input_tokens": -5, "output_tokens": True}, {}),
        ({"input_tokens": "5", "output_tokens": 1.5, "input_tokens_details": 7}, {}),
        ({"input_tokens": 10**30}, {}),
        ([], {}),
    ],
)  # fmt: skip
def test_usage_becomes_exclusive_buckets(usage, tokens):
    assert reported_of({"usage": usage}).tokens == tokens


def test_size_and_quality_are_taken_only_in_their_own_shape():
    assert reported_of({"size": "1024x1536", "quality": "high"}).size == "1024x1536"
    odd = reported_of({"size": "large:7", "quality": "HIGH:x"})
    assert (odd.size, odd.quality) == ("", "")
    assert reported_of({"size": 7, "quality": None}).size == ""


@pytest.mark.parametrize(
    ("status", "body", "kind", "elsewhere", "again"),
    [
        (400, said("bad", param="size"), errors.ERROR_KIND_INVALID_REQUEST, False, None),
        (400, said(code="moderation_blocked"), errors.ERROR_KIND_CONTENT_POLICY, False, None),
        (400, b"<html>", errors.ERROR_KIND_INVALID_REQUEST, False, None),
        (422, b'{"error": "text"}', errors.ERROR_KIND_INVALID_REQUEST, False, None),
        (401, said(), errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, True, None),
        (403, b"", errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, True, None),
        (404, said(), errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, True, None),
        (302, b"", errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, True, None),
        (413, b"", errors.ERROR_KIND_PAYLOAD_TOO_LARGE, False, None),
        (429, said(), errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, True, 7.0),
        (429, said(code="insufficient_quota"), errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, True, None),
        (503, said(), errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, True, 7.0),
        (500, said(), errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, False, None),
    ],
)
def test_refusals(status, body, kind, elsewhere, again):
    refused = refusal_of(status, body, {"retry-after": "7"})
    assert isinstance(refused, Refused)
    assert (refused.failure.kind, refused.elsewhere, refused.again_seconds, refused.status) == (
        kind,
        elsewhere,
        again,
        status,
    )


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (502, b"<html>"), (503, b"{}"), (504, b"null"), (408, said())]
)
def test_what_nobody_can_tell(status, body):
    assert isinstance(refusal_of(status, body, {}), AnswerLost)


def test_what_callers_read_names_no_account_and_no_host():
    message = "Key sk-abcdefgh of org-12345678 at https://internal.example/v1 \x1b[31m" + "x" * 5000
    refused = refusal_of(400, said(message, param="p" * 500, code="Not A Code"), {})
    assert refused.failure.code == ""
    assert len(refused.failure.message) <= 300
    assert len(refused.failure.param) <= 64
    for secret in ("sk-abc", "org-123", "internal.example", "\x1b"):
        assert secret not in refused.failure.message
