"""What a request counts ahead, and how limits are said."""

import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.domain.limits import NO_LIMITS, BudgetWindow, Limits, budget_window, limit_set
from tollgate_edge.inference.fields import Asked
from tollgate_edge.inference.limits import Ticket, expected_tokens, spoken, tokens_of
from tollgate_edge.ports import EdgeModel
from tollgate_holds import LimitSet, Scope

pytestmark = pytest.mark.unit

# 2026-11-24T12:00:00Z, and half a second.
NOW_US = 1_795_521_600_500_000
LIMITS = LimitSet("org_1", (Scope("key", "key_1", requests=60, tokens=5000), Scope("project", "proj_1", slots=7)))


def ticket(*verdict, tokens=40):
    made = Ticket(LIMITS, tokens)
    made.verdict = list(verdict)
    return made


@pytest.mark.parametrize(
    ("wait_ms", "said"), [(0, "0s"), (1, "1s"), (1000, "1s"), (1001, "2s"), (59_001, "1m0s"), (360_000, "6m0s")]
)
def test_times_are_whole_seconds_rounded_up(wait_ms, said):
    assert spoken(wait_ms) == said.encode()


def test_headers_tell_the_narrowest_limits():
    lines = ticket(1, 1764, 1, 59, 59_500, 1, 4960, 60_000, 0).header_lines().decode()
    assert lines.endswith("\r\n")
    assert lines.splitlines() == [
        "x-ratelimit-limit-requests: 60",
        "x-ratelimit-remaining-requests: 59",
        "x-ratelimit-reset-requests: 1m0s",
        "x-ratelimit-limit-tokens: 5000",
        "x-ratelimit-remaining-tokens: 4960",
        "x-ratelimit-reset-tokens: 1m0s",
    ]
    assert ticket(1, 1764, 0, 0, 0, 0, 0, 0, 0).header_lines() == b""
    lines = ticket(1, 1764, 1, 0, 500, 0, 0, 0, 0).header_lines().decode().splitlines()
    assert [line.partition(": ")[2] for line in lines] == ["60", "0", "1s"]


