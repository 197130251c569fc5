"""Where models at clouds are asked and with what proof, and what Azure adds to OpenAI's wire."""

import json

import pytest
from services.router.tests.fakes.dialects import check_chat, check_messages
from services.router.tests.unit.test_dialect_streams import opened

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_resources import Cloud, Credential, VersionChannel
from tollgate_router.adapters.credentials import EnvironmentCredentials
from tollgate_router.domain.abilities import AUDIO, EVERYTHING, TOOLS
from tollgate_router.domain.channels import prepare
from tollgate_router.domain.dialects.azure_stream import AzureStream
from tollgate_router.domain.dialects.translate import StreamTranslation, Translation, sending, smallest_chat
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.target import WIRE_BEDROCK
from tollgate_router.domain.upstream_errors import Bench, problem_of_reply
from tollgate_router.errors import CredentialMissing

pytestmark = pytest.mark.unit
CHAT, MESSAGES = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_ANTHROPIC
HI = {"messages": [{"role": "user", "content": "hi"}]}
JUDGED = {"hate": {"filtered": False, "severity": "safe"}}


def ready(secret="secret", **fields):
    base = {"name": "a", "base_url": "https://h", "credentials": [{"env": "KEY"}], "models": [{"name": "m"}]}
    channel = VersionChannel.model_validate(base | fields)
    return prepare(channel, EnvironmentCredentials({"KEY": secret}), Health(), needs_key=True)


def target(model, secret="secret", **fields):
    (found,) = ready(secret, **fields).targets(model, 1, 0, 0)
    return found


def azure(version=None, model="my-gpt"):
    auth = {"header": "api-key", "prefix": ""}
    return target(model, provider="azure", platform="azure", auth=auth, cloud=Cloud(api_version=version))


def asked(one, dialect=CHAT, body=HI, **fields):
    data = json.dumps(body).encode()
    return sending(opened(dialect, body_length=len(data), **fields), read_body(data), one, data)


# Paths.


def test_a_deployment_of_azure_is_in_the_path_and_the_key_in_its_header():
    one = azure("2024-10-21")
    head = one.request_head(b"POST", asked(one).path)
    line, rest = head.split(b"\r\n", 1)
    assert line == b"POST /openai/deployments/my-gpt/chat/completions?api-version=2024-10-21 HTTP/1.1"
    assert b"api-key: secret\r\n" in rest
    assert b"authorization" not in rest


def test_the_v1_path_of_azure_names_the_deployment_in_the_body():
    one = azure()
    found = asked(one, stream=False)
    assert one.full_path(found.path) == b"/openai/v1/chat/completions"
    assert json.loads(found.body)["model"] == "my-gpt"
    embedding = asked(one, operation=wire.OPERATION_EMBEDDINGS, body={"input": "x"}, stream=False)
    assert one.full_path(embedding.path) == b"/openai/v1/embeddings"


def test_responses_of_azure_have_their_path_beside_chats():
    one = target("my-gpt", provider="azure", platform="azure", responses=True)
    found = asked(one, wire.DIALECT_OPENAI_RESPONSES, {"input": "hi"})
    assert one.full_path(found.path) == b"/openai/v1/responses"
    assert json.loads(found.body) == {"input": "hi", "model": "my-gpt", "store": False}


def test_models_that_hear_are_asked_by_chat():
    one = ready(provider="openai", platform="", responses=True)
    for can, spoken in ((EVERYTHING, True), (TOOLS, True), (TOOLS | AUDIO, False)):
        (found,) = one.targets("m", 1, can, 0)
        assert found.responses is spoken


def test_what_is_signed_is_what_is_sent():
    cloud = Cloud(region="us-east-1")
    fields = {"provider": "bedrock", "platform": "bedrock", "wire": "bedrock", "cloud": cloud}
    one = target("us.anthropic.claude-x-v1:0", "AKIDEXAMPLE:abc", **fields)
    assert one.wire == WIRE_BEDROCK
    assert asked(one).path == b"/model/us.anthropic.claude-x-v1%3A0/converse-stream"
    proof = one.signer.proof(b"POST", one.origin.authority, one.full_path(b"/x"), b"", 1_795_955_696_000_000)
    assert b"Credential=AKIDEXAMPLE/20261129/us-east-1/bedrock/aws4_request" in proof
    assert b"abc" not in proof
    assert b"abc" not in one.header_block
    assert "abc" not in repr(one)


