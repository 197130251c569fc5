"""Price lists of other gateways: the worked examples by hand, and what is said about each entry that is wrong."""

import json

import pytest

from tollgate_resources import PriceBook
from tollgate_resources.imports import Unreadable, read_litellm, read_newapi
from tollgate_resources.price_diff import price_diff

pytestmark = pytest.mark.unit

COST_MAP = b"""{
  "sample_spec": {"input_cost_per_token": 0.0000},
  "gpt-x": {"litellm_provider": "openai", "mode": "chat", "max_tokens": 4096,
    "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-07,
    "input_cost_per_token_flex": 6.25e-07, "output_cost_per_token_priority": 2e-05,
    "search_context_cost_per_query": {"search_context_size_low": 0.03, "search_context_size_high": 0.05}},
  "gemini-y": {"input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
    "input_cost_per_token_above_200k_tokens": 2.5e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05,
    "input_cost_per_audio_per_second": 1e-3},
  "sora-z": {"mode": "video_generation", "output_cost_per_second": 0.1, "output_cost_per_second_1080p": 0.5},
  "tts-1": {"mode": "audio_speech", "input_cost_per_character": 1.5e-05},
  "nothing": {"max_tokens": 10}
}"""


def test_a_cost_map_becomes_a_book():
    found = read_litellm(COST_MAP)
    assert found.errors == []
    assert found.models == {
        "gpt-x": {"input": "1.25", "output": "10", "cache_read": "0.125", "search": "0.05"},
        "gemini-y": {"input": "1.25", "output": "10"},
        "sora-z": {"video": "0.1", "video:1080p": "0.5"},
        "tts-1": {"character": "15"},
    }
    assert found.tiers == {
        "gpt-x": [
            {"service": "flex", "prices": {"input": "0.625"}},
            {"service": "priority", "prices": {"output": "20"}},
        ],
        "gemini-y": [{"context_over": 200_000, "prices": {"input": "2.5", "output": "15"}}],
    }
    said = {str(remark) for remark in found.remarks}
    assert any("gemini-y: input_cost_per_audio_per_second is not imported" in text for text in said)
    assert "line 12, nothing: left out: it has no price" in said
    book = PriceBook.model_validate(found.book("public", "2026-01-01T00:00:00Z")).rated()
    assert book.price("gpt-x", "").rate({"input": 1000}, 0, "flex") == 1000 * 625_000
    assert book.price("gemini-y", "").rate({"input": 200_001}) == 200_001 * 2_500_000


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input_cost_per_token": -1}, "not a number of 0 or above"),
        ({"input_cost_per_token": "0.1"}, "not a number of 0 or above"),
        ({"input_cost_per_token": True}, "not a number of 0 or above"),
        ({"input_cost_per_token": 1e12}, "not a number of 0 or above"),
        ({"input_cost_per_query": 1, "input_cost_per_request": 2}, "two fields price request"),
        ({"input_cost_per_token_flex": 1e-6}, "no field with a price"),
        ({"search_context_cost_per_query": 1}, "object of sizes"),
        ([], "an object of fields"),
    ],
)
def test_a_bad_entry_is_named_with_its_line_and_left_out(fields, said):
    text = json.dumps({"good": {"input_cost_per_token": 1e-6}, "bad": fields}, indent=1).encode()
    found = read_litellm(text)
    assert list(found.models) == ["good"]
    (error,) = found.errors
    assert error.entry == "bad"
    assert text.decode().splitlines()[error.line - 1].startswith(' "bad":')
    assert said in error.text


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b'{"m": {"input_cost_per_token": NaN}}', b"\xff", b"[" * 9999])
def test_what_is_no_cost_map_is_refused_whole(content):
    with pytest.raises(Unreadable):
        read_litellm(content)


SETTINGS = {
    "ModelRatio": json.dumps({"gpt-4o": 1.25, "claude": 1.5, "voice": 1, "unknown": 2}),
    "CompletionRatio": {"gpt-4o": 4, "claude": 5, "voice": 2},
    "CacheRatio": {"gpt-4o": 0.5, "claude": 0.1},
    "CreateCacheRatio": {"claude": 1.25},
    "AudioRatio": {"voice": 16},
    "AudioCompletionRatio": {"voice": 2},
    "ModelPrice": {"mj_imagine": 0.1, "sora-2": 0.3},
    "GroupRatio": {"default": 1, "VIP": 0.8, "bad group": 2},
    "billing_setting.billing_mode": {"tiered": "tiered_expr"},
}


