"""Translation between dialects: requests, streams and whole replies, spoilt in their parts and in their bytes."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any, Final

from services.router.tests.fakes.dialect_bodies import Place, at, places, replaced
from services.router.tests.fakes.dialects import check_chat, check_contents, check_messages, check_responses
from services.router.tests.fakes.translating import (
    ANTHROPIC,
    BODIES,
    GEMINI,
    OPENAI,
    PAIRS,
    RESPONSE,
    target,
    translated,
)

from tests.fuzz.cases import Case, draw_cuts, pieces, spoil
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.choices import SeveralStreams
from tollgate_router.domain.dialects.translate import Sending, StreamTranslation, Translation, sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import InvalidBody, Refused

SPICES: Final = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"-1", b"1e400", b"\xff", b"\\ud800",
    b"\xc3\xa9", b"\n\n", b"\r\n", b"data: ", b"event: x\n",
    b'"type"', b'"index":1', b"data: [DONE]\n\n", b"0" * 30, b" ",
]  # fmt: skip
_ODD: Final[list[Any]] = [
    None, True, False, 0, -1, 7, 1.5, 10**40, "", "x", "\x00", "é", "{", [], [None], {}, {"a": [1]}, "data:;base64,",
    {"type": "text", "text": "x"}, [{}], "auto", "user", "assistant",
]  # fmt: skip
# GPT that thinks in a chat without tools only is reached by the Responses API.
_BY_RESPONSES: Final = {"messages-to-responses": (ANTHROPIC, RESPONSE), "contents-to-responses": (GEMINI, RESPONSE)}
_PAIRS: Final = {**PAIRS, **_BY_RESPONSES}
_PLACES: Final[Mapping[int, list[Place]]] = {dialect: list(places(body)) for dialect, body in BODIES.items()}


def draw_value(source: Random, value: Any) -> Any:
    """Returns a value with a few of its parts exchanged, left out or said twice."""
    for _ in range(source.randint(0, 3)):
        found = list(places(value)) if value else []
        if not found:
            break
        place = source.choice(found)
        roll = source.random()
        if roll < 0.5:
            value = replaced(value, place, source.choice(_ODD))
        elif roll < 0.75:
            value = replaced(value, place, at(value, source.choice(found)))
        else:
            outer = at(value, place[:-1])
            twice = [*outer, outer[place[-1]]] if isinstance(outer, list) else {**outer, "more": 1}
            value = replaced(value, place[:-1], twice)
    return value


class DialectRequestsTarget:
    """A body of one dialect for a provider of another wire: a body is sent, or a refusal says why."""

    cost = 4

    def __init__(self) -> None:
        self._targets = {upstream: target(upstream) for upstream in (OPENAI, ANTHROPIC, GEMINI)}
        self._targets[RESPONSE] = replace(target(OPENAI), responses=True, tools_by_responses=True)

    def draw(self, source: Random) -> Case:
        name = source.choice(sorted(_PAIRS))
        body = json.dumps(draw_value(source, BODIES[_PAIRS[name][0]])).encode()
        return {"pair": name, "stream": source.random() < 0.5, "body": spoil(source, body, SPICES)}

    def check(self, case: Case) -> None:
        dialect, upstream = _PAIRS[case["pair"]]
        try:
            sent = translated(dialect, self._targets[upstream], case["body"], stream=case["stream"])
        except Refused as refused:
            words = refused.message
        except InvalidBody:
            return
        else:
            self._check_sent(upstream, sent)
            return
        assert words.strip(), "a refusal without words"

    @staticmethod
    def _check_sent(upstream: int, sent: Sending) -> None:
        assert isinstance(sent.body, bytes)
        found = json.loads(sent.body)
        said = found["contents"] if upstream == GEMINI else found.get("input") or found["messages"]
        assert said, "nothing is said"
        assert all(re.fullmatch(r"[\w.-]+", name, re.ASCII) for name in sent.dropped), "a name that no header carries"

    def close(self) -> None:
        pass


# Replies. Frames as the vendors send them; a case takes some, in any order.


def _chunk(delta: Any, reason: Any = None, **more: Any) -> Any:
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more}


def _call(index: int, **function: Any) -> Any:
    return {"tool_calls": [{"index": index, "id": f"call_{index}", "function": function}]}


def _candidate(*parts: Any, reason: str = "") -> Any:
    candidate = {"content": {"role": "model", "parts": list(parts)}} | ({"finishReason": reason} if reason else {})
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}}


def _block(index: int, **block: Any) -> list[Any]:
    return [{"type": "content_block_start", "index": index, "content_block": block}]


def _delta(index: int, **delta: Any) -> Any:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _event(kind: str, **members: Any) -> Any:
    return {"type": f"response.{kind}", **members}


_CITATION: Final = {"type": "web_search_result_location", "url": "https://a.example/", "title": "A", "cited_text": "q"}
_NOTE: Final = {"type": "url_citation", "url": "https://a.example/", "title": "A", "start_index": 0, "end_index": 2}
_GROUNDING: Final = {
    "webSearchQueries": ["q"],
    "groundingChunks": [{"web": {"uri": "https://a.example/", "title": "A"}}, {"retrievedContext": {"title": "B"}}],
    "groundingSupports": [{"segment": {"startIndex": 1, "endIndex": 3}, "groundingChunkIndices": [0]}],
}
_USAGE: Final = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
_FRAMES: Final[Mapping[int, list[Any]]] = {
    OPENAI: [
        _chunk({"role": "assistant", "content": ""}), _chunk({"reasoning_content": "Hm."}), _chunk({"content": "hé"}),
        _chunk(_call(0, name="f", arguments='{"a"')), _chunk(_call(0, arguments=":1}")),
        _chunk(_call(1, name="g", arguments="{}")), _chunk({"refusal": "No."}), _chunk({"content": "x"}),
        _chunk({"annotations": [{"type": "url_citation", "url_citation": _NOTE}]}),
        _chunk({}, citations=["https://a.example/"]),
        _chunk({}, "stop"), {"id": "c", "model": "m", "choices": [], "usage": _USAGE},
    ],
    ANTHROPIC: [
        {"type": "message_start", "message": {"id": "m", "model": "m", "usage": {"input_tokens": 3}}}, {"type": "ping"},
        *_block(0, type="thinking", thinking=""), _delta(0, type="thinking_delta", thinking="Hm."),
        _delta(0, type="signature_delta", signature="s"), {"type": "content_block_stop", "index": 0},
        *_block(1, type="text", text=""), _delta(1, type="text_delta", text="hé"),
        {"type": "content_block_stop", "index": 1}, *_block(2, type="tool_use", id="t", name="f", input={}),
        _delta(2, type="input_json_delta", partial_json='{"a":1}'), {"type": "content_block_stop", "index": 2},
        *_block(3, type="redacted_thinking", data="r"), {"type": "content_block_stop", "index": 3},
        *_block(4, type="text", text="só"), _delta(4, type="citations_delta", citation=_CITATION),
        {"type": "content_block_stop", "index": 4},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ],
    GEMINI: [
        _candidate({"text": "Hm.", "thought": True}), _candidate({"text": "hé"}),
        _candidate({"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"}),
        _candidate({"text": ""}, reason="STOP") | {"x": 1}, {"candidates": [{"groundingMetadata": _GROUNDING}]},
    ],
    RESPONSE: [
        _event("created", response={"id": "resp_1", "model": "m"}),
        _event("output_item.added", output_index=0, item={"type": "reasoning", "id": "rs_1", "summary": []}),
        _event("reasoning_summary_part.added", output_index=0, summary_index=1),
        _event("reasoning_summary_text.delta", output_index=0, delta="Hm."),
        _event("output_item.done", output_index=0, item={"type": "reasoning", "id": "rs_1", "encrypted_content": "e"}),
        _event("output_item.added", output_index=1, item={"type": "message"}),
        _event("content_part.added", output_index=1), _event("output_text.delta", output_index=1, delta="hé"),
        _event("output_text.annotation.added", output_index=1, annotation=_NOTE),
        _event("refusal.delta", output_index=1, delta="No."),
        _event("output_item.added", output_index=2, item={"type": "function_call", "call_id": "t", "name": "f"}),
        _event("function_call_arguments.delta", output_index=2, delta='{"a":1}'),
        _event("output_item.added", output_index=3, item={"type": "function_call", "call_id": "u", "name": "g"}),
        _event("output_item.done", output_index=3, item={"type": "function_call", "arguments": "{}"}),
        _event("completed", response={
            "id": "resp_1", "status": "completed", "output": [],
            "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        }),
    ],
}  # fmt: skip
_ERRORS: Final = [{"error": {"message": "x"}}, {"type": "error", "error": {"type": "overloaded_error"}}, {}, [], None]
_END: Final = b"data: [DONE]\n\n"


def _draw_stream(source: Random, upstream: int) -> bytes:
    frames = list(_FRAMES[upstream])
    for _ in range(source.choice([0, 0, 1, 2, 4])):
        place = source.randrange(len(frames))
        roll = source.random()
        if roll < 0.4:
            frames[place] = draw_value(source, frames[place])
        elif roll < 0.6 and len(frames) > 1:
            del frames[place]
        elif roll < 0.8:
            frames.insert(source.randint(0, len(frames)), frames[place])
        else:
            frames.insert(place, source.choice(_ERRORS))
    written = b"".join(_frame(one) for one in frames)
    return spoil(source, written + (_END if upstream == OPENAI else b""), SPICES)


def _frame(one: Any) -> bytes:
    name = f"event: {one['type']}\n" if isinstance(one, dict) and isinstance(one.get("type"), str) else ""
    return f"{name}data: {json.dumps(one)}\n\n".encode("utf-8", "surrogatepass")


def _translation(dialect: int, upstream: int) -> Translation:
    opened = wire.Open(dialect=dialect, operation=wire.OPERATION_CHAT, model="m", stream=True, usage_wanted=True)
    return Translation(opened, upstream, {})


def _grammar(dialect: int, stream: bytes) -> None:
    if dialect == OPENAI:
        check_chat(stream, usage=_has_usage(stream))
    elif dialect == ANTHROPIC:
        check_messages(stream)
    elif dialect == GEMINI:
        check_contents(stream)
    else:
        check_responses(stream)


def _has_usage(stream: bytes) -> bool:
    return b'"choices":[]' in stream


# Ids that are drawn where the provider gave none.
_IDS: Final = re.compile(rb'"(?:id|item_id|call_id)":"[^"]*"')


class DialectStreamsTarget:
    """A stream of one wire for a caller of another dialect: the same at every split, and by its dialect's grammar."""

    cost = 4

    def draw(self, source: Random) -> Case:
        name = source.choice(sorted(_PAIRS))
        data = _draw_stream(source, _PAIRS[name][1])
        return {"pair": name, "data": data, "cuts": draw_cuts(source, len(data))}

    def check(self, case: Case) -> None:
        dialect, upstream = _PAIRS[case["pair"]]
        whole, out = self._out(dialect, upstream, [case["data"]])
        parts, cut = self._out(dialect, upstream, pieces(case["data"], case["cuts"]))
        assert (whole.problem, whole.complete, whole.usage) == (parts.problem, parts.complete, parts.usage)
        assert _IDS.sub(b"", out) == _IDS.sub(b"", cut), f"whole it is {out!r}, in pieces {cut!r}"
        if whole.complete:
            _grammar(dialect, out)
        else:
            assert not out or out.endswith(b"\n\n"), "a frame that is not whole"

    @staticmethod
    def _out(dialect: int, upstream: int, parts: list[bytes]) -> tuple[StreamTranslation, bytes]:
        stream = StreamTranslation(_translation(dialect, upstream))
        return stream, b"".join([*(stream.feed(part) for part in parts), stream.finish()])

    def close(self) -> None:
        pass


