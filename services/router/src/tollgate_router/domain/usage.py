"""What an upstream says it used, as exclusive units: no token is counted in two of them.

On the OpenAI wire `prompt_tokens` holds cached, audio and image tokens too, and `completion_tokens` holds reasoning.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from tollgate_rating import SEARCH

# More than any context holds; a larger count is a lie, and would cost more than 64 bits of money can say.
_MAX_TOKENS: Final = 2**31
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=_MAX_TOKENS)]


class ReplyUsage(msgspec.Struct, frozen=True):
    """Units by name: input, output, cache_read, cache_write_5m, reasoning, audio_input and so on; none is zero."""

    units: Mapping[str, int]
    estimated: bool
    """The upstream's own numbers contradict each other, or ours stand in for them."""
    service: str = ""
    """The tier of service that the upstream says it was, such as flex; empty for the usual one."""
    others: "tuple[ReplyUsage, ...]" = ()
    """The same in other units, where providers meter it differently: the first one counts that the price knows."""


# What upstreams call the usual tier of service.
_USUAL: Final = frozenset({"default", "standard", "auto"})
_SERVICE: Final = re.compile(r"[a-z0-9_-]{1,32}")


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Tokens | None = None
    cache_write_tokens: _Tokens | None = None
    audio_tokens: _Tokens | None = None
    image_tokens: _Tokens | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: _Tokens | None = None
    audio_tokens: _Tokens | None = None
    image_tokens: _Tokens | None = None


class WireUsage(msgspec.Struct):
    """A `usage` object as it comes."""

    prompt_tokens: _Tokens
    completion_tokens: _Tokens | None = None
    total_tokens: _Tokens | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    # DeepSeek and Moonshot say it here.
    prompt_cache_hit_tokens: _Tokens | None = None
    cached_tokens: _Tokens | None = None
    # Perplexity says these, and xAI the last. Of any kind: what is no count is no reason to doubt the tokens.
    num_search_queries: object = None
    citation_tokens: object = None
    reasoning_tokens: object = None
    search_context_size: object = None
    cost: object = None
    server_side_tool_usage_details: object = None


_DECODER: Final = msgspec.json.Decoder(WireUsage)
_OF_SEARCHES: Final = (
    *("num_search_queries", "citation_tokens", "reasoning_tokens", "search_context_size", "cost"),
    "server_side_tool_usage_details",
)
_TOTALS: Final = tuple(
    name for name in WireUsage.__struct_fields__ if not name.endswith("_details") and name not in _OF_SEARCHES
)
_MOST_SEARCHES: Final = 10_000
# The usual size is that of the unit's own name.
_OF_X: Final = "tool_call:x_search"
_SEARCH_SIZES: Final = {"medium": f"{SEARCH}:medium", "high": f"{SEARCH}:high"}
SEARCHES: Final = (SEARCH, *_SEARCH_SIZES.values())
_NO_PROMPT: Final = _PromptDetails()
_NO_COMPLETION: Final = _CompletionDetails()


def read_usage(raw: bytes | msgspec.Raw, *, needs_output: bool) -> ReplyUsage | None:
    """Returns the units in a JSON `usage` object; None when its totals are missing or cannot be true.

    `needs_output`: a chat reply says `completion_tokens`, one with embeddings need not.
    """
    doubtful = False
    try:
        usage = _DECODER.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        mended = _mend(raw)
        if mended is None:
            return None
        usage, doubtful = mended, True
    if needs_output and usage.completion_tokens is None:
        return None
    return exclusive(usage, doubtful=doubtful)


_OF_RESPONSES: Final = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}


def read_response_usage(raw: bytes | msgspec.Raw) -> ReplyUsage | None:
    """Returns the units in a `usage` object of the Responses API, which has other names; None as `read_usage` does."""
    try:
        found = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    named = {_OF_RESPONSES.get(name, name): value for name, value in found.items()}
    return read_usage(msgspec.json.encode(named), needs_output=True)


def with_service(usage: ReplyUsage | None, said: object) -> ReplyUsage | None:
    """Returns the usage with the tier of service that a reply's `service_tier` says."""
    if usage is None or said is None or not isinstance(said, str):
        return usage
    service = said.lower()
    if service in _USUAL or _SERVICE.fullmatch(service) is None:
        return usage
    return ReplyUsage(usage.units, estimated=usage.estimated, service=service)


