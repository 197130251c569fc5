"""A stream of the Responses API that passes: the same at every split; what goes out is what came, or bears our id."""

import json
import re
from random import Random
from typing import Any, Final

import msgspec

from tests.fuzz.cases import Case, draw_cuts, pieces, spoil
from tollgate_router.domain.dialects.responses_native_stream import NativeStream

_USAGE: Final = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
_MESSAGE: Final = {"id": "msg_1", "type": "message", "content": [{"type": "output_text", "text": "hé"}]}
_WHOLE: Final[dict[str, Any]] = {"id": "resp_1", "object": "response", "error": None, "output": [_MESSAGE]}
_ERROR: Final = {"code": "server_error", "message": "x"}
_EVENTS: Final[list[dict[str, Any]]] = [
    {"type": "response.created", "response": _WHOLE | {"output": []}},
    {"type": "response.in_progress", "response": _WHOLE | {"output": []}},
    {"type": "response.output_item.added", "item": _MESSAGE},
    {"type": "response.output_text.delta", "delta": 'a "response" or an "error"\n\ndata: {}'},
    {"type": "response.output_text.delta", "delta": "response"},
    {"type": "response.output_text.delta", "delta": "error"},
    {"type": "response.output_item.done", "item": _MESSAGE},
    {"type": "response.completed", "response": _WHOLE | {"usage": _USAGE, "status": "completed"}},
]
_OTHERS: Final[list[Any]] = [
    {"type": "response.incomplete", "response": _WHOLE | {"usage": _USAGE}},
    {"type": "response.failed", "response": _WHOLE | {"error": _ERROR, "usage": _USAGE}},
    {"type": "error", "error": _ERROR}, {"type": "error", **_ERROR}, {"type": "response.completed", "response": {}},
    {"type": "response.completed", "response": 7}, {"type": 7}, {}, [], None, "x",
]  # fmt: skip
_SPICES: Final = [
    b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"data: ", b"data: [DONE]\n\n", b'"response"', b'"error"', b'.delta"', b"{",
    b"}", b'"', b"\\", b": x\n\n", b"event: e\n", b"\xff", b"null", b"<html>\n\n",
]  # fmt: skip
_TOLD: Final = {"id": msgspec.Raw(b'"resp_ours"')}


class ResponsesStreamTarget:
    """A reply in pieces. `told`: its responses get an id of ours."""

    cost = 1

    def draw(self, source: Random) -> Case:
        events: list[Any] = list(_EVENTS)
        for _ in range(source.choice([0, 0, 1, 2, 4])):
            place = source.randrange(len(events))
            if source.random() < 0.3 and len(events) > 1:
                del events[place]
            else:
                events.insert(place, source.choice([*_OTHERS, *_EVENTS]))
        data = spoil(source, b"".join(map(_frame, events)), _SPICES)
        return {"data": data, "cuts": draw_cuts(source, len(data)), "told": source.random() < 0.5}

    def check(self, case: Case) -> None:
        data, told = case["data"], case["told"]
        whole, out = filtered([data], told=told)
        parts, cut = filtered(pieces(data, case["cuts"]), told=told)
        assert (whole.complete, whole.problem, whole.usage) == (parts.complete, parts.problem, parts.usage)
        if whole.problem is None:
            assert _plain(out) == _plain(cut), f"whole it is {out!r}, in pieces {cut!r}"
        else:
            assert out == b"", "something before an error that came in the same read"
        for passed in (out, cut):
            assert not passed or passed.endswith((b"\n\n", b"\r\n\r\n")), "a frame that is not whole"
            if told:
                assert _ids(passed) <= {"resp_ours"}, "an id of the provider's"
            else:
                assert _frames(passed) <= _frames(data), "what did not come"

    def close(self) -> None:
        pass


def filtered(parts: list[bytes], *, told: bool) -> tuple[NativeStream, bytes]:
    """Returns the filter behind these pieces, and what it passed on."""
    stream = NativeStream(_TOLD if told else {})
    return stream, b"".join([*(stream.feed(part) for part in parts), stream.finish()])


def _ids(stream: bytes) -> set[Any]:
    """Returns the ids of all responses in a stream."""
    found = set()
    for line in _plain(stream).split(b"\n"):
        try:
            event = json.loads(line.removeprefix(b"data:")) if line.startswith(b"data:") else None
        except (ValueError, RecursionError):
            continue
        response = event.get("response") if isinstance(event, dict) else None
        if isinstance(response, dict):
            found.add(response.get("id"))
    return found


def _plain(stream: bytes) -> bytes:
    """Blank lines between frames say nothing, nor does how lines end."""
    return re.sub(rb"\n{2,}", b"\n\n", stream.replace(b"\r\n", b"\n")).lstrip(b"\n")


def _frames(stream: bytes) -> set[bytes]:
    return {found for frame in _plain(stream).split(b"\n\n") if (found := frame.strip())}


def _frame(event: Any) -> bytes:
    name = f"event: {event['type']}\n" if isinstance(event, dict) and isinstance(event.get("type"), str) else ""
    return f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()