# What is not one answer of a chat: completions at wires that only chat, and several answers to one request.
_COMPLETION: Final[dict[str, Any]] = {
    "model": "m", "prompt": "x", "max_tokens": 7, "temperature": 0.5, "top_p": 0.5, "stop": ["END"], "seed": 1, "n": 1,
    "presence_penalty": 0.5, "frequency_penalty": 0.5, "user": "u", "echo": False, "logit_bias": {"1": 2},
    "stream_options": {"include_usage": True},
}  # fmt: skip
_SEVERAL: Final = {"chat": (OPENAI, GEMINI), "contents": (GEMINI, OPENAI)}
_ANSWERS: Final = 2


class DialectChoicesTarget:
    """A completion put as a chat, and streams of it or with several answers: a body or a refusal, and whole frames."""

    cost = 4

    def __init__(self) -> None:
        self._targets = {upstream: target(upstream) for upstream in (ANTHROPIC, GEMINI)}
        self._targets[OPENAI] = replace(target(OPENAI), operations=frozenset((wire.OPERATION_CHAT,)))

    def draw(self, source: Random) -> Case:
        upstream = source.choice(sorted(self._targets))
        body = spoil(source, json.dumps(draw_value(source, _COMPLETION)).encode(), SPICES)
        kind = source.choice(["completion", *_SEVERAL])
        came = upstream if kind == "completion" else _SEVERAL[kind][1]
        data = _draw_stream(source, came)
        if kind != "completion" and source.random() < 0.7:
            # The second answer comes behind the first, which has no end of the stream.
            second = _draw_stream(source, came)
            for one in (b'"choices": [{"index": 0', b'"candidates": [{'):
                second = second.replace(one, one.replace(b"0", b"1") if b"0" in one else one + b'"index": 1, ')
            data = data.removesuffix(_END) + second
        cuts = draw_cuts(source, len(data))
        return {"kind": kind, "upstream": upstream, "body": body, "data": data, "cuts": cuts}

    def check(self, case: Case) -> None:
        self._check_body(case["upstream"], case["body"])
        whole, out = self._out(case, [case["data"]])
        parts, cut = self._out(case, pieces(case["data"], case["cuts"]))
        assert (whole.problem, whole.complete, whole.usage) == (parts.problem, parts.complete, parts.usage)
        if whole.problem is None:
            assert _IDS.sub(b"", out) == _IDS.sub(b"", cut), f"whole it is {out!r}, in pieces {cut!r}"
        told = [frame.removeprefix(b"data: ") for frame in out.split(b"\n\n")]
        assert not told.pop(), "a frame that is not whole"
        found = [json.loads(frame) for frame in told if frame != b"[DONE]"]
        assert all(("candidates" if case["kind"] == "contents" else "choices") in one for one in found)
        if whole.complete and case["kind"] != "contents":
            assert (told.count(b"[DONE]"), told[-1]) == (1, b"[DONE]")

    def _check_body(self, upstream: int, body: bytes) -> None:
        opened = wire.Open(dialect=OPENAI, operation=wire.OPERATION_COMPLETION, model="m", body_length=len(body))
        try:
            sent = sending(opened, read_body(body), self._targets[upstream], body)
        except Refused as refused:
            words = refused.message
        except InvalidBody:
            return
        else:
            assert isinstance(sent.body, bytes)
            assert {"messages", "contents"} & json.loads(sent.body).keys(), "nothing is said"
            return
        assert words.strip(), "a refusal without words"

    @staticmethod
    def _out(case: Case, parts: list[bytes]) -> tuple[StreamTranslation | SeveralStreams, bytes]:
        stream: StreamTranslation | SeveralStreams
        if case["kind"] == "completion":
            opened = wire.Open(dialect=OPENAI, operation=wire.OPERATION_COMPLETION, model="m", usage_wanted=True)
            stream = StreamTranslation(Translation(opened, case["upstream"], {}))
        else:
            dialect, upstream = _SEVERAL[case["kind"]]
            stream = SeveralStreams(_translation(dialect, upstream), _ANSWERS, upstream, dialect)
        return stream, b"".join([*(stream.feed(part) for part in parts), stream.finish()])

    def close(self) -> None:
        pass