def test_a_key_that_is_no_pair_says_so_and_where_it_is_from():
    with pytest.raises(CredentialMissing) as caught:
        ready("s3cr3t", provider="bedrock", platform="bedrock", wire="bedrock", cloud=Cloud(region="us-east-1"))
    assert "environment variable KEY is not ACCESS_KEY_ID:SECRET_ACCESS_KEY" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("spoken", ["openai", "anthropic", "gemini", "bedrock"])
def test_the_smallest_chat_is_one_of_the_wire(spoken):
    cloud = Cloud(region="us-east-1")
    found = smallest_chat(target("m", "A:b", provider="x", platform="", wire=spoken, cloud=cloud))
    path = {
        "openai": b"/chat/completions", "anthropic": b"/messages", "gemini": b"/models/m:generateContent",
        "bedrock": b"/model/m/converse",
    }  # fmt: skip
    assert found.path == path[spoken]
    assert b"hi" in found.body


# What Azure's filter adds.


def frame(chunk):
    return b"data: %b\n\n" % json.dumps(chunk).encode()


def chunk(delta, reason=None):
    choice = {"index": 0, "delta": delta, "finish_reason": reason, "content_filter_results": JUDGED}
    return frame({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [choice]})


EMPTY = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
PROMPT = frame(EMPTY | {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": JUDGED}]})
OFFSETS = {"check_offset": 1, "start_offset": 1, "end_offset": 2}
LATE = frame(
    EMPTY
    | {
        "choices": [
            {"index": 0, "finish_reason": None, "content_filter_results": {}, "content_filter_offsets": OFFSETS}
        ]
    }
)
USED = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
USAGE = frame(
    {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [], "usage": USED}
)
STREAM = b"".join(
    (
        PROMPT,
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": 'He said "prompt_filter_results"'}),
        LATE,
        chunk({}, "stop"),
        USAGE,
        b"data: [DONE]\n\n",
    )
)


def test_judgements_do_not_reach_callers_and_all_else_does():
    plain = STREAM.replace(PROMPT, b"").replace(LATE, b"")
    for cut in range(len(STREAM)):
        one = AzureStream(usage_wanted=True)
        assert one.feed(STREAM[:cut]) + one.feed(STREAM[cut:]) + one.finish() == plain
        assert one.complete
    assert check_chat(plain, usage=True)["text"] == 'He said "prompt_filter_results"'
    assert one.usage.units == {"input": 3, "output": 2}


def test_the_first_judgement_does_not_commit_to_this_upstream():
    one = AzureStream(usage_wanted=False)
    assert one.feed(PROMPT) == b""
    error = {"error": {"code": "content_filter", "message": "The response was filtered", "status": 400}}
    assert one.feed(frame(error)) == b""
    assert one.problem.kind == errors.ERROR_KIND_CONTENT_POLICY


def test_only_a_target_at_azure_is_filtered():
    assert isinstance(asked(azure()).filter, AzureStream)
    assert not isinstance(asked(target("m", provider="x")).filter, AzureStream)


def test_other_callers_read_a_stream_of_azure():
    one = StreamTranslation(Translation(opened(MESSAGES), CHAT, {}))
    found = check_messages(one.feed(STREAM) + one.finish())
    assert found["blocks"][0]["text"] == 'He said "prompt_filter_results"'


@pytest.mark.parametrize(
    ("status", "error", "kind", "bench"),
    [
        (400, {"code": "content_filter", "message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
         errors.ERROR_KIND_CONTENT_POLICY, Bench.NONE),
        (400, {"code": "contentFilter", "message": "x"}, errors.ERROR_KIND_CONTENT_POLICY, Bench.NONE),
        (404, {"code": "DeploymentNotFound", "message": "x"}, errors.ERROR_KIND_MODEL_NOT_FOUND, Bench.NONE),
        (404, {"code": "404", "message": "Resource not found"}, errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, Bench.NONE),
        (401, {"code": "401", "message": "Access denied due to invalid subscription key or wrong API endpoint."},
         errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, Bench.CREDENTIALS),
        (429, {"code": "429", "message": "Requests have exceeded call rate limit of your current pricing tier."},
         errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, Bench.NONE),
    ],
)  # fmt: skip
def test_errors_of_azure(status, error, kind, bench):
    found = problem_of_reply(status, json.dumps({"error": error}).encode())
    assert (found.kind, found.bench) == (kind, bench)


def test_a_place_is_said_without_its_secret():
    assert Credential(env="KEY").place == "environment variable KEY"
    assert Credential(file="/a").place == "file /a"
