"""`python -m benchmarks.translation`: what it costs the router to translate, beyond handing a body and its reply on.

Within one process, and of its processor time: edge, the upstream client and the recorder do the same for both.
"""

import argparse
import base64
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from services.router.tests.fakes.dialect_bodies import PNG
from services.router.tests.fakes.translating import (
    ANTHROPIC,
    GEMINI,
    NAMES,
    OPENAI,
    PAIRS,
    RESPONSE,
    target,
    translated,
)

from benchmarks.machine import machine
from benchmarks.results import Results, add_option
from tollgate_router.domain.dialects.translate import Sending
from tollgate_router.domain.target import Target

ROUNDS = 7
CHUNKS = 400
WORDS = "and every cart "
MOST_CHUNK, MOST_EXCHANGE, MOST_IMAGE = 25.0, 150.0, 8000.0
IMAGE_BYTES = 750_000
BODIES: dict[int, dict[str, Any]] = {
    OPENAI: {
        "model": "m",
        "max_tokens": 100,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello"}],
    },
    ANTHROPIC: {
        "model": "m",
        "max_tokens": 100,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Say hello"}],
    },
    GEMINI: {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Say hello"}]}],
        "generationConfig": {"maxOutputTokens": 100},
    },
    RESPONSE: {"model": "m", "max_output_tokens": 100, "instructions": "Be brief.", "input": "Say hello"},
}


def with_image(dialect: int) -> dict[str, Any]:
    """Returns a body with a picture of 1 MB of base64."""
    data = base64.b64encode(base64.b64decode(PNG) + bytes(range(256)) * (IMAGE_BYTES // 256)).decode()
    if dialect == OPENAI:
        part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        return BODIES[dialect] | {"messages": [{"role": "user", "content": [part]}]}
    if dialect == ANTHROPIC:
        source = {"type": "base64", "media_type": "image/png", "data": data}
        return BODIES[dialect] | {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}
    if dialect == GEMINI:
        return BODIES[dialect] | {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}]}
    part = {"type": "input_image", "image_url": f"data:image/png;base64,{data}"}
    return BODIES[dialect] | {"input": [{"role": "user", "content": [part]}]}


def reply(upstream: int) -> bytes:
    """Returns a small whole reply on a wire."""
    text = WORDS * 8
    if upstream == OPENAI:
        usage = {"prompt_tokens": 10, "completion_tokens": 24, "total_tokens": 34}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return json.dumps({"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": usage}).encode()
    if upstream == ANTHROPIC:
        said = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]}
        end = {"stop_reason": "end_turn", "usage": {"input_tokens": 10, "output_tokens": 24}}
        return json.dumps(said | end).encode()
    return _contents(text, "STOP")


def _contents(text: str, reason: str = "") -> bytes:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 24, "totalTokenCount": 34}
    end = {"finishReason": reason} if reason else {}
    found = {"candidates": [candidate | end], "usageMetadata": usage, "modelVersion": "m", "responseId": "r"}
    return json.dumps(found).encode()


def chunks(upstream: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Returns the beginning of a stream, its chunks of text, and its end."""
    if upstream == OPENAI:
        end = _chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        text = _chunk([{"index": 0, "delta": {"content": WORDS}, "finish_reason": None}])
        return [], [text] * CHUNKS, [end, b"data: [DONE]\n\n"]
    if upstream == GEMINI:
        return [], [b"data: %b\r\n\r\n" % _contents(WORDS)] * CHUNKS, [b"data: %b\r\n\r\n" % _contents("", "STOP")]
    message = {"id": "msg_1", "model": "m", "content": [], "usage": {"input_tokens": 10, "output_tokens": 1}}
    delta = {"index": 0, "delta": {"type": "text_delta", "text": WORDS}}
    begin = [
        _event("message_start", message=message),
        _event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ]
    end_delta = {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 24}}
    end_events = [_event("content_block_stop", index=0), _event("message_delta", **end_delta), _event("message_stop")]
    return begin, [_event("content_block_delta", **delta)] * CHUNKS, end_events


def _chunk(choices: list[Any]) -> bytes:
    found = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    return b"data: %b\n\n" % json.dumps(found).encode()


def _event(kind: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **members}).encode())


def _micros(step: Callable[[], object], times: int) -> float:
    """Returns the microseconds of processor of one step: the median of the rounds."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        for _ in range(times):
            step()
        found.append((time.process_time_ns() - began) / times / 1000)
    return median(found)


def _passed(upstream: Target, *, stream: bool) -> Sending:
    return translated(upstream.wire, upstream, BODIES[upstream.wire], stream=stream)


def per_chunk(dialect: int, upstream: Target) -> float:
    """Returns what a chunk of text costs beyond one that is handed on."""
    begin, texts, _ = chunks(upstream.wire)

    def micros(sent: Callable[[], Sending]) -> float:
        def stream() -> None:
            found = sent().filter
            assert found is not None
            for frame in (*begin, *texts):
                found.feed(frame)

        return _micros(stream, 1) / len(texts)

    translating = micros(lambda: translated(dialect, upstream, BODIES[dialect], stream=True))
    return translating - micros(lambda: _passed(upstream, stream=True))


def per_exchange(dialect: int, upstream: Target, body: dict[str, Any], passed: dict[str, Any], times: int) -> float:
    """Returns what a body and its whole reply cost beyond those that are handed on."""
    text, same, answer = json.dumps(body).encode(), json.dumps(passed).encode(), reply(upstream.wire)
    translating = _micros(lambda: translated(dialect, upstream, text).read(answer), times)
    return translating - _micros(lambda: translated(upstream.wire, upstream, same).read(answer), times)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a line for each pair; returns 1 when one is beyond what is aimed at."""
    parser = argparse.ArgumentParser(prog="benchmarks.translation", description=__doc__)
    add_option(parser)
    options = parser.parse_args(arguments)
    results, most = Results("translation"), [0.0, 0.0, 0.0]
    print(machine())
    print(f"{'us of processor beyond handing on':<36} {'chunk':>8} {'exchange':>9} {'1 MB picture':>13}")
    for name, (dialect, wire) in PAIRS.items():
        upstream = replace(target(wire), max_output_tokens=8192)
        row = [
            per_chunk(dialect, upstream),
            per_exchange(dialect, upstream, BODIES[dialect], BODIES[wire], 200),
            per_exchange(dialect, upstream, with_image(dialect), with_image(wire), 3),
        ]
        most = [max(pair) for pair in zip(most, row, strict=True)]
        results.add("translation", dialect=NAMES[dialect], wire=NAMES[wire], micros=row)
        print(f"{name:<36} {row[0]:8.1f} {row[1]:9.1f} {row[2]:13.0f}", flush=True)
    results.write(options.json)
    aims = (MOST_CHUNK, MOST_EXCHANGE, MOST_IMAGE)
    print(f"{'aimed at, at most':<36} {aims[0]:8.1f} {aims[1]:9.1f} {aims[2]:13.0f}")
    return int(any(found > aim for found, aim in zip(most, aims, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
