"""A binary stream of Bedrock's: the same at every split, and read as by a second reader, up to the first damage."""

import json
from binascii import crc32
from random import Random
from typing import Any, Final

from tests.fuzz.cases import Case, draw_cuts, mostly, pieces, spoil
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.event_stream import Damaged, MessageSplitter
from tollgate_router.domain.dialects.translate import StreamTranslation, Translation
from tollgate_router.domain.target import WIRE_BEDROCK

_KINDS: Final = [
    "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "ping", "",
]  # fmt: skip
_PAYLOADS: Final = [
    '{"role":"assistant"}',
    '{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}',
    '{"contentBlockIndex":0,"delta":{"text":"h\u00e9"}}',
    '{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}}}',
    '{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"s","redactedContent":"aGk="}}}',
    '{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\\"a\\":1}"}}}',
    '{"contentBlockIndex":0}',
    '{"stopReason":"end_turn"}',
    '{"stopReason":"tool_use"}',
    '{"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5}}',
    '{"message":"slow down"}',
]
_ODD: Final = [
    "", "{", "[]", "null", '{"delta":{"text":7}}', '{"usage":{"inputTokens":-1,"outputTokens":9e99}}', '{"delta":null}',
    '{"contentBlockIndex":-1,"delta":{"toolUse":{"input":"x"}}}', '{"message":[1]}', '{"start":{"toolUse":{}}}',
]  # fmt: skip
_SPICES: Final = [b"\x00", b"\xff", b"\x00\x00\x00\x10", b"\x7f\xff\xff\xff", b"\x0b:event-type\x07", b"{}", b'"']
_CALLERS: Final = (wire.DIALECT_OPENAI_CHAT, wire.DIALECT_ANTHROPIC, wire.DIALECT_GEMINI)


class ConverseStreamTarget:
    """A reply in pieces, for callers of three dialects."""

    cost = 1

    def draw(self, source: Random) -> Case:
        data = b"".join(_message(source) for _ in range(source.randint(0, 8)))
        if source.random() < 0.5:
            data = spoil(source, data, _SPICES)
        return {"data": data, "cuts": draw_cuts(source, len(data))}

    def check(self, case: Case) -> None:
        data, parts = case["data"], pieces(case["data"], case["cuts"])
        expected = slowly(data)
        assert split([data]) == expected, "whole"
        assert split(parts) == expected, "in pieces"
        for caller in _CALLERS:
            whole, cut = translated(caller, [data]), translated(caller, parts)
            assert whole == cut, f"whole it is {whole}, in pieces {cut}"

    def close(self) -> None:
        pass


def split(parts: list[bytes]) -> tuple[list[Any], bool]:
    """Returns the messages that the router reads, and whether it found damage."""
    one = MessageSplitter()
    read: list[Any] = []
    try:
        for part in parts:
            read.extend(one.feed(part))
    except Damaged:
        return read, True
    return read, False


def slowly(data: bytes) -> tuple[list[Any], bool]:
    """Returns the same, read one after the other from what is whole."""
    read = []
    while len(data) >= 12:
        length, headers = int.from_bytes(data[:4]), int.from_bytes(data[4:8])
        if crc32(data[:8]) != int.from_bytes(data[8:12]):
            return read, True
        if length < headers + 16 or length > 24 * 1024 * 1024 or headers > 128 * 1024:
            return read, True
        if len(data) < length:
            break
        if crc32(data[: length - 4]) != int.from_bytes(data[length - 4 : length]):
            return read, True
        said = _names(data[12 : 12 + headers])
        if said is None:
            return read, True
        read.append((said, data[12 + headers : length - 4]))
        data = data[length:]
    return read, False


def _names(data: bytes) -> dict[str, str] | None:
    """Reads headers of which this target writes only those of text; others only come by spoiling what has no sum."""
    found = {}
    while data:
        size = data[0]
        name, kind, length = data[1 : 1 + size], data[1 + size], int.from_bytes(data[2 + size : 4 + size])
        assert kind == 7
        found[name.decode()] = data[4 + size : 4 + size + length].decode()
        data = data[4 + size + length :]
    return found


def translated(caller: int, parts: list[bytes]) -> tuple[bytes, object, object, bool]:
    """Returns what the caller gets, the usage, what was wrong, and whether it ended well."""
    opened = wire.Open(
        dialect=caller, operation=wire.OPERATION_CHAT, model="m", stream=True, usage_wanted=True, request_id="r"
    )
    one = StreamTranslation(Translation(opened, WIRE_BEDROCK, {}))
    said = b"".join(one.feed(part) for part in parts) + one.finish()
    return said, one.usage, one.problem, one.complete


def _message(source: Random) -> bytes:
    kind = mostly(source, ["event"], ["exception", "error", "other"], 0.1)
    name = source.choice(_KINDS) if kind == "event" else source.choice(["throttlingException", "validationException"])
    headers = {f":{'event' if kind == 'event' else 'exception'}-type": name, ":message-type": kind}
    said = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + len(value).to_bytes(2) + value.encode()
        for key, value in headers.items()
    )
    payload = mostly(source, _PAYLOADS, _ODD, 0.2)
    if payload.startswith("{") and source.random() < 0.2:
        payload = json.dumps({"padded": "x" * source.randint(0, 300), "is": payload})
    data = payload.encode()
    prelude = (len(said) + len(data) + 16).to_bytes(4) + len(said).to_bytes(4)
    whole = prelude + crc32(prelude).to_bytes(4) + said + data
    return whole + crc32(whole).to_bytes(4)
