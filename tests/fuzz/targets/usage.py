"""What an upstream says it used: never more than it says, never lost, the same alone and within a reply."""

import math
from random import Random
from typing import Any, Final

import msgspec

from tests.fuzz.cases import Case, mostly, spoil
from tests.fuzz.second_json import NotJson, Number, Pairs, draw_object, read
from tollgate_router.domain.openai_chat import read_reply
from tollgate_router.domain.usage import ReplyUsage, read_usage

_MOST: Final = 2**31
_TOTALS: Final = ["prompt_tokens", "completion_tokens", "total_tokens"]
_PROMPT: Final = ["cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"]
_COMPLETION: Final = ["reasoning_tokens", "audio_tokens", "image_tokens"]
_CACHED: Final = ["prompt_cache_hit_tokens", "cached_tokens"]
_INPUT: Final = {"input", "cache_read", "cache_write_5m", "audio_input", "image_input"}
_OUTPUT: Final = {"output", "reasoning", "audio_output", "image_output"}
_COUNTS: Final = ["0", "1", "2", "3", "5", "8", "13"]
_ODD: Final = [
    "null", "-1", "1.0", "1.5", "1e1", "1e400", "-0", str(_MOST), str(_MOST + 1), "9" * 30, '"7"', "true", "[]", "{}",
    "NaN", "01",
]  # fmt: skip
_SPICES: Final = [b'"', b"{", b"}", b",", b":", b"null", b"1", b"-", b".", b"e9", b"\xff", b"\\ud800", b" "]


class UsageTarget:
    """A usage object, read by itself and as part of a chat reply."""

    cost = 1

    def draw(self, source: Random) -> Case:
        pairs = [(name, _count(source)) for name in _TOTALS if source.random() < 0.9]
        pairs += [(name, _count(source)) for name in _CACHED if source.random() < 0.2]
        for name, parts in (("prompt_tokens_details", _PROMPT), ("completion_tokens_details", _COMPLETION)):
            if source.random() < 0.6:
                inner = [(part, _count(source)) for part in parts if source.random() < 0.5]
                pairs.append((name, draw_object(source, inner) if source.random() < 0.95 else source.choice(_ODD)))
        pairs += source.sample(pairs, 1) if pairs and source.random() < 0.1 else []
        source.shuffle(pairs)
        return {"usage": spoil(source, draw_object(source, pairs).encode("utf-8", "surrogatepass"), _SPICES, most=2)}

    def check(self, case: Case) -> None:
        raw: bytes = case["usage"]
        for needs_output in (True, False):
            found = read_usage(raw, needs_output=needs_output)
            if found is not None:
                _check_units(found)
            if (said := _said(raw)) is not None:
                _check_against(found, said, needs_output=needs_output)
        self._check_reply(raw)

    def close(self) -> None:
        pass

    @staticmethod
    def _check_reply(raw: bytes) -> None:
        """The quick way through a whole reply and the slow one say the same."""
        body = b'{"choices":[{"index":0}],"usage":' + raw + b"}"
        try:
            msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if not isinstance(msgspec.json.decode(body).get("usage"), dict) or set(msgspec.json.decode(body)) != {
            "choices",
            "usage",
        }:
            return
        whole, alone = read_reply(body), read_usage(raw, needs_output=True)
        assert whole == alone, f"within a reply it is {whole}, alone {alone}"


def _count(source: Random) -> str:
    return mostly(source, _COUNTS, _ODD, 0.1)


def _check_units(found: ReplyUsage) -> None:
    assert set(found.units) <= _INPUT | _OUTPUT, "a unit that nobody knows"
    assert all(type(count) is int and 0 < count <= 2 * _MOST for count in found.units.values()), "no count"


def _said(raw: bytes) -> dict[str, Any] | None:
    """Returns the object as a second parser reads it; None when it is none, says a thing twice, or is refused whole.

    Refused are halves of surrogate pairs, and numbers beyond every float: our own estimate stands in then.
    """
    try:
        found = read(raw)
    except (NotJson, RecursionError):
        return None
    if not isinstance(found, Pairs) or not _is_plain(found):
        return None
    return found.last()


def _is_plain(value: object) -> bool:
    if isinstance(value, Number):
        return math.isfinite(float(value))
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, Pairs) and len(value.last()) != len(value):
        return False
    return all(_is_plain(inner) for inner in value) if isinstance(value, list | tuple) else True


def _number(value: object) -> int | None:
    """Returns a count that may be believed, however it is written."""
    if not isinstance(value, Number):
        return None
    number = float(value)
    return int(number) if 0 <= number <= _MOST and number % 1 == 0 else None


def _check_against(found: ReplyUsage | None, said: dict[str, Any], *, needs_output: bool) -> None:
    prompt, completion = _number(said.get("prompt_tokens")), _number(said.get("completion_tokens"))
    believable = prompt is not None and (completion is not None or said.get("completion_tokens") is None)
    if not believable or (needs_output and completion is None):
        assert found is None, "usage out of nothing"
        return
    assert prompt is not None
    assert found is not None, "usage was said and is lost"
    asked = sum(count for name, count in found.units.items() if name in _INPUT)
    answered = sum(count for name, count in found.units.items() if name in _OUTPUT)
    assert asked == prompt, f"{asked} tokens in, {prompt} were said"
    details = said.get("completion_tokens_details")
    reasoning = (_number(details.last().get("reasoning_tokens")) if isinstance(details, Pairs) else None) or 0
    said_out = {completion or 0}
    if _number(said.get("total_tokens")) == prompt + (completion or 0) + reasoning:
        # Said beside the completion instead of within it.
        said_out = {(completion or 0) + reasoning}
    assert answered in said_out, f"{answered} tokens out, {said_out} were said"
