"""When the ledger knows of an answer: a provider that is killed has counted whatever anybody has."""

import json

import pytest

from tollgate_simulator_provider.app import Simulator
from tollgate_simulator_provider.ledger import Ledger

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
CLAUDE = CHAT | {"max_tokens": 64}
GEMINI = {"contents": [{"parts": [{"text": "hello"}]}]}


async def asked(path, body, faults=""):
    """Asks; returns every piece of the answer with how many lines the ledger had before it was sent."""
    ledger, seen = Ledger(None), []
    incoming = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive():
        return incoming.pop()

    async def send(message):
        if message["type"] == "http.response.body" and message["body"]:
            seen.append((message["body"], len(ledger.read(0, 100)[0])))

    headers = [(b"anthropic-version", b"2023-06-01"), *([(b"x-sim-fault", faults.encode())] if faults else [])]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    await Simulator(ledger)({**scope, "state": {"transport": None}}, receive, send)
    entries, _ = ledger.read(0, 100)
    ledger.close()
    return seen, entries


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/embeddings", {"model": "m", "input": "hello"}),
        ("/v1/images/generations", {"model": "m", "prompt": "hello"}),
        ("/v1/chat/completions", CHAT | {"stream": True}),
        ("/anthropic/v1/messages", CLAUDE | {"stream": True}),
        ("/gemini/v1/models/m:streamGenerateContent", GEMINI),
    ],
)
async def test_a_whole_answer_is_counted_once_and_before_its_last_bytes(path, body):
    seen, entries = await asked(path, body)
    assert [count for _, count in seen] == [0] * (len(seen) - 1) + [1]
    (entry,) = entries
    assert (entry["outcome"], entry["status"], entry["chunks"]) == ("completed", 200, len(seen))
    assert entry["units"]


async def test_an_answer_that_is_cut_or_refused_is_counted_when_it_is_over():
    for faults, outcome in (("cut=2", "cut"), ("status=500", "refused"), ("short-length", "cut")):
        stream = {"stream": True} if outcome == "cut" and faults != "short-length" else {}
        seen, entries = await asked("/v1/chat/completions", CHAT | stream, faults)
        assert {count for _, count in seen} == {0}
        assert [entry["outcome"] for entry in entries] == [outcome]
