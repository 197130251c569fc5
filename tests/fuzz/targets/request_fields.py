"""The fields of a request: edge's decoding against a second JSON parser, and the router's edit of what edge took."""

from random import Random
from typing import Any, Final

from tests.fuzz.cases import Case, mostly, spoil
from tests.fuzz.second_json import NotJson, Number, Pairs, draw_object, plain, read, whole
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.inference.fields import Asked, BadRequest, decode
from tollgate_router.domain.openai_chat import read_body, write_body

_OPERATIONS: Final = {"chat": wire.OPERATION_CHAT, "embeddings": wire.OPERATION_EMBEDDINGS}
_DEPTH: Final = 12
_UPSTREAM: Final = 'up"stream'
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_NAMES: Final = ["model", "messages", "input", "stream", "stream_options", "include_usage", "n", *_LIMITS, "x"]
_USUAL: Final = {
    "model": ['"gpt"', '"\\u0067pt"', '"' + "m" * 200 + '"', '"\\ud83d\\ude00é"'],
    "messages": ["[]", '[{"role":"user","content":"}]\\"[{"}]', "null", '"x"', "[1.5e400,-0]"],
    "input": ['"x"', '["a","b"]', "[[1,2]]"],
    "stream": ["true", "false", "null"],
    "stream_options": ["null", "{}", '{"include_usage":true}', '{"include_usage":null,"x":1}',
                       '{"include_usage":true,"include_usage":false}'],
    "n": ["1", "2", "128", "null"],
    "max_tokens": ["0", "16", "100000000", "null"],
    "max_completion_tokens": ["0", "16", "100000000", "null"],
    "max_output_tokens": ["0", "16", "100000000", "null"],
    "x": ["[]", "{}", "1e5", "-0.5E-3", '"a\\u0000\\n\\ud800"', '{"model":1,"model":{}}', "1" * 40],
}  # fmt: skip
_ODD: Final = [
    '""', '"\\ud800"', '"' + "m" * 201 + '"', "true", "false", "null", "0", "1", "129", "-1", "-0", "1.0", "1.5",
    "1e2", "1E400", "01", "+1", "1.", ".5", "100000001", "9223372036854775808", "-9223372036854775809", "NaN",
    "Infinity", "[]", "{}", '{"include_usage":1}', "[" * _DEPTH + "]" * _DEPTH, "[" * 2000 + "]" * 2000, '"a\\',
    '"\t"', '"\x7f"', '"\x00"', '"\\x"', '"\\u12g4"', "'a'", "[1,]", "[,]", '{"a":1,}', '{"a"}', "{a:1}", "tru",
    "nul", "1 // no\n", "-", "1_0", "0x1", "\u0661",
]  # fmt: skip
_SPICES: Final = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x00",
    b"\\ud800", b"null", b"1", b".", b"e9", b"-", b" ", b"\xc3",
]  # fmt: skip


class RequestFieldsTarget:
    """What the standard's JSON does not allow is refused; what it allows means the same to every process of ours."""

    cost = 1

    def draw(self, source: Random) -> Case:
        operation = source.choice(sorted(_OPERATIONS))
        names = ["model", "messages" if operation == "chat" else "input"]
        names += [source.choice(_NAMES) for _ in range(source.randint(0, 5))]
        source.shuffle(names)
        pairs = [
            (name, mostly(source, _USUAL.get(name, ["1"]), _ODD, 0.04)) for name in names if source.random() < 0.97
        ]
        body = draw_object(source, pairs).encode("utf-8", "surrogatepass")
        return {"operation": operation, "body": spoil(source, body, _SPICES, most=2)}

    def check(self, case: Case) -> None:
        operation, body = case["operation"], case["body"]
        asked = _asked(operation, body)
        expected = _expected(operation, body)
        assert asked == expected, f"edge takes it for {asked}, the second parser for {expected}"
        if asked is not None:
            edited = plain(read(write_body(read_body(body), _UPSTREAM, stream=asked.stream)))
            assert edited == _edited(plain(read(body)), stream=asked.stream), "the upstream sees another request"

    def close(self) -> None:
        pass


def _asked(operation: str, body: bytes) -> Asked | None:
    try:
        return decode(_OPERATIONS[operation], wire.DIALECT_OPENAI_CHAT, body, _DEPTH)
    except BadRequest as error:
        refusal = error
    assert refusal.message.endswith("."), "no sentence"
    assert refusal.param == "" or refusal.param in _NAMES, "no field of the request"
    return None


def _expected(operation: str, body: bytes) -> Asked | None:
    try:
        found = read(body)
    except (NotJson, RecursionError):
        return None
    if not isinstance(found, Pairs) or _depth(found) > _DEPTH or _halves(found):
        return None
    last = found.last()
    content = "messages" if operation == "chat" else "input"
    if not _each(found, "model", _is_model) or ("model" not in last):
        return None
    if content not in last if operation != "chat" else all(last.get(name) is None for name in ("messages", "input")):
        return None
    if not 1 <= len(last.get("model", "")) <= 200:
        return None
    if operation == "embeddings":
        return Asked(last["model"], stream=False, usage_wanted=True, max_output_tokens=0, choices=1)
    return _chat(found, last) if _chat_types(found) else None


def _chat_types(found: Pairs) -> bool:
    """Tells whether every value that stands under a name, the last or not, is of its type."""
    return (
        _each(found, "stream", _is_switch)
        and all(_each(found, name, _is_count) for name in (*_LIMITS, "n"))
        and _each(found, "stream_options", _is_options)
    )


def _chat(found: Pairs, last: dict[str, Any]) -> Asked | None:
    limits = [whole(last[name]) for name in reversed(_LIMITS) if last.get(name) is not None]
    limit = limits[0] if limits else None
    choices = 1 if last.get("n") is None else whole(last["n"])
    if (limit is not None and not 0 <= limit <= 100_000_000) or choices is None or not 1 <= choices <= 128:
        return None
    options = last.get("stream_options")
    return Asked(
        last["model"],
        stream=last.get("stream") is True,
        usage_wanted=options is not None and options.last().get("include_usage") is True,
        max_output_tokens=limit,
        choices=choices,
    )


def _each(found: Pairs, name: str, fits: Any) -> bool:
    return all(fits(value) for key, value in found if key == name)


def _halves(value: object) -> bool:
    """Tells whether a string holds half a surrogate pair, which the standard leaves open and edge refuses."""
    if isinstance(value, str):
        return any("\ud800" <= character <= "\udfff" for character in value)
    return isinstance(value, list | tuple) and any(_halves(inner) for inner in value)


def _is_model(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


def _is_switch(value: object) -> bool:
    return value is None or isinstance(value, bool)


def _is_count(value: object) -> bool:
    return value is None or whole(value) is not None


def _is_options(value: object) -> bool:
    return value is None or (isinstance(value, Pairs) and _each(value, "include_usage", _is_switch))


def _depth(value: object) -> int:
    if isinstance(value, Pairs):
        return 1 + max((_depth(inner) for _, inner in value), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(inner) for inner in value), default=0)
    return 0


def _edited(last: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    changed = {**last, "model": _UPSTREAM}
    if stream:
        changed["stream_options"] = {**(last.get("stream_options") or {}), "include_usage": True}
    return changed
