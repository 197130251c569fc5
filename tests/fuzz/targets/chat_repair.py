"""The filter that mends replies of compatible providers: the same at every split, and what clients can read."""

import json
from random import Random
from typing import Any, Final

from tests.fuzz.cases import Case, draw_cuts, mostly, pieces, spoil
from tests.fuzz.targets.chat_stream import ChatStreamTarget
from tollgate_resources import Quirks
from tollgate_router.domain.chat_repair import RepairedStream
from tollgate_router.domain.quirks.wire import NO_QUIRKS, WireQuirks

_GIVEN: Final = {"id": "chatcmpl-g", "created": 5, "model": "m"}
_QUIRKS: Final = {
    "reply": {
        "reasoning": ["thinking", "content[].thinking[].text", "details[].text"],
        "usage": ["choices[0].usage", "x.usage"],
        "finish_reasons": {"sensitive": "content_filter", "broken": "error"},
    },
    "error": {"at": ["base"], "message": ["words"], "code": ["number"], "fine": [0]},
    "errors": [{"means": "quota", "code": ["1"]}, {"means": "invalid_parameter", "words": ["bad {param}"]}],
}
_CALL: Final = '{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{"}}'
_DELTAS: Final = [
    '{"role":"assistant","content":""}', '{"content":"a"}', '{"content":"\\u00fc\\"b"}', '{"reasoning":"r"}',
    '{"reasoning_content":"r"}', '{"content":[{"type":"text","text":"t"},{"thinking":[{"text":"h"}]}]}', "{}",
    f'{{"tool_calls":[{_CALL}]}}', '{"tool_calls":[{"function":{"arguments":"1"}}]}',
    f'{{"tool_calls":[{_CALL},{_CALL}]}}',
    '{"tool_calls":[{"index":3,"function":{"name":7,"arguments":{"a":1}}},5]}', '{"details":[{"text":"d"},4]}',
]  # fmt: skip
_ODD: Final = ["null", "7", '{"tool_calls":{}}', '{"content":7}', '{"content":[7,{"text":8}]}', '{"role":5}']
_FINISH: Final = ["null", "null", "null", '"stop"', '""', '"eos"', '"sensitive"', '"broken"', "7"]
_MORE: Final = [
    '"error":null', '"error":{"code":429}', '"usage":{"prompt_tokens":1,"completion_tokens":2}', '"base":{"number":0}',
    '"base":{"number":1,"words":"bad top_p"}', '"x":{"usage":{"prompt_tokens":3,"completion_tokens":4}}', '"id":null',
    '"created":"x"', '"usage":[]', '"service_tier":"flex"',
]  # fmt: skip


class ChatRepairTarget:
    """A reply of a provider with ways of its own, in pieces. What goes on keeps the rules that clients depend on."""

    cost = 1

    def draw(self, source: Random) -> Case:
        if source.random() < 0.3:
            return {**ChatStreamTarget().draw(source), "quirks": source.random() < 0.5}
        frames = [_frame(source) for _ in range(source.randint(0, 9))]
        if source.random() < 0.7:
            frames.append("data: [DONE]\n\n")
        data = "".join(frames).encode("utf-8", "surrogatepass")
        if source.random() < 0.2:
            data = spoil(source, data, [b"\n", b"\r", b'"', b"{", b"data:", b"[", b"\xff", b"null"])
        cuts = draw_cuts(source, len(data))
        return {"data": data, "cuts": cuts, "wanted": source.random() < 0.5, "quirks": source.random() < 0.5}

    def check(self, case: Case) -> None:
        quirks = WireQuirks(Quirks.model_validate(_QUIRKS)) if case["quirks"] else NO_QUIRKS
        whole = _passed(quirks, [case["data"]], wanted=case["wanted"])
        cut = _passed(quirks, pieces(case["data"], case["cuts"]), wanted=case["wanted"])
        assert whole == cut, f"whole it is {whole}, in pieces {cut}"
        _check_rules(*whole, wanted=case["wanted"])

    def close(self) -> None:
        pass


def _frame(source: Random) -> str:
    head = '"id":"1","object":"chat.completion.chunk","created":7,"model":"up",' if source.random() < 0.8 else ""
    delta = mostly(source, _DELTAS, _ODD, 0.1)
    index = '"index":0,' if source.random() < 0.8 else f'"index":{source.choice([1, "null", 2])},'
    choice = f'{{{index}"delta":{delta},"finish_reason":{source.choice(_FINISH)}}}'
    choices = mostly(source, [choice], ["[]", "null", f"{choice},{choice}", "7"], 0.1)
    more = "," + source.choice(_MORE) if source.random() < 0.3 else ""
    return f'data: {{{head}"choices":[{choices}]{more}}}\n\n'


def _passed(quirks: WireQuirks, parts: list[bytes], *, wanted: bool) -> tuple[bytes, bool, object]:
    stream = RepairedStream(quirks, _GIVEN, usage_wanted=wanted)
    passed = b"".join([*(stream.feed(part) for part in parts), stream.finish()])
    assert not stream.complete or stream.problem is None, "a problem, and complete"
    return passed, stream.complete, stream.problem


def _check_rules(passed: bytes, complete: bool, problem: object, *, wanted: bool) -> None:  # noqa: FBT001 - as it came.
    roles: set[int] = set()
    finished: set[int] = set()
    usages = 0
    frames = [frame for frame in passed.split(b"\n\n") if frame and not frame.startswith(b":")]
    assert all(frame.startswith(b"data: ") and b"\n" not in frame for frame in frames), frames
    if complete:
        assert frames[-1] == b"data: [DONE]"
    for frame in frames:
        if frame == b"data: [DONE]":
            continue
        chunk: dict[str, Any] = json.loads(frame[6:])
        assert "error" not in chunk
        assert all(chunk[name] for name in ("id", "object", "created", "model"))
        if not chunk["choices"]:
            usages += 1
            continue
        (choice,) = chunk["choices"]
        index, delta = choice["index"], choice["delta"]
        assert ("role" in delta) == (index not in roles), "one role"
        roles.add(index)
        assert len(delta.get("tool_calls", ())) <= 1, "one call to a chunk"
        if choice["finish_reason"] is not None:
            assert index not in finished, "one reason to finish"
            finished.add(index)
    assert usages <= wanted
    assert not complete or roles == finished or problem is not None
