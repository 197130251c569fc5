"""Exports of providers' costs: what is read of them, and what is refused with words."""

import json

import pytest

from tollgate_billing.domain.provider_costs import MAX_BYTES, Compared, Cost, compare_costs, plain_model, read_statement
from tollgate_billing.errors import InvalidQuery

USD = 10**12
DAY = "2024-11-01"


def openai(*results, start_time=1_730_419_200):
    page = {"object": "page", "data": [{"object": "bucket", "start_time": start_time, "results": list(results)}]}
    return json.dumps(page).encode()


def openai_cost(value, item="gpt-4o-mini-2024-07-18, input", currency="usd"):
    return {"object": "organization.costs.result", "amount": {"value": value, "currency": currency}, "line_item": item}


def anthropic(*results):
    bucket = {"starting_at": "2024-11-01T00:00:00Z", "ending_at": "2024-11-02T00:00:00Z", "results": list(results)}
    return json.dumps({"data": [bucket], "has_more": False, "next_page": None}).encode()


def test_openai_answers_of_its_api():
    content = openai(openai_cost(0.06), openai_cost(1.25, None), openai_cost(0.1, "web search tool calls"))
    assert read_statement("openai", content) == [
        Cost(DAY, "gpt-4o-mini-2024-07-18", "USD", 6 * 10**10),
        Cost(DAY, "", "USD", 125 * 10**10),
        Cost(DAY, "web search tool calls", "USD", 10**11),
    ]
    pages = [json.loads(content), json.loads(openai(openai_cost(2)))]
    assert len(read_statement("openai", json.dumps(pages).encode())) == 4


def test_digits_are_taken_as_they_are_written():
    content = openai(openai_cost(0)).replace(b'"value": 0', b'"value": 0.1000000000005')
    assert read_statement("openai", content)[0].pico == 10**11
    content = openai(openai_cost(0)).replace(b'"value": 0', b'"value": 123456789.123456789012')
    assert read_statement("openai", content)[0].pico == 123456789123456789012


def test_anthropic_answers_in_cents():
    usage = {"currency": "USD", "amount": "123.45", "model": "claude-haiku-4-5-20251001", "cost_type": "tokens"}
    search = {"currency": "USD", "amount": "1000", "model": None, "cost_type": "web_search"}
    assert read_statement("anthropic", anthropic(usage, search)) == [
        Cost(DAY, "claude-haiku-4-5-20251001", "USD", 12345 * 10**8),
        Cost(DAY, "", "USD", 10 * USD),
    ]


def test_exports_as_csv():
    openai_csv = (
        "\ufeffstart_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item\n"
        '1730419200,1730505600,2024-11-01T00:00:00+00:00,2024-11-02T00:00:00+00:00,0.5,usd,"gpt-4o, output"\n'
    )
    assert read_statement("openai", openai_csv.encode()) == [Cost(DAY, "gpt-4o", "USD", USD // 2)]
    anthropic_csv = (
        "usage_date_utc,model,workspace,token_type,cost_usd\r\n"
        "2024-11-01,Claude Haiku 4.5,Default,output,0.02\r\n"
        '2024-11-02,"Claude Haiku 4.5",Default,input_no_cache,1e-3\r\n'
    )
    assert read_statement("anthropic", anthropic_csv.encode()) == [
        Cost(DAY, "Claude Haiku 4.5", "USD", 2 * 10**10),
        Cost("2024-11-02", "Claude Haiku 4.5", "USD", 10**9),
    ]


@pytest.mark.parametrize(
    ("provider", "content", "words"),
    [
        ("azure", b"{}", "allowed: openai, anthropic"),
        ("openai", b"", "neither JSON nor CSV"),
        ("openai", b"\xff\xfe", "no UTF-8"),
        ("openai", b"{", "no JSON"),
        ("openai", b"[" * 100_000, "no JSON"),
        ("openai", b"{}", "no list 'data'"),
        ("openai", b'{"data": [1]}', "data[0] has no list 'results'"),
        ("openai", b'{"data": []}', "no amounts"),
        ("openai", openai(1), "data[0].results[0] is no object"),
        ("openai", openai({}), "has no 'amount'"),
        ("openai", openai(openai_cost(None)), "is no amount"),
        ("openai", openai(openai_cost(0)).replace(b'"value": 0', b'"value": NaN'), "is no amount"),
        ("openai", openai(openai_cost(0)).replace(b'"value": 0', b'"value": 1e999999'), "is no amount"),
        ("openai", openai(openai_cost(1, currency="dollars")), "is no currency"),
        ("openai", openai(openai_cost(1), start_time=None), "is no day"),
        ("openai", openai(openai_cost(1), start_time="99999999999"), "is no day"),
        ("anthropic", anthropic({"amount": "x"}), "is no amount"),
        ("anthropic", b"usage_date_utc,cost_usd\n2024-11-01,6e9963065", "is no amount"),
        ("anthropic", b"usage_date_utc,cost_usd\n2024-11-01,1e9", "is no amount"),
        ("anthropic", b"usage_date_utc,model\n2024-11-01,x\n", "cost_usd"),
        ("anthropic", b"usage_date_utc,model,cost_usd\nyesterday,x,1\n", "line 2: 'yesterday' is no day"),
        ("anthropic", b"usage_date_utc,model,cost_usd\n2024-11-01,x\n", "line 2: 'None' is no amount"),
        ("anthropic", b'usage_date_utc,model,cost_usd\n2024-11-01,"x,1\n', "is no amount"),
        ("openai", b" " * (MAX_BYTES + 1), "at most"),
        ("anthropic", b"usage_date_utc,cost_usd\n" + b"2024-11-01,1\n" * 50_001, "at most 50000 amounts"),
    ],
)
def test_what_cannot_be_read_says_why(provider, content, words):
    with pytest.raises(InvalidQuery) as found:
        read_statement(provider, content)
    assert words in str(found.value)


def test_models_are_compared_in_one_spelling():
    assert plain_model("gpt-4o-mini-2024-07-18") == plain_model("GPT-4o mini") == "gpt-4o-mini"
    assert plain_model("claude-haiku-4-5-20251001") == plain_model("Claude Haiku 4.5") == "claude-haiku-4-5"


def test_both_sides_by_day_and_model_and_by_day_where_no_model_is_named():
    theirs = [
        Cost("2024-11-01", "Claude Haiku 4.5", "USD", 5),
        Cost("2024-11-01", "claude-haiku-4-5", "USD", 2),
        Cost("2024-11-02", "", "USD", 9),
    ]
    ours = [
        Cost("2024-11-01", "claude-haiku-4-5-20251001", "USD", 6),
        Cost("2024-11-01", "claude-opus-4-1", "USD", 3),
        Cost("2024-11-02", "claude-opus-4-1", "USD", 4),
        Cost("2024-11-02", "claude-haiku-4-5", "USD", 4),
        Cost("2024-11-03", "claude-haiku-4-5", "USD", 100),
    ]
    assert compare_costs(theirs, ours) == [
        Compared("2024-11-01", "claude-haiku-4-5", "USD", 7, 6),
        Compared("2024-11-01", "claude-opus-4-1", "USD", 0, 3),
        Compared("2024-11-02", "", "USD", 9, 8),
    ]