_REPLIES: Final[Mapping[int, Any]] = {
    OPENAI: {
        "id": "c",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "hé",
                    "reasoning_content": "Hm.",
                    "refusal": None,
                    "annotations": [{"type": "url_citation", "url_citation": _NOTE}],
                    "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
                },
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
    },
    ANTHROPIC: {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "s"},
            {"type": "redacted_thinking", "data": "r"},
            {"type": "text", "text": "hé", "citations": [_CITATION]},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2, "cache_creation": {"ephemeral_5m_input_tokens": 1}},
    },
    GEMINI: _candidate(
        {"text": "Hm.", "thought": True}, {"text": "hé"}, {"functionCall": {"name": "f"}}, reason="STOP"
    ),
    RESPONSE: {
        "id": "resp_1",
        "model": "m",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [{"text": "Hm."}], "encrypted_content": "e"},
            {"type": "message", "content": [{"type": "output_text", "text": "hé", "annotations": [_NOTE]}]},
            {"type": "function_call", "call_id": "t", "name": "f", "arguments": '{"a":1}'},
        ],
        "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
    },
}
_SHAPES: Final = {OPENAI: "choices", ANTHROPIC: "content", GEMINI: "candidates", RESPONSE: "output"}


class DialectRepliesTarget:
    """A whole reply of one wire for a caller of another dialect: a reply of that dialect, or a problem."""

    cost = 4

    def draw(self, source: Random) -> Case:
        name = source.choice(sorted(_PAIRS))
        body = json.dumps(draw_value(source, _REPLIES[_PAIRS[name][1]])).encode()
        return {"pair": name, "body": spoil(source, body, SPICES)}

    def check(self, case: Case) -> None:
        dialect, upstream = _PAIRS[case["pair"]]
        found = _translation(dialect, upstream).read(case["body"])
        if isinstance(found, UpstreamProblem):
            return
        _, written = found
        assert _SHAPES[dialect] in json.loads(written), "a reply without its content"

    def close(self) -> None:
        pass
