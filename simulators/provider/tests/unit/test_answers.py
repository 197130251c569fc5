"""What the simulator says, counts and breaks, without a network."""

import base64
import json
import math
import struct
import zlib
from array import array

import pytest

from tollgate_simulator_provider import chat, completions, faults, operations, pictures, tokens, vectors
from tollgate_simulator_provider.ledger import Ledger
from tollgate_simulator_provider.refusals import Refused

pytestmark = pytest.mark.unit


def ask(text="Hello", fault="", **more):
    request = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    chat.check(request)
    return chat.build(request, faults.parse(fault), "chatcmpl-sim000000000001", 7)


def events(reply):
    frames = list(reply.frames())
    assert all(frame.startswith(b"data: ") and frame.endswith(b"\n\n") for frame in frames)
    assert frames.pop() == b"data: [DONE]\n\n"
    return [json.loads(frame[6:]) for frame in frames]


def test_counting_rule():
    assert tokens.text_tokens("") == 0
    assert tokens.text_tokens("abcde") == 2
    assert tokens.text_tokens("日本") == 2
    picture = {"role": "user", "content": [{"type": "text", "text": "abcd"}, {"type": "image_url", "image_url": {}}]}
    assert tokens.prompt_tokens([{"role": "system", "content": "abcd"}, picture]) == (4 + 1) + (4 + 1 + 85)
    assert tokens.prompt_tokens([], [{"name": "f"}]) == tokens.text_tokens('{"name":"f"}')
    assert [tokens.input_tokens(value) for value in ("", ["abcde", "a"], [1, 2, 3], [[1, 2], [3]])] == [1, 3, 3, 3]
    for value in (None, [], {}, [1, "a"], [1.5]):
        with pytest.raises(ValueError, match="must be"):
            tokens.input_tokens(value)


def test_the_same_question_has_the_same_answer_and_another_one_another():
    assert ask("one").choices == ask("one").choices
    assert ask("one").choices != ask("two").choices
    assert ask("one", n=2).choices[0] != ask("one", n=2).choices[1]
    assert ask("one").choices[0].text.startswith("[simulated] You said: one.")


def test_limits_and_stops():
    whole = ask("one").choices[0]
    assert whole.finish == "stop"
    short = ask("one", max_tokens=3).choices[0]
    assert (short.text, short.finish) == ("[simulated] You said:", "length")
    assert ask("one", max_completion_tokens=len(whole.pieces)).choices[0] == whole
    stopped = ask("one", stop=["nowhere", "aid:"]).choices[0]
    assert (stopped.text, stopped.finish) == ("[simulated] You s", "stop")
    assert ask("one", "chunks=65").units["output"] == 65


def test_stream_has_one_role_one_finish_and_usage_only_on_demand():
    bare = events(ask("one", stream=True))
    assert all("usage" not in event for event in bare)
    asked = ask("one", n=2, stream=True, stream_options={"include_usage": True})
    chunks = events(asked)
    last = chunks.pop()
    assert last["choices"] == []
    assert last["usage"] == asked.usage()
    assert all(chunk["usage"] is None and len(chunk["choices"]) == 1 for chunk in chunks)
    for index in (0, 1):
        mine = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert [choice["delta"].get("role") for choice in mine].count("assistant") == 1
        assert [choice["finish_reason"] for choice in mine] == [None] * (len(mine) - 1) + ["stop"]
        assert "".join(choice["delta"].get("content") or "" for choice in mine) == asked.choices[index].text
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


def test_whole_reply_says_what_the_stream_says():
    reply = json.loads(ask("one").body())
    assert reply["choices"][0]["message"]["content"] == ask("one").choices[0].text
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == len(ask("one").choices[0].pieces)


def test_units_are_exclusive():
    reply = ask("one", "cached=3,reasoning=5")
    assert reply.units == {
        "input": reply.prompt - 3,
        "cache_read": 3,
        "output": len(reply.choices[0].pieces),
        "reasoning": 5,
    }
    usage = reply.usage()
    assert usage["completion_tokens"] == reply.units["output"] + 5
    assert usage["prompt_tokens_details"]["cached_tokens"] == 3
    assert sum("reasoning_content" in event["choices"][0]["delta"] for event in events(reply)) == 5


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
        },
    },
}


