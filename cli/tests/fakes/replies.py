"""What edge answers, for tests of commands."""

CHANNEL = {
    "channel": "a", "provider": "openai", "usable": True, "reason": "", "mode": "CHANNEL_MODE_ENABLED",
    "mode_reason": "", "open_requests": 2, "attempts": "70", "failures": "1",
    "hindrances": [{"subject": "key 1", "obstacle": "benched", "detail": "x", "wait_ms": 5}],
}  # fmt: skip
TARGET = {
    "model": "m", "level": 1, "channel": "a", "key": 0, "upstream_model": "m-1", "weight": 1, "verdict": "out",
    "reason": "benched", "detail": "no balance", "wait_ms": 9000,
}  # fmt: skip
EXPLAINED = {
    "model": "m",
    "route_group": "default",
    "operation": "chat",
    "dialect": "openai-responses",
    "routers": [
        {
            "address": "unix:r",
            "reachable": True,
            "explanation": {
                "strategy": "weighted", "affinity": "user", "bound": False, "canary": False, "needs": ["tools"],
                "unmet": [], "fallback_model": "other", "fallback_reason": "error", "omitted": 3, "refusal": "",
                "targets": [TARGET, TARGET | {"channel": "b", "verdict": "taken", "reason": "", "wait_ms": 0}],
            },
        },
        {"address": "unix:s", "reachable": False, "explanation": None},
    ],
}  # fmt: skip
REFUSED = {
    "kind": "refused", "started_at": "2026-11-24T00:00:00+00:00", "request_id": "req_1", "api_key_id": "key_1",
    "model": "m", "outcome": "refused", "error_kind": "insufficient_quota", "http_status": 429,
}  # fmt: skip
ATTEMPT = {
    "kind": "usage", "try": 1, "attempt": 2, "status": "confirmed", "superseded": True, "model": "other",
    "channel": "a", "outcome": "ok", "error_kind": "", "total_us": 1500, "input_tokens": 3, "output_tokens": 4,
    "charge": "0.3",
}  # fmt: skip
EVIDENCE = {
    "request_id": "req_1", "outcome": "ok", "started_at": "2026-11-24T00:00:00+00:00", "trace_id": "ab" * 16,
    "organization": {"id": "org_1", "name": "acme"}, "project": {"id": "proj_1"}, "price_group": "default",
    "key": {"id": "key_1", "name": "laptop", "last_four": "abcd", "revoked_at": None},
    "model": "other", "requested_model": "m", "fallback_reason": "error", "config_digest": "sha256:c",
    "refused": {
        "http_status": 429, "error_kind": "insufficient_quota", "message": "The balance is too low.", "route": "/v1",
        "left_out": 2,
    },
    "attempts": [ATTEMPT, ATTEMPT | {"kind": "adjustment", "charge": "-0.3"}],
    "routing": {"route_group": "default", "strategy": "weighted", "targets": [TARGET], "refusal": ""},
    "prices": [
        {
            "price_book": "public", "price_digest": "sha256:b", "currency": "USD", "agrees": True, "problem": None,
            "computed_again": "0.3", "charged": "0.3", "exchange_rate": None,
            "lines": [{"unit": "input", "quantity": 3, "price": "0.1", "per": 1, "amount": "0.3"}],
        }
    ],
    "charge": "0.3", "currency": "USD", "hold": {"state": "none", "held": "0.5"}, "mismatches": [], "limits": [],
    "ledger": [
        {"debit": "wallet", "credit": "revenue", "amount": "0.9", "currency": "USD", "events": 3, "batch": "b/1-4"}
    ],
    "limits_now": [{"id": "key_1", "limits": {"budget": {"amount": "5", "window": "day"}, "concurrency": None}}],
}  # fmt: skip
BOOKS = {
    "agree": True, "from": "2026-11-01", "to": "2026-11-02", "batches": 3, "rows": 9, "organizations": 1, "holds": 0,
    "differences": [], "cut": 0, "lag_events": 1, "lag_ms": 5,
    "spools": [{"service": "router", "address": "unix:s", "reachable": False, "records": None, "problem": None}],
}  # fmt: skip
COSTS = [
    {
        "day": "2026-11-01", "model": "o3", "currency": "USD", "theirs": "1.02", "theirs_pico": 102 * 10**10,
        "ours": "1", "ours_pico": 10**12, "difference": "0.02", "difference_pico": 2 * 10**10,
    }
]  # fmt: skip
DIFFERENCE = {
    "kind": "charge", "detail": "usage rows say 2, the ledger 1", "organization_id": "org_1", "batch": "e/t/0/1-2",
    "request_ids": ["req_1", "req_2", "req_3", "req_4"], "found": "2", "expected": "1", "next_step": "look there",
}  # fmt: skip
KEY = {"id": "key_1", "name": "laptop", "last_four": "abcd", "models": ["a", "b"], "cidrs": ["203.0.113.0/24"]}
LIMITS = {"requests_per_minute": 60, "tokens_per_minute": None, "concurrency": 5}
OWNER = {"id": "org_1", "name": "demo", "payment": "postpaid", "limits": LIMITS}
OWNER["limits"]["budget"] = {"amount": "25", "window": "month"}
TENANTS = {
    "/api/v1/organizations": [{"id": "org_1", "name": "acme", "currency": "USD"}],
    "/api/v1/projects": [
        {"id": "proj_1", "name": "web", "organization_id": "org_1"},
        {"id": "proj_2", "name": "twin", "organization_id": "org_1"},
        {"id": "proj_3", "name": "twin", "organization_id": "org_9"},
    ],
}
VIEW = {
    "name": "spend_by_model", "question": "What?", "operators_only": False,
    "parameters": [{"name": "since", "default": "today"}, {"name": "channel", "default": None}],
}  # fmt: skip
ANSWER = {
    "columns": [
        {"name": "model", "type": "LowCardinality(String)"}, {"name": "at", "type": "DateTime64(3, 'UTC')"},
        {"name": "requests", "type": "SimpleAggregateFunction(sum, Int64)"},
        {"name": "share", "type": "Nullable(Float64)"},
        {"name": "charge", "type": "Decimal(38, 12)"}, {"name": "units", "type": "Map(String, Int64)"},
    ],
    "rows": [
        ["m", "2026-11-01T00:00:00+00:00", 3, 0.5, "8.000000000001", {"a": 1}],
        ["é, n", "2026-11-02T00:00:00+00:00", 1, None, "2", {}],
    ],
    "truncated": False,
}  # fmt: skip
EXPORTED = (200, "PAR1 rows PAR1")
STREAM = 'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n'

LETTER = {
    "id": "1764000000000000-0-17",
    "topic": "usage.recorded.v1",
    "partition": 0,
    "offset": 17,
    "logged_at": "2025-11-24T16:00:00.000+00:00",
    "reason": "it started an hour ahead",
    "state": "ready",
    "problem": None,
    "request_id": "req_1",
    "organization_id": "org_1",
    "size_bytes": 3,
}
LETTER_BYTES = {"key_base64": "", "value_base64": "AAEC", "event": {"request_id": "req_1"}}
REPLAYED = {"sent": 1, "unusable": 0, "items": [LETTER | {"state": "sent"}]}
