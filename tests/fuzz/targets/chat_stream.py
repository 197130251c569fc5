"""The filter that a streamed reply passes: the same at every split, and as a slow one that decodes all."""

import json
import re
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

import msgspec

from tests.fuzz.cases import Case, draw_cuts, mostly, pieces, spoil
from tests.fuzz.second_json import NotJson, Pairs, draw_object, read
from tollgate_router.domain.chat_stream import DONE, TAIL_BYTES, ChatStream
from tollgate_router.domain.upstream_errors import problem_of_error, unreadable
from tollgate_router.domain.usage import ReplyUsage, read_usage

_USAGES: Final = [
    '{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}', '{"completion_tokens":3,"prompt_tokens":12}',
    '{"prompt_tokens": 7, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}}', "null",
]  # fmt: skip
_ODD_USAGES: Final = ['{"total_tokens":5}', "{}", "[]", "7", '{"prompt_tokens":-1}', '{"prompt_tokens":1}']
_DELTA: Final = '[{"index":0,"delta":{"content":"hé"},"finish_reason":null}]'
_CHOICES: Final = [
    _DELTA, '[{"index":0,"delta":{},"finish_reason":"stop"}]', "[]",
    '[{"delta":{"content":"\\"usage\\": {\\"prompt_tokens\\": 9} data: [DONE] \\n\\n {\\"error\\": 1}"}}]',
]  # fmt: skip
_ODD_CHOICES: Final = ["null", "{}", '[{"delta":{"error":{"message":"x"}}}]', '[{"usage":{"prompt_tokens":1}}]', "1"]
_ERRORS: Final = ["null", '{"message":"overloaded","type":"server_error"}', '{"code":429}', '"no"', "{}", "[1]"]
_OTHER: Final = [
    ": keep-alive", "event: message", "event: error", "id: 1", "retry: 10", "data: [DONE]", "data:[DONE]", "data:",
    "data", "data: 1", "data: []", "data: {", "", "x", "data: [DONE] ", ":", "\ufeff",
]  # fmt: skip
_MARK: Final = b"\xef\xbb\xbf"
_NOTABLE: Final = re.compile(rb'"error"|_tokens"')
_FINISH: Final = re.compile(rb'"finish_reason" ?: ?"')
_FIELDS: Final = (b"data:", b":", b"event:", b"id:", b"retry:")
_SPICES: Final = [
    b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r", b"data:", b"data: ", b"data: [DONE]\n\n", b'"usage"',
    b'"prompt_tokens"', b'"error"', b"{", b"}", b'"', b"\\", b": x\n\n", b"event: e\n", b"\xef\xbb\xbf", b"\xff",
    b" ", b"null", b'"usage":null',
]  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What a stream came to."""

    passed: bytes
    usage: ReplyUsage | None
    done: bool
    problem: object


class ChatStreamTarget:
    """A reply in pieces. What is passed on is whole frames of it, less the usage that was not asked for."""

    cost = 1

    def draw(self, source: Random) -> Case:
        end = mostly(source, ["\n"], ["\r\n"], 0.2)
        frames = [_frame(source, end) for _ in range(source.randint(0, 7))]
        if source.random() < 0.7:
            frames.append(f"data: [DONE]{end}{end}")
        data = spoil(source, "".join(frames).encode("utf-8", "surrogatepass"), _SPICES)
        return {"data": data, "cuts": draw_cuts(source, len(data)), "wanted": source.random() < 0.5}

    def check(self, case: Case) -> None:
        data, wanted = case["data"], case["wanted"]
        whole, cut = filtered([data], wanted=wanted), filtered(pieces(data, case["cuts"]), wanted=wanted)
        assert _without_blanks(whole) == _without_blanks(cut), f"whole it is {whole}, in pieces {cut}"
        expected = slowly(data, wanted=wanted)
        assert _without_blanks(whole) == _without_blanks(expected), f"it is {whole}, and slowly {expected}"

    def close(self) -> None:
        pass


def _without_blanks(seen: Seen) -> Seen:
    """Blank lines between frames say nothing, so it does not matter which of them were passed on."""
    return replace(seen, passed=re.sub(rb"(?:\r?\n)*\r?\n\r?\n", b"\n\n", seen.passed).lstrip(b"\r\n"))


def filtered(parts: list[bytes], *, wanted: bool) -> Seen:
    """Returns what the product's filter makes of these pieces."""
    stream = ChatStream(usage_wanted=wanted)
    passed = b"".join([*(stream.feed(part) for part in parts), stream.finish()])
    assert not stream.complete or stream.problem is None, "a problem, and complete"
    return Seen(passed, stream.usage, stream.done, stream.problem)


def _frame(source: Random, end: str) -> str:
    lines = [_data(source) if source.random() < 0.75 else source.choice(_OTHER)]
    if source.random() < 0.1:
        lines.insert(source.randint(0, 1), source.choice(_OTHER))
    return end.join([*lines, "", ""])