def test_ratio_settings_become_a_book():
    found = read_newapi(json.dumps(SETTINGS, indent=1).encode())
    assert found.models == {
        "gpt-4o": {
            "input": "2.5",
            "output": "10",
            "cache_read": "1.25",
            "cache_write_5m": "3.125",
            "cache_write_1h": "5",
        },
        "claude": {
            "input": "3",
            "output": "15",
            "cache_read": "0.3",
            "cache_write_5m": "3.75",
            "cache_write_1h": "6",
        },
        "voice": {"input": "2", "output": "4", "audio_input": "32", "audio_output": "64"},
        "mj_imagine": {"request": "0.1", "input": "0", "output": "0", "image": "0"},
        "sora-2": {"video": "0.3"},
    }
    assert found.groups == {"vip": {"multiply": "0.8"}}
    assert {error.entry for error in found.errors} == {"unknown", "group bad group"}
    PriceBook.model_validate(found.book("public", "2026-01-01T00:00:00Z")).rated()


def test_the_answer_of_a_running_instance_and_other_quota_units():
    answer = {
        "success": True,
        "data": {"model_ratio": {"m": 1}, "completion_ratio": {"m": 3}, "QuotaPerUnit": "250000"},
    }
    assert read_newapi(json.dumps(answer).encode()).models == {"m": {"input": "4", "output": "12"}}
    rows = [{"key": "ModelRatio", "value": '{"m": 0.07142857142857}'}, {"key": "CompletionRatio", "value": '{"m": 1}'}]
    found = read_newapi(json.dumps(rows).encode())
    assert found.models["m"]["input"] == "0.142857142857"
    assert "rounded" in found.remarks[0].text


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ModelRatio": 1},
        {"ModelRatio": "{"},
        {"ModelRatio": {"m": 1}, "QuotaPerUnit": 0},
        {"CompletionRatio": {"m": 1}},
    ],
)
def test_what_is_no_ratio_settings_is_refused_whole(settings):
    with pytest.raises(Unreadable):
        read_newapi(json.dumps(settings).encode())


def test_a_model_that_is_priced_by_an_expression_is_named():
    settings = {**SETTINGS, "billing_setting.billing_mode": {"gpt-4o": "tiered_expr"}}
    (error,) = [one for one in read_newapi(json.dumps(settings).encode()).errors if one.entry == "gpt-4o"]
    assert "expression" in error.text


def test_a_diff_names_every_price_that_differs():
    def book(**more):
        plain = {"name": "public", "effective": "2026-01-01T00:00:00Z", "currency": "USD"}
        return PriceBook.model_validate(plain | more)

    old = book(
        models={"a": {"input": "1.50", "output": "2"}, "b": {"input": "1"}},
        tiers={"a": [{"service": "flex", "multiply": "0.5"}]},
        groups={"vip": {"multiply": "0.9"}},
    )
    new = book(
        models={"a": {"input": "1.5", "output": "2.5"}, "c": {"input": "0"}},
        tiers={"a": [{"service": "flex", "prices": {"input": "1"}}]},
        groups={"vip": {"multiply": "0.8", "models": {"a": {"input": "1"}}}},
    )
    changes = {(one.model, one.where, one.unit): (one.old, one.new, one.percent) for one in price_diff(old, new)}
    assert changes == {
        ("a", "", "output"): ("2", "2.5", "+25"),
        ("b", "", "input"): ("1", None, None),
        ("c", "", "input"): (None, "0", None),
        ("a", "service flex", "×"): ("0.5", None, None),
        ("a", "service flex", "input"): (None, "1", None),
        ("", "group vip", "×"): ("0.9", "0.8", "-11.1111"),
        ("a", "group vip", "input"): (None, "1", None),
    }
    assert price_diff(old, old) == []
