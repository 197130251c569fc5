"""How likely the words of an answer were, between chat and Gemini, whole and streamed; who does not say it refuses."""

import json
from dataclasses import replace

import pytest
from services.router.tests.fakes.dialects import check_chat, check_contents, frames
from services.router.tests.fakes.translating import ANTHROPIC, GEMINI, OPENAI, target, translated

from tollgate_router.domain.dialects.neutral import Odds
from tollgate_router.domain.dialects.odds import as_chat, as_gemini, of_chat, of_gemini
from tollgate_router.domain.target import WIRE_BEDROCK
from tollgate_router.errors import Refused
from tollgate_simulator_provider import chat, faults, gemini

pytestmark = pytest.mark.unit
FLASH = replace(target(GEMINI), upstream_model="gemini-2.5-flash")
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Say hello"}], "logprobs": True, "top_logprobs": 2}
CONTENTS = {
    "contents": [{"role": "user", "parts": [{"text": "Say hello"}]}],
    "generationConfig": {"responseLogprobs": True, "logprobs": 2},
}
TOLD = (Odds("Grüße", -0.5, (("Grüße", -0.5), ("Hi", -1.5))), Odds("!", 0.0))


def simulated(upstream, sent, *, stream):
    """Returns what the simulated vendor says to what was sent."""
    request = json.loads(sent.body)
    quiet = faults.in_text("")
    if upstream is FLASH:
        gemini.check(request, "gemini-2.5-flash")
        reply = gemini.build(request, "gemini-2.5-flash", quiet, "r1")
    else:
        chat.check(request)
        reply = chat.build(request, quiet, "chatcmpl-1", 7)
    return b"".join(reply.frames()) if stream else reply.body()


def test_both_say_the_same():
    assert of_chat(as_chat(TOLD)) == TOLD
    assert of_gemini(as_gemini(TOLD)["logprobsResult"]) == TOLD
    assert as_chat(TOLD)["content"][0]["bytes"] == list("Grüße".encode())
    assert as_gemini(TOLD)["avgLogprobs"] == -0.25
    assert (as_chat(()), as_gemini(())) == (None, {})


@pytest.mark.parametrize(
    "said",
    [None, "x", [], {"content": None}, {"content": ["x", {"token": 1, "logprob": 2}, {"token": "a"}]},
     {"content": [{"token": "a", "logprob": True}]}, {"chosenCandidates": {}, "topCandidates": 7}],
)  # fmt: skip
def test_what_is_none_is_passed_over(said):
    assert of_chat(said) == of_gemini(said) == ()


def test_odds_of_gemini_reach_a_caller_of_chat():
    sent = translated(OPENAI, FLASH, CHAT)
    assert json.loads(sent.body)["generationConfig"] == {"responseLogprobs": True, "logprobs": 2}
    assert sent.dropped == ()
    _, body = sent.read(simulated(FLASH, sent, stream=False))
    (choice,) = json.loads(body)["choices"]
    whole = choice["logprobs"]["content"]
    assert "".join(one["token"] for one in whole) == choice["message"]["content"]
    assert {len(one["top_logprobs"]) for one in whole} == {2}
    sent = translated(OPENAI, FLASH, CHAT, stream=True)
    out = sent.filter.feed(simulated(FLASH, sent, stream=True)) + sent.filter.finish()
    assert check_chat(out, usage=True)["text"] == choice["message"]["content"]
    found = [one for _, data in frames(out)[:-1] for one in data["choices"] if "logprobs" in one]
    assert [token for one in found for token in one["logprobs"]["content"]] == whole
    # They come with the words that they are of.
    assert all(one["delta"]["content"] == one["logprobs"]["content"][0]["token"] for one in found)


def test_odds_of_chat_reach_a_caller_of_gemini():
    upstream = target(OPENAI)
    sent = translated(GEMINI, upstream, CONTENTS)
    asked = json.loads(sent.body)
    assert (asked["logprobs"], asked["top_logprobs"], sent.dropped) == (True, 2, ())
    _, body = sent.read(simulated(upstream, sent, stream=False))
    (candidate,) = json.loads(body)["candidates"]
    whole = candidate["logprobsResult"]
    assert "".join(one["token"] for one in whole["chosenCandidates"]) == candidate["content"]["parts"][0]["text"]
    assert {len(one["candidates"]) for one in whole["topCandidates"]} == {2}
    assert candidate["avgLogprobs"] <= 0
    sent = translated(GEMINI, upstream, CONTENTS, stream=True)
    out = sent.filter.feed(simulated(upstream, sent, stream=True)) + sent.filter.finish()
    assert check_contents(out)["text"] == candidate["content"]["parts"][0]["text"]
    found = [data["candidates"][0].get("logprobsResult", {}) for _, data in frames(out)]
    for name, items in whole.items():
        assert [item for one in found for item in one.get(name, ())] == items


def test_nobody_is_told_who_did_not_ask():
    plain = {name: value for name, value in CHAT.items() if "logprobs" not in name}
    sent = translated(OPENAI, FLASH, plain)
    assert "generationConfig" not in json.loads(sent.body)
    _, body = sent.read(simulated(FLASH, sent, stream=False))
    assert json.loads(body)["choices"][0]["logprobs"] is None
    # A number of others alone asks for nothing.
    contents = CONTENTS | {"generationConfig": {"logprobs": 2}}
    assert translated(GEMINI, target(OPENAI), contents).dropped == ("generationConfig.logprobs",)


CONVERSE = replace(target(ANTHROPIC), wire=WIRE_BEDROCK, upstream_model="anthropic.claude-haiku-4-5")
RESPONSES = replace(target(OPENAI), upstream_model="gpt-5.6", responses=True, tools_by_responses=True)
TOOLS = {"tools": [{"functionDeclarations": [{"name": "f"}]}]}


@pytest.mark.parametrize(
    ("dialect", "upstream", "body", "param"),
    [
        (OPENAI, target(GEMINI), CHAT, "logprobs"),
        (OPENAI, target(ANTHROPIC), CHAT, "logprobs"),
        (OPENAI, CONVERSE, CHAT, "logprobs"),
        (GEMINI, target(ANTHROPIC), CONTENTS, "responseLogprobs"),
        (GEMINI, CONVERSE, CONTENTS, "responseLogprobs"),
        (GEMINI, RESPONSES, CONTENTS | TOOLS, "responseLogprobs"),
    ],
)
def test_who_does_not_say_it_refuses_by_the_callers_name(dialect, upstream, body, param):
    with pytest.raises(Refused) as caught:
        translated(dialect, upstream, body)
    assert caught.value.param == param
    assert param in caught.value.message