def _mend(raw: bytes | msgspec.Raw) -> WireUsage | None:
    """Keeps what is a count, drops what is not; None when the totals are not."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if not isinstance(found, dict):
        return None
    totals = _counts(found)
    if "prompt_tokens" not in totals or (
        found.get("completion_tokens") is not None and "completion_tokens" not in totals
    ):
        return None
    prompt, completion = _counts(found.get("prompt_tokens_details")), _counts(found.get("completion_tokens_details"))
    return WireUsage(
        **{name: totals[name] for name in _TOTALS if name in totals},
        **{name: found[name] for name in _OF_SEARCHES if name in found},
        prompt_tokens_details=_PromptDetails(**_only(prompt, _PromptDetails)),
        completion_tokens_details=_CompletionDetails(**_only(completion, _CompletionDetails)),
    )


def _counts(found: object) -> dict[str, int]:
    if not isinstance(found, dict):
        return {}
    return {
        name: int(value)
        for name, value in found.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= _MAX_TOKENS
        and value % 1 == 0
    }


def _only(counts: dict[str, int], struct: type[Any]) -> dict[str, int]:
    return {name: value for name, value in counts.items() if name in struct.__struct_fields__}


def exclusive(usage: WireUsage, *, doubtful: bool = False) -> ReplyUsage:
    """Returns the units of a usage object; `doubtful` says that it had to be mended."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens or 0
    asked = usage.prompt_tokens_details or _NO_PROMPT
    answered = usage.completion_tokens_details or _NO_COMPLETION
    reasoning = answered.reasoning_tokens or 0
    total = usage.total_tokens
    if total is not None and total != prompt + completion:
        if reasoning and total == prompt + completion + reasoning:
            # Some upstreams count reasoning beside the completion instead of within it.
            completion += reasoning
        else:
            doubtful = True
    cached = asked.cached_tokens or usage.prompt_cache_hit_tokens or usage.cached_tokens or 0
    units: dict[str, int] = {}
    fits = fits_too = True
    if cached or asked is not _NO_PROMPT:
        parts = {
            "cache_read": cached,
            "cache_write_5m": asked.cache_write_tokens or 0,
            "audio_input": asked.audio_tokens or 0,
            "image_input": asked.image_tokens or 0,
        }
        fits = _take(units, "input", prompt, parts)
    elif prompt:
        units["input"] = prompt
    if answered is not _NO_COMPLETION:
        parts = {
            "reasoning": reasoning,
            "audio_output": answered.audio_tokens or 0,
            "image_output": answered.image_tokens or 0,
        }
        fits_too = _take(units, "output", completion, parts)
    elif completion:
        units["output"] = completion
    if not (usage.num_search_queries is usage.search_context_size is usage.server_side_tool_usage_details is None):
        units.update(_searches(usage))
    if isinstance(usage.cost, dict):
        _add_apart(units, usage, usage.cost)
    return ReplyUsage(units, estimated=doubtful or not (fits and fits_too))


def searched(value: object) -> int:
    """Returns how often the web was searched, as a provider says it; 0 for what is no count."""
    return value if type(value) is int and 0 <= value <= _MOST_SEARCHES else 0


def _add_apart(units: dict[str, int], usage: WireUsage, cost: Mapping[str, object]) -> None:
    """Adds what Perplexity counts and charges beside prompt and completion: pages that it read, and thoughts."""
    for unit, name in (("input", "citation"), ("reasoning", "reasoning")):
        count = getattr(usage, f"{name}_tokens")
        if type(count) is int and 0 < count <= _MAX_TOKENS and f"{name}_tokens_cost" in cost:
            units[unit] = units.get(unit, 0) + count


def _searches(usage: WireUsage) -> dict[str, int]:
    """Returns what Perplexity and xAI charge for beside tokens.

    Perplexity asks for each query of deep research, else once for a request, by the size of what is read.
    """
    used = usage.server_side_tool_usage_details
    if isinstance(used, dict):
        counts = {SEARCH: searched(used.get("web_search_calls")), _OF_X: searched(used.get("x_search_calls"))}
        return {unit: count for unit, count in counts.items() if count}
    queries, size = searched(usage.num_search_queries), usage.search_context_size
    by_request = isinstance(usage.cost, dict) and "request_cost" in usage.cost
    if queries and not by_request:
        return {SEARCH: queries}
    known = size if isinstance(size, str) else "low"
    return {_SEARCH_SIZES.get(known, SEARCH): 1} if by_request or size is not None else {}


def _take(units: dict[str, int], rest_name: str, total: int, parts: dict[str, int]) -> bool:
    """Splits `total` into `parts` and a rest, added to `units`; what does not fit is cut and makes the answer False."""
    fits = True
    rest = total
    for name, wanted in parts.items():
        if wanted:
            taken = min(wanted, rest)
            fits = fits and taken == wanted
            rest -= taken
            if taken:
                units[name] = taken
    if rest:
        units[rest_name] = rest
    return fits