@pytest.mark.parametrize(
    ("text", "choice", "called"),
    [
        ("use weather", "auto", True),
        ("hello", "auto", False),
        ("hello", "required", True),
        ("use weather", "none", False),
        ("hello", {"type": "function", "function": {"name": "weather"}}, True),
    ],
)
def test_tools(text, choice, called):
    reply = ask(text, tools=[TOOL], tool_choice=choice)
    assert (reply.choices[0].finish == "tool_calls") is called
    if called:
        message = json.loads(reply.body())["choices"][0]["message"]
        call = message["tool_calls"][0]
        assert message["content"] is None
        assert json.loads(call["function"]["arguments"]) == {"city": "simulated", "days": 1, "unit": "C"}
        deltas = [event["choices"][0]["delta"] for event in events(reply)]
        parts = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
        assert [part.get("id") for part in parts] == [call["id"]] + [None] * (len(parts) - 1)
        assert "".join(part["function"]["arguments"] for part in parts) == call["function"]["arguments"]


def test_structured_output():
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}, "tags": {"type": "array"}}}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    assert json.loads(ask("one", response_format=form).choices[0].text) == {"ok": True, "tags": ["simulated"]}
    assert json.loads(ask("one", response_format={"type": "json_object"}).choices[0].text) == {"simulated": True}


@pytest.mark.parametrize(
    "broken",
    [
        {"messages": []},
        {"messages": "x"},
        {"messages": [7]},
        {"messages": [{"role": "nobody", "content": ""}]},
        {"n": 0},
        {"n": 99},
        {"max_tokens": 0},
        {"max_tokens": "7"},
        {"stop": 7},
        {"response_format": "json"},
        {"tools": [1]},
        {"stream_options": {"include_usage": True}},
    ],
)
def test_bad_requests_are_refused(broken):
    with pytest.raises(Refused) as refused:
        ask("one", **broken) if "messages" not in broken else chat.check({"model": "m", **broken})
    assert refused.value.status == 400


def test_faults_come_from_markers_and_wrong_ones_are_named():
    found = faults.in_text("a [[sim:cut=2]] b [[sim:chunks=65,gap_ms=20]]")
    assert (found.cut, found.chunks, found.gap_ms, found.paced) == (2, 65, 20.0, True)
    assert faults.in_text("nothing [[other]]") == faults.NONE
    assert faults.without_markers("a [[sim:cut=2]]") == "a"
    assert faults.in_text("a [[sim:say=w6Qg8J-agA]]").say == "ä 🚀"
    for text in ("no-such", "say=_", "say=_w", "cut=x", "cut", "text=1", "paced", "told", "__doc__"):
        with pytest.raises(faults.UnknownFault):
            faults.parse(text)


def test_the_answer_can_be_told():
    assert ask("one", "say=aGVsbG8gdGhlcmU").choices[0].text == "hello there"


@pytest.mark.parametrize("wrong", ["wrong-usage", "wrong-usage=negative", "wrong-usage=text", "wrong-usage=missing"])
def test_wrong_usage_is_reported_and_the_true_one_counted(wrong):
    right, reply = ask("one"), ask("one", wrong)
    assert reply.units == right.units
    assert reply.usage() != right.usage()
    asked = {"model": "m", "prompt": "one"}
    right, reply = (completions.build(asked, found, "cmpl-1", 0) for found in (faults.NONE, faults.parse(wrong)))
    assert reply.units == right.units
    assert reply.usage() != right.usage()


def test_vectors():
    one, other = (vectors.embed("m", text, 256) for text in ("the red cat sleeps", "the red cat eats"))
    far = vectors.embed("m", "quarterly figures of the mill", 256)
    assert one == vectors.embed("m", "the red cat sleeps", 256)
    assert math.isclose(math.fsum(x * x for x in one), 1, rel_tol=1e-5)
    near, distance = (sum(x * y for x, y in zip(one, v, strict=True)) for v in (other, far))
    assert near > distance + 0.2
    decoded = array("f", base64.b64decode(vectors.encoded(one, "base64")))
    assert all(math.isclose(x, y, abs_tol=1e-7) for x, y in zip(decoded, vectors.encoded(one, "float"), strict=True))


