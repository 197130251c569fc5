"""A caller that waits for the usage of a stream gets what it is charged, also where the provider reports none."""

import json
from dataclasses import replace

import pytest
from services.router.tests.fakes.translating import OPENAI, target

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.translate import sending
from tollgate_router.domain.estimated import estimate
from tollgate_router.domain.openai_chat import read_body

pytestmark = pytest.mark.unit
DONE = b"data: [DONE]\n\n"
BODY = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "x" * 400}]}).encode()


def chunk(delta=None, reason=None, **more):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    values = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": choices, **more}
    return b"data: %b\n\n" % json.dumps(values).encode()


STREAM = [chunk({"role": "assistant", "content": ""}), *[chunk({"content": "word "})] * 20, chunk({}, "stop")]
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def opened(**fields):
    values = {"dialect": OPENAI, "operation": wire.OPERATION_CHAT, "model": "m", "stream": True, "usage_wanted": True}
    return wire.Open(**values | fields, body_length=len(BODY), request_id="req_1")


def read(pieces, body=BODY, longest=0, **fields):
    """Returns the data of the frames that the caller gets, and the stream."""
    asked, mended = opened(**fields), replace(target(OPENAI), conforming=False, max_output_tokens=longest)
    found = sending(asked, read_body(body), mended, body).filter
    said = b"".join(found.feed(piece) for piece in pieces) + found.finish()
    assert found.complete
    return [frame.removeprefix(b"data: ") for frame in said.split(b"\n\n") if frame.startswith(b"data:")], found


@pytest.mark.parametrize("ended", [True, False], ids=["done", "without the end"])
@pytest.mark.parametrize("cut", [True, False], ids=["frames", "one piece"])
def test_a_provider_that_reports_nothing(ended, cut):
    pieces = STREAM + [DONE] * ended
    frames, found = read(pieces if cut else [b"".join(pieces)])
    assert frames[-1] == b"[DONE]"
    last = json.loads(frames[-2])
    assert last["choices"] == []
    assert [b"usage" in frame for frame in frames].count(True) == 1
    units = found.usage.units
    assert found.usage.estimated
    assert units["input"] == estimate(opened(), read_body(BODY), 0).units["input"] > 100
    assert 20 <= units["output"] <= 30
    told = last["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"]) == (units["input"], units["output"])


@pytest.mark.parametrize(("more", "longest", "most"), [({"max_tokens": 5}, 9, 5), ({}, 9, 9), ({"n": 2}, 5, 10)])
def test_nobody_is_told_more_output_than_there_may_be(more, longest, most):
    frames, found = read([*STREAM, DONE], json.dumps({**json.loads(BODY), **more}).encode(), longest)
    assert json.loads(frames[-2])["usage"]["completion_tokens"] == found.usage.units["output"] == most


def test_what_a_provider_reports_is_told_as_it_is():
    frames, found = read([*STREAM, chunk(usage=USAGE), DONE])
    assert json.loads(frames[-2])["usage"] == USAGE
    assert not found.usage.estimated
    assert [b"usage" in frame for frame in frames].count(True) == 1


def test_nobody_is_told_who_does_not_ask():
    frames, found = read([*STREAM, DONE], usage_wanted=False)
    assert not any(b"usage" in frame for frame in frames)
    assert found.usage is None
