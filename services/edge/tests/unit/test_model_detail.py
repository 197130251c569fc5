"""What `GET /v1/models?detail=true` says beside the names."""

import json

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate_edge.api.model_detail import detail, price_of
from tollgate_edge.ports import EdgeModel
from tollgate_rating import PriceBook, PriceTable

pytestmark = pytest.mark.unit
PRICES = {"input": "0.25", "output": "2", "cache_read": "0.025", "request": "0.01"}
TABLE = PriceTable([PriceBook(name="public", effective_us=0, currency="USD", models={"able": PRICES})])
ABLE = EdgeModel(
    "able",
    "chat",
    "openai",
    7,
    context=1000,
    max_output=100,
    abilities=("image_input", "pdf_input", "reasoning", "tools", "audio_output"),
    aliases=("able-2026-01-01",),
    retires="2027-04-01",
)


def test_everything_that_is_known():
    assert detail(ABLE, price_of(TABLE, "able", "default", 1, "USD")) == {
        "name": "able",
        "architecture": {
            "modality": "text+image+file->text+audio",
            "input_modalities": ["text", "image", "file"],
            "output_modalities": ["text", "audio"],
        },
        "abilities": ["image_input", "pdf_input", "reasoning", "tools", "audio_output"],
        "context_length": 1000,
        "top_provider": {"context_length": 1000, "max_completion_tokens": 100},
        "supported_parameters": [
            "max_tokens", "reasoning_effort", "stop", "stream", "temperature", "tool_choice", "tools", "top_p",
        ],
        "aliases": ["able-2026-01-01"],
        "expiration_date": "2027-04-01",
        "pricing": {
            "prompt": "0.00000025",
            "completion": "0.000002",
            "input_cache_read": "0.000000025",
            "request": "0.01",
            "currency": "USD",
        },
    }  # fmt: skip


def test_what_is_not_known_is_missing():
    bare = detail(EdgeModel("mine", "", "me", 0), price_of(TABLE, "mine", "default", 1, ""))
    assert set(bare) == {"name", "architecture", "abilities"}
    assert price_of(TABLE, "able", "default", 1, "CNY") is None
    vectors = detail(EdgeModel("v", "embedding", "me", 0), None)
    assert vectors["architecture"]["output_modalities"] == ["embeddings"]


async def test_detail_comes_when_it_is_asked_for(world):
    asked = {"detail": "true"}
    listed = (await world.client.get("/v1/models", params=asked, headers=world.bearer)).json()
    assert listed["data"][0]["architecture"]["input_modalities"] == ["text"]
    assert "null" not in json.dumps(listed)
    one = (await world.client.get("/v1/models/gpt", params=asked, headers=world.bearer)).json()
    assert one == listed["data"][0]
    refused = await world.client.get("/v1/models", params={"detail": "much"}, headers=world.bearer)
    check_error(refused, 400, "invalid_request", "detail")
