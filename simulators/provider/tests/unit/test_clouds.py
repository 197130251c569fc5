"""What the simulated clouds refuse, as the vendors do: keys, signatures, times, tokens and bodies."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from tollgate_simulator_provider import aws_signature, azure, bedrock, vertex
from tollgate_simulator_provider.clouds import AtAzure, AtBedrock, AtVertex, Clouds
from tollgate_simulator_provider.refusals import Refused

pytestmark = pytest.mark.unit
# The published key of the vendor's examples, and a request that its own client signed (botocore 1.44.8).
KEYS = {"AKIDEXAMPLE": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
PATH = b"/bedrock/model/openai.gpt-oss-120b-1%3A0/converse"
SCOPE = "AKIDEXAMPLE/20261129/us-west-2/bedrock/aws4_request"
SIGNATURE = "5a15ff72793168421c4df94382c4d911c6caf332e26c9b77b66542ce2c8b0ef2"
HEADERS = {
    b"content-type": b"application/json",
    b"host": b"127.0.0.1:8090",
    b"x-amz-date": b"20261129T123456Z",
    b"authorization": (
        f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=content-type;host;x-amz-date, Signature={SIGNATURE}"
    ).encode(),
}
NOW = datetime(2026, 11, 29, 12, 35, tzinfo=UTC)


def verify(body=b"", path=PATH, headers=HEADERS, now=NOW, keys=KEYS):
    aws_signature.check(path, b"", headers, body, keys, now)


def test_what_the_vendors_client_signed_passes():
    verify()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"body": b"{}"}, "InvalidSignatureException"),
        ({"path": PATH + b"-stream"}, "InvalidSignatureException"),
        ({"headers": HEADERS | {b"host": b"elsewhere"}}, "InvalidSignatureException"),
        ({"headers": HEADERS | {b"x-amz-security-token": b"t"}}, "InvalidSignatureException"),
        ({"headers": HEADERS | {b"authorization": b"Bearer x"}}, "MissingAuthenticationTokenException"),
        ({"headers": HEADERS | {b"x-amz-date": b"today"}}, "IncompleteSignatureException"),
        ({"keys": {"OTHER": "x"}}, "UnrecognizedClientException"),
        ({"keys": {"AKIDEXAMPLE": "x"}}, "InvalidSignatureException"),
    ],
)
def test_signatures_that_do_not_fit(change, code):
    with pytest.raises(Refused) as caught:
        verify(**change)
    assert (caught.value.status, caught.value.code) == (403, code)


@pytest.mark.parametrize(("seconds", "words"), [(310, "expired"), (-310, "not yet current")])
def test_clocks_that_differ(seconds, words):
    with pytest.raises(Refused, match=f"Signature {words}"):
        verify(now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("deployment", "query", "headers", "status"),
    [
        ("d", b"api-version=2024-10-21", {b"authorization": b"Bearer x"}, 401),
        ("d", b"api-version=2024-10-21", {b"api-key": b"x", b"authorization": b"Bearer x"}, 401),
        ("d", b"", {b"api-key": b"x"}, 404),
        ("d", b"api-version=newest", {b"api-key": b"x"}, 404),
        ("missing", b"api-version=2024-10-21", {b"api-key": b"x"}, 404),
        ("", b"api-version=2024-10-21", {b"api-key": b"x"}, 400),
    ],
)
def test_what_azure_refuses(deployment, query, headers, status):
    with pytest.raises(Refused) as caught:
        azure.check(deployment, query, headers)
    assert caught.value.status == status


def test_tokens_of_entra_are_given_to_the_application_and_hold_at_azure():
    application = azure.Application()
    known = application.known("http://h")
    form = {
        "grant_type": "client_credentials", "client_id": known["client"], "client_secret": known["secret"],
        "scope": azure.SCOPE,
    }  # fmt: skip
    status, given = application.token(known["tenant"], urlencode(form).encode())
    assert (status, given["token_type"]) == (200, "Bearer")
    bearer = {b"authorization": f"Bearer {given['access_token']}".encode()}
    azure.check("d", b"api-version=2024-10-21", bearer, application)
    for headers in (bearer | {b"api-key": b"x"}, {b"authorization": b"Bearer guess"}):
        with pytest.raises(Refused):
            azure.check("d", b"api-version=2024-10-21", headers, application)
    wrong = [
        (known["tenant"], {"grant_type": "password"}, 400, "unsupported_grant_type"),
        (known["tenant"], {"client_id": "x"}, 400, "unauthorized_client"),
        (known["tenant"], {"client_secret": "x"}, 401, "invalid_client"),
        (known["tenant"], {"scope": "https://ai.azure.com/.default"}, 400, "invalid_scope"),
        ("another", {}, 400, "invalid_request"),
    ]
    for tenant, change, status, error in wrong:
        found = application.token(tenant, urlencode(form | change).encode())
        assert (found[0], found[1]["error"]) == (status, error)


HI = [{"role": "user", "content": [{"text": "hi"}]}]
USE = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "t1", "content": [{"text": "x"}]}}
TOOLS = {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]}
DOCUMENT = {"document": {"format": "pdf", "name": "a  b", "source": {"bytes": "eA=="}}}


def turns(*content):
    return [
        {"role": "assistant" if place % 2 else "user", "content": list(blocks)} for place, blocks in enumerate(content)
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": HI, "model": "m"},
        {"messages": HI, "inferenceConfig": {"max_tokens": 1}},
        {"messages": HI, "inferenceConfig": {"temperature": 1.5}},
        {"messages": [*HI, *HI]},
        {"messages": turns([{"text": " "}])},
        {"messages": turns([{"text": "x", "cachePoint": {"type": "default"}}])},
        {"messages": turns([{"type": "text"}])},
        {"messages": turns([DOCUMENT])},
        {"messages": turns([{"image": {"format": "bmp", "source": {"bytes": "eA=="}}}])},
        {"messages": turns([{"image": {"format": "png", "source": {"bytes": "?"}}}])},
        {"messages": turns([{"text": "x"}], [USE], [RESULT])},
        {"messages": turns([{"text": "x"}], [USE], [{"text": "y"}]), "toolConfig": TOOLS},
        {
            "messages": turns(
                [{"text": "x"}], [{"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}}]
            )
        },
        {"messages": HI, "toolConfig": {"tools": []}},
        {"messages": HI, "toolConfig": TOOLS | {"toolChoice": {"none": {}}}},
        {"messages": HI, "system": [{"text": ""}]},
    ],
)
def test_what_converse_refuses(body):
    with pytest.raises(Refused) as caught:
        bedrock.check(body, "amazon.nova-pro-v1:0")
    assert caught.value.status == 400


def test_what_converse_takes():
    bedrock.check({"messages": turns([{"text": "x"}], [USE], [RESULT]), "toolConfig": TOOLS}, "amazon.nova-pro-v1:0")
    with pytest.raises(Refused, match="identifier"):
        bedrock.check({"messages": HI}, "not a model")


@pytest.mark.parametrize("body", [{}, {"anthropic_version": "2023-06-01"}])
def test_what_claude_at_vertex_refuses(body):
    with pytest.raises(Refused):
        vertex.check_claude(body)
    with pytest.raises(Refused):
        vertex.check_claude({"anthropic_version": vertex.VERSION, "model": "m"})


def test_tokens_are_given_for_assertions_only():
    accounts = vertex.Accounts()
    assert accounts.token(b"grant_type=password", "http://h")[0] == 400
    accounts.file("http://h")
    for assertion in ("", "a.b", "e30.e30.AAAA"):
        status, said = accounts.token(
            urlencode({"grant_type": vertex.GRANT, "assertion": assertion}).encode(), "http://h"
        )
        assert (status, said["error"]) == (400, "invalid_grant")
    with pytest.raises(Refused):
        accounts.check({b"authorization": b"Bearer ya29.simulated-guess"})


@pytest.mark.parametrize(
    ("path", "kind", "operation"),
    [
        ("/azure/openai/deployments/d/chat/completions", AtAzure, "chat"),
        ("/azure/openai/v1/embeddings", AtAzure, "embeddings"),
        ("/bedrock/model/amazon.titan-embed-text-v2:0/invoke", AtBedrock, "invoke"),
        ("/vertex/v1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict", AtVertex, "predict"),
        ("/bedrock/model/arn:aws:bedrock:us-east-1:1:inference-profile/x/converse-stream", AtBedrock, "converse"),
        ("/vertex/v1/projects/p/locations/global/publishers/google/models/g:generateContent", AtVertex, "contents"),
        ("/vertex/v1/projects/p/locations/l/publishers/anthropic/models/c@1:streamRawPredict", AtVertex, "messages"),
    ],
)
def test_paths_lead_to_their_clouds(path, kind, operation):
    found = Clouds().find(path, path.encode())
    assert isinstance(found, kind)
    assert found.operation == operation
    assert Clouds().find("/v1/chat/completions", b"") is None