def test_embeddings_reply():
    reply, units = operations.embeddings({"model": "text-embedding-3-large", "input": ["a", "b"]})
    assert [len(item["embedding"]) for item in reply["data"]] == [3072, 3072]
    assert units == {"input": 2} == {"input": reply["usage"]["prompt_tokens"]}
    for broken in ({"input": []}, {"input": "a", "dimensions": 0}, {"input": "a", "encoding_format": "hex"}):
        with pytest.raises(Refused):
            operations.embeddings({"model": "m", **broken})


def pixels(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, found = 8, {}
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length)[0] == zlib.crc32(kind + data)
        found[kind], at = data, at + 12 + length
    width, height, depth, colour = struct.unpack_from(">IIBB", found[b"IHDR"])
    raw = zlib.decompress(found[b"IDAT"])
    assert (depth, colour, len(raw)) == (8, 3, height * (width + 1))
    assert set(raw[:: width + 1]) <= {0, 2}
    return width, height, found[b"PLTE"], raw


def test_pictures_differ_and_keep_their_size():
    one, other = (pictures.draw(pictures.seed_of("m", prompt, 0), 64, 48) for prompt in ("cat", "dog"))
    assert pixels(one)[:2] == (64, 48)
    assert one != other
    assert one == pictures.draw(pictures.seed_of("m", "cat", 0), 64, 48)
    assert pixels(pictures.draw(bytes(16), 3, 1))[:2] == (3, 1)
    for size in ("", "10", "0x10", "10x99999", "axb", "-1x5"):
        with pytest.raises(ValueError, match="must be"):
            pictures.size_of(size)


def test_images_reply():
    reply, units = operations.images({"model": "gpt-image-1", "prompt": "cat", "quality": "high", "n": 2}, 7, "")
    assert units == {"images": 2, "input": 1, "image_output": 8320}
    assert reply["usage"]["output_tokens"] == 8320
    assert pixels(base64.b64decode(reply["data"][1]["b64_json"]))[:2] == (1024, 1024)
    assert reply["data"][0] != reply["data"][1]
    linked, units = operations.images({"model": "dall-e-3", "prompt": "cat", "size": "64x32"}, 7, "http://h")
    assert linked["data"][0]["url"].endswith("-64x32.png")
    assert units == {"images": 1}
    for broken in ({"prompt": ""}, {"n": 99}, {"size": "x"}, {"size": 7}, {"response_format": "b64_json"}):
        with pytest.raises(Refused):
            operations.images({"model": "gpt-image-1", "prompt": "cat", **broken}, 7, "")


def entry(sequence, outcome="completed", **more):
    return {
        "seq": sequence,
        "outcome": outcome,
        "operation": "chat",
        "model": "m",
        "status": 200,
        "units": {"input": 2},
    } | more


def test_ledger_survives_and_pages(tmp_path):
    path = tmp_path / "deep" / "ledger.jsonl"
    ledger = Ledger(path)
    for number in range(1, 6):
        assert ledger.next_sequence() == number
        ledger.write(entry(number))
    ledger.write(entry(ledger.next_sequence(), "open"))
    first, cursor = ledger.read(0, 2)
    rest, end = ledger.read(cursor, 100)
    assert [item["seq"] for item in first + rest] == [1, 2, 3, 4, 5, 6]
    assert end == path.stat().st_size
    assert ledger.read(end, 100) == ([], end)
    ledger.close()
    path.write_bytes(path.read_bytes() + b'{"seq": 9, "torn')
    again = Ledger(path)
    assert again.next_sequence() == 7
    assert again.summary()["units"] == {"input": 10}
    assert again.summary()["open"] == 1
    again.write(entry(7, was_open=True))
    assert again.summary()["open"] == 0
    assert [item["seq"] for item in again.read(end, 10)[0]] == [7]
    again.close()