def _data(source: Random) -> str:
    pairs = [("id", '"1"')] if source.random() < 0.7 else []
    if source.random() < 0.95:
        pairs.append(("choices", mostly(source, _CHOICES, _ODD_CHOICES, 0.1)))
    if source.random() < 0.3:
        pairs.append(("usage", mostly(source, _USAGES, _ODD_USAGES, 0.2)))
    if source.random() < 0.1:
        pairs.append(("error", source.choice(_ERRORS)))
    if source.random() < 0.1:
        pairs.append(("padding", json.dumps("p" * source.choice([100, 600, 3000]))))
    if source.random() < 0.3:
        source.shuffle(pairs)
    if source.random() < 0.2:
        return "data: " + draw_object(source, pairs)
    return "data: {" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"


# The slow filter: frame by frame, line by line, everything decoded by the second parser.


def slowly(data: bytes, *, wanted: bool) -> Seen:
    """Returns what should come of a reply, whole."""
    reading = _Slow(wanted=wanted)
    frame = b""
    for line in data.split(b"\n")[:-1]:
        frame += line + b"\n"
        if line in {b"", b"\r"}:
            reading.take(frame)
            frame = b""
    reading.end(frame + data.rpartition(b"\n")[2])
    passed = b"".join(reading.out)
    if reading.problem is None and not reading.done and _FINISH.search(passed[-TAIL_BYTES:]):
        # Its reason to finish is the answer's last word, and what callers wait for is said in the provider's place.
        return Seen(passed + DONE, reading.usage, done=True, problem=None)
    return Seen(passed, reading.usage, reading.done, reading.problem)


class _Slow:
    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self._begun = False
        self.out: list[bytes] = []
        self.usage: ReplyUsage | None = None
        self.done = False
        self.problem: object = None

    def take(self, frame: bytes) -> None:
        """Reads one frame, blank line and all."""
        if not self._begun:
            frame = frame.lstrip().removeprefix(_MARK).lstrip()
        if self.problem is not None or not frame:
            return
        if not self._begun and not frame.startswith(_FIELDS):
            self.problem = _no_stream(frame)
            return
        lines = frame.split(b"\n")
        self._begun = self._begun or any(line.startswith(b"data:") for line in lines)
        if not self._begun:
            return
        # Names are known as they are always written, never escaped.
        kept = [line if not _NOTABLE.search(frame) else self._line(line) for line in lines]
        left = [line for line in kept if line is not None]
        if self.problem is None and (len(left) == len(lines) or any(line.startswith(b"data:") for line in left)):
            self.out.append(b"\n".join(left))
            self.done = self.done or any(line[:5] == b"data:" and line[5:].strip() == b"[DONE]" for line in left)

    def end(self, rest: bytes) -> None:
        """What is left becomes a frame of the lines that are whole."""
        if not self._begun:
            rest = rest.lstrip().removeprefix(_MARK).lstrip()
        if not self._begun and not rest.startswith(_FIELDS):
            self.problem = self.problem or (_no_stream(rest) if rest else None)
            return
        lines = [line for line in rest.replace(b"\r", b"\n").split(b"\n") if line]
        whole = [line for line in lines if not line.startswith(b"data:") or _is_whole(line)]
        if whole and rest.strip():
            self.take(b"\n".join(whole) + b"\n\n")

    def _line(self, line: bytes) -> bytes | None:
        chunk = _chunk(line)
        if chunk is None or self.problem is not None:
            return line
        if chunk.get("error") is not None and not _has_choices(chunk):
            self.problem = problem_of_error(_value(line, "error"))
            return None
        said = _raw(line, "usage") if isinstance(chunk.get("usage"), Pairs) else b""
        # A usage that counts no tokens is none.
        if b'_tokens"' not in said:
            return line
        self.usage = read_usage(said, needs_output=True) or self.usage
        if self._wanted:
            return line
        return _less_usage(line) if _has_choices(chunk) else None


def _is_whole(line: bytes) -> bool:
    return line[5:].strip() == b"[DONE]" or _chunk(line) is not None


def _chunk(line: bytes) -> dict[str, Any] | None:
    return _object(line[5:].strip()) if line.startswith(b"data:") else None


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        # The filter looks at the structure and passes on the letters, whatever they are: any byte is one here.
        found = read(text.decode("latin-1").encode())
    except (NotJson, RecursionError):
        return None
    return found.last() if isinstance(found, Pairs) else None


def _has_choices(chunk: dict[str, Any]) -> bool:
    choices = chunk.get("choices")
    return isinstance(choices, list) and not isinstance(choices, Pairs) and bool(choices)


class _Read(msgspec.Struct):
    usage: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


def _raw(line: bytes, name: str) -> bytes:
    return bytes(getattr(msgspec.json.decode(line[5:].strip(), type=_Read), name))


def _value(line: bytes, name: str) -> object:
    try:
        return msgspec.json.decode(_raw(line, name))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _less_usage(line: bytes) -> bytes:
    try:
        members = msgspec.json.decode(line[5:].strip(), type=dict[str, msgspec.Raw])
    except UnicodeDecodeError:
        return line
    del members["usage"]
    return b"data: " + msgspec.json.encode(members) + (b"\r" if line.endswith(b"\r") else b"")


def _no_stream(frame: bytes) -> object:
    if frame.strip()[:1] != b"{":
        return unreadable()
    error = _value(b"data:" + frame.strip(), "error") if (_object(frame.strip()) or {}).get("error") else None
    return problem_of_error(error) if error else unreadable()
