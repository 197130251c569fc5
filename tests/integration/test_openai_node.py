"""The current openai npm package, unmodified, against the whole product: one run of node/client.mjs, read in parts."""

import base64
import json
import struct
import subprocess
from typing import Any

import pytest
from tests.integration import node_packages
from tests.integration.product import Product

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def node() -> str:
    """The path of a Node that has the package; asked for first, so that nothing is started in vain without it."""
    return node_packages.node()


@pytest.fixture(scope="module")
def seen(node: str, product: Product) -> dict[str, Any]:
    """Everything that the package saw, by topic."""
    accepted = product.simulator_summary()["requests"]
    environment = product.environment | {"TOLLGATE_URL": product.base_url, "TOLLGATE_API_KEY": product.api_key}
    environment = {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [node, "client.mjs"],
        cwd=node_packages.FOLDER,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"accepted": product.simulator_summary()["requests"] - accepted}


def test_chat_and_streams(seen: dict[str, Any], product: Product) -> None:
    text = seen["chat"]["choices"][0]["message"]["content"]
    usage = seen["chat"]["usage"]
    assert text
    assert seen["stream"] == {"text": text, "usages": [], "last_choices": 1, "finish": ["stop"]}
    told = seen["stream_with_usage"]
    assert (told["text"], told["last_choices"], told["finish"]) == (text, 0, ["stop"])
    assert [one["total_tokens"] for one in told["usages"]] == [usage["total_tokens"]]
    assert seen["helper"] == text
    row = product.wait_row(seen["request_id"])
    assert (row["input_tokens"], row["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])


def test_embeddings(seen: dict[str, Any]) -> None:
    plain = [item["embedding"] for item in seen["embeddings_float"]["data"]]
    usual = [item["embedding"] for item in seen["embeddings"]["data"]]
    packed = [
        list(struct.unpack("<1536f", base64.b64decode(item["embedding"])))
        if isinstance(item["embedding"], str)
        else item["embedding"]
        for item in seen["embeddings_base64"]["data"]
    ]
    assert [len(one) for one in plain] == [1536, 1536]
    for one, other, third in zip(plain, usual, packed, strict=True):
        assert other == pytest.approx(one, abs=1e-6)
        assert third == pytest.approx(one, abs=1e-6)


def test_completions_and_moderations(seen: dict[str, Any]) -> None:
    assert [choice["text"][:4] for choice in seen["completion"]["choices"]] == ["One.", "Two."]
    assert seen["completion"]["usage"]["completion_tokens"] == 8
    text = "".join(chunk["choices"][0]["text"] for chunk in seen["completion_stream"])
    assert "One." + text == seen["completion"]["choices"][0]["text"]
    assert seen["moderation"]["results"][0]["categories"]["violence"] is True


def test_sound(seen: dict[str, Any]) -> None:
    assert seen["speech"] == {"type": "audio/wav", "start": "RIFF"}
    assert seen["transcript"]["usage"] == {"type": "duration", "seconds": 1}
    assert [event["type"] for event in seen["transcript_events"]][-1] == "transcript.text.done"
    assert seen["translation"]["text"]


def test_models_and_images(seen: dict[str, Any]) -> None:
    assert seen["model"]["id"] == "gpt-5-mini"
    ids = [model["id"] for model in seen["models"]]
    assert "gpt-5-mini" in ids
    assert len(ids) == len({*ids})
    assert base64.b64decode(seen["images"]["data"][0]["b64_json"]).startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    ("topic", "name", "status", "code"),
    [
        ("unauthenticated", "AuthenticationError", 401, "invalid_api_key"),
        ("unknown_model", "NotFoundError", 404, "model_not_found"),
        ("unknown_model_detail", "NotFoundError", 404, "model_not_found"),
        ("bad_request", "BadRequestError", 400, "invalid_request"),
        ("no_money", "RateLimitError", 429, "insufficient_quota"),
        ("no_money_stream", "RateLimitError", 429, "insufficient_quota"),
    ],
)
def test_errors_are_typed_and_not_sent_again(
    seen: dict[str, Any], topic: str, name: str, status: int, code: str
) -> None:
    error = seen[topic]
    assert (error["class"], error["status"], error["code"], error["requests"]) == (name, status, code, 1)
    assert error["request_id"].startswith("req_")
    assert error["message"]


def test_no_money_means_no_upstream_call(seen: dict[str, Any]) -> None:
    assert seen["no_money"]["should_retry"] == seen["no_money_stream"]["should_retry"] == "false"
    asked = [one for one in seen["sent"] if one.startswith("POST /v1/")]
    refused = [
        seen[topic] for topic in ("unauthenticated", "unknown_model", "bad_request", "no_money", "no_money_stream")
    ]
    assert seen["accepted"] == len(asked) - len(refused) == 15