def test_headers_before_redis_answered_are_none():
    assert ticket().header_lines() == b""
    assert ticket().second == 0


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (
            (1, 1, 60, 12_001),
            "requests per minute of key key_1: limit 60, used 60, requested 1. Please try again in 13s.",
        ),
        (
            (2, 1, 4980, 900),
            "tokens per minute of key key_1: limit 5000, used 4980, requested 40. Please try again in 1s.",
        ),
        ((3, 2, 7, 0), "concurrent requests of project proj_1: limit 7, open 7. Please try again in 1s."),
    ],
)
def test_a_refusal_says_which_limit_of_whom_and_for_how_long(refusal, said):
    error = ticket(5, 0, 1, 0, 12_001, 1, 20, 900, 0, *refusal).refusal(NOW_US)
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert error.message == f"Rate limit reached for {said}"
    wait_ms = refusal[3] or 1000
    assert error.headers == {"retry-after": str(-(-wait_ms // 1000)), "retry-after-ms": str(wait_ms)}


def test_a_request_that_never_fits_is_not_to_be_sent_again():
    error = ticket(5, 0, 1, 1, 0, 1, 5000, 0, 0, 2, 1, 0, -1, tokens=6000).refusal(NOW_US)
    assert (error.status, error.code) == (429, "rate_limit_exceeded")
    assert "too large for tokens per minute of key key_1: limit 5000, used 0, requested 6000" in error.message
    assert error.headers == {"x-should-retry": "false"}


@pytest.mark.parametrize(
    ("size", "output", "choices", "model", "tokens"),
    [
        (400, 50, 1, None, 151),
        (400, 50, 3, None, 251),
        (400, None, 1, None, 101 + 1024),
        (400, None, 1, EdgeModel("m", "chat", "o", 0, 0, 256), 101 + 256),
        (400, None, 1, EdgeModel("m", "chat", "o", 0, 0, 100_000), 101 + 1024),
        (4_000_000, 0, 1, EdgeModel("m", "chat", "o", 0, 8_000, 0), 8_000),
        (0, 0, 1, None, 1),
    ],
)
def test_a_request_counts_its_text_and_the_output_it_allows(size, output, choices, model, tokens):
    asked = Asked("m", stream=False, usage_wanted=False, max_output_tokens=output, choices=choices)
    assert expected_tokens(size, asked, model) == tokens


def test_every_kind_of_token_is_counted_once():
    names = [field.name for field in wire.Usage.DESCRIPTOR.fields if field.name.endswith("_tokens")]
    usage = wire.Usage(**{name: 2**place for place, name in enumerate(names)}, requests=10**6)
    assert tokens_of(usage) == 2 ** len(names) - 1
    assert tokens_of(wire.Usage()) == 0


def test_only_scopes_that_limit_something_are_counted():
    assert limit_set("org_1", NO_LIMITS.scope("key", "k"), NO_LIMITS.scope("project", "p")) is None
    found = limit_set("org_1", NO_LIMITS.scope("key", "k"), Limits(tokens_per_minute=5).scope("project", "p"))
    assert found.scopes == (Scope("project", "p", tokens=5),)
    assert found.counts_tokens
    assert not limit_set("org_1", Limits(concurrency=5).scope("key", "k")).counts_tokens
    assert found.keys == (b"{org_1}:window:project:p", b"{org_1}:slots:project:p", b"{org_1}:budget:project:p")
    assert found.arguments == (1, 0, 5, 0, 0, "m")
    assert limit_set("org_1", Limits(budget_pico=7, budget_window="day").scope("key", "k")).arguments == (
        1, 0, 0, 0, 7, "d",
    )  # fmt: skip


@pytest.mark.parametrize(
    "limit",
    [
        {"requests": -1},
        {"tokens": 10**12 + 1},
        {"slots": -5},
        {"budget_pico": -1},
        {"budget_pico": 2**63},
        {"budget_window": "week"},
        {"id": "a,b"},
        {"id": "a@b"},
        {"id": ""},
    ],
)
def test_limits_that_a_script_cannot_count_are_refused(limit):
    with pytest.raises(ValueError):
        Scope(**{"kind": "key", "id": "k"} | limit)


@pytest.mark.parametrize(
    ("kind", "name", "begin", "end"),
    [
        ("day", "2026-11-24", 1_795_478_400, 1_795_564_800),
        ("month", "2026-11", 1_793_491_200, 1_796_083_200),
        ("total", "all", 0, 0),
    ],
)
def test_windows_of_budgets(kind, name, begin, end):
    assert budget_window(kind, NOW_US) == BudgetWindow(name, begin * 1_000_000, end * 1_000_000)


def test_december_is_followed_by_january():
    december = budget_window("month", 1_798_700_000_000_000)
    assert december.name == "2026-12"
    assert budget_window("month", december.end_us).name == "2027-01"
    assert budget_window("month", december.end_us - 1).name == "2026-12"


@pytest.mark.parametrize(
    ("window", "said", "wait"),
    [
        ("month", "2.5 a month. It begins anew at 2026-12-01T00:00:00Z", "561600"),
        ("day", "2.5 a day. It begins anew at 2026-11-25T00:00:00Z", "43200"),
        ("total", "2.5 in total", None),
    ],
)
def test_a_budget_that_is_used_up_says_when_it_begins_anew(window, said, wait):
    scope = Scope("project", "p", budget_pico=25 * 10**11, budget_window=window)
    made = Ticket(LimitSet("org_1", (scope,)), 0)
    made.verdict = [7, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0]
    error = made.refusal(NOW_US)
    assert (error.status, error.code, error.headers["x-should-retry"]) == (429, "insufficient_quota", "false")
    assert f"budget of project p has too little left for this request: {said}" in error.message
    assert error.headers.get("retry-after") == wait
