"""The published description of the API, and what random requests drawn from it have found."""

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate_edge.api import described, replies

pytestmark = pytest.mark.unit

# These are asked without a body.
NOTHING_SAID = {
    "POST /v1/responses/{response}/cancel",
    "POST /api/v1/keys/{key_id}/revoke",
    "POST /api/v1/codes/{code_id}/revoke",
    "POST /api/v1/destinations/{destination_id}/test",
}


@pytest.fixture
async def operations(world):
    """What is described, by method and path."""
    reply = await world.client.get("/api/openapi.json")
    assert reply.status_code == 200
    return {
        f"{method.upper()} {path}": operation
        for path, methods in reply.json()["paths"].items()
        for method, operation in methods.items()
    }


async def test_every_body_is_described_and_nothing_that_is_not_there(operations):
    asked = {name for name in operations if name.startswith(("POST", "PUT", "PATCH"))}
    assert {name for name in asked if "requestBody" not in operations[name]} == NOTHING_SAID
    known = [*described.BODIES, *described.FORMS, *described.FILES, *described.OPEN, *described.OPTIONAL]
    known += [*replies.REPLIES, *replies.TYPES]
    assert set(known) <= set(operations)


async def test_errors_are_described_in_the_dialect_of_the_path(operations):
    def error(name):
        return operations[name]["responses"]["4XX"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]

    assert error("POST /v1/chat/completions") == "Error"
    assert error("POST /v1/messages") == "AnthropicError"
    assert error("POST /v1beta/models/{model}:generateContent") == "GeminiError"
    assert error("POST /v1/rerank") == "RerankError"
    assert all("422" not in one["responses"] for one in operations.values())


async def test_what_needs_no_key_says_so(operations, world):
    for name in ("GET /api/status", "GET /v1/connection"):
        assert operations[name]["security"] == []
        assert (await world.client.get(name.partition(" ")[2])).status_code == 200
    assert operations["GET /v1/models"]["security"]
    check_error(await world.client.get("/v1/models"), 401, "invalid_api_key")


@pytest.mark.parametrize("messages", ["hello", [None], [["user", "hello"]], {"role": "user"}])
async def test_only_messages_are_counted(world, messages):
    asked = {"model": "gpt", "messages": messages}
    reply = await world.client.post("/v1/messages/count_tokens", json=asked, headers=world.bearer)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "messages")
    path = "/v1beta/models/gpt:countTokens"
    reply = await world.client.post(path, json={"contents": messages}, headers=world.bearer)
    assert (reply.status_code, reply.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "more",
    [{"system": 7}, {"tools": "x"}, {"messages": [{"role": 7, "content": "a"}]}, {"messages": [{"content": "a"}]}],
)
async def test_what_is_counted_is_of_the_right_kind(world, more):
    asked = {"model": "gpt", "messages": [{"role": "user", "content": "a"}], **more}
    reply = await world.client.post("/v1/messages/count_tokens", json=asked, headers=world.bearer)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, *more)


@pytest.mark.parametrize(
    "more",
    [{"systemInstruction": 7}, {"system_instruction": 7}, {"tools": "x"}, {"contents": [{"role": 7, "parts": []}]}],
)
async def test_what_is_counted_of_contents_is_of_the_right_kind(world, more):
    asked = {"contents": [{"parts": [{"text": "a"}]}], **more}
    reply = await world.client.post("/v1beta/models/gpt:countTokens", json=asked, headers=world.bearer)
    assert (reply.status_code, reply.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert reply.json()["error"]["message"].startswith(*more)


async def test_words_of_a_system_are_counted_in_both_spellings(world):
    counts = []
    for name in ("systemInstruction", "system_instruction"):
        asked = {"contents": [{"parts": [{"text": "a"}]}], name: {"parts": [{"text": "a" * 4000}]}}
        reply = await world.client.post("/v1beta/models/gpt:countTokens", json=asked, headers=world.bearer)
        counts.append(reply.json()["totalTokens"])
    assert min(counts) > 1000


async def test_a_model_that_is_not_there_counts_nothing(world):
    asked = {"model": "none", "messages": [{"role": "user", "content": "a"}]}
    reply = await world.client.post("/v1/messages/count_tokens", json=asked, headers=world.bearer)
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")
    for name in ("none", "vendor/none:free"):
        path = f"/v1beta/models/{name}:countTokens"
        reply = await world.client.post(path, json={"contents": [{"parts": []}]}, headers=world.bearer)
        assert (reply.status_code, reply.json()["error"]["status"]) == (404, "NOT_FOUND")
        assert f"'{name}'" in reply.json()["error"]["message"]
    path = "/v1beta/models/vendor/pic:countTokens"
    reply = await world.client.post(path, json={"contents": [{"parts": []}]}, headers=world.bearer)
    assert reply.status_code == 200


@pytest.mark.parametrize("name", ["models", "cidrs", "tags"])
async def test_what_a_key_lists_is_as_long_as_a_name_can_be(world, name):
    reply = await world.client.post("/api/v1/keys", json={name: ["x" * 201]}, headers=world.operator)
    check_error(reply, 400, "invalid_request", name)


async def test_as_many_tags_as_are_described_are_taken(world):
    most = described.BODIES["POST /api/v1/keys"]["properties"]["tags"]["maxItems"]
    tags = [f"tag-{number}" for number in range(most)]
    reply = await world.client.post("/api/v1/keys", json={"tags": tags}, headers=world.operator)
    assert reply.status_code == 201


@pytest.mark.parametrize("path", ["balance", "ledger", "ledger/transfers", "forecast", "topups"])
async def test_an_organization_that_is_not_there_has_no_figures(world, path):
    reply = await world.client.get(f"/api/v1/{path}?organization_id=org_none", headers=world.operator)
    check_error(reply, 404, "not_found", "organization_id")
