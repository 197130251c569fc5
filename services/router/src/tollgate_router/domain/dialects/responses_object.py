"""What a provider's response object says of its own end: what was used, and what failed."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from tollgate_router.domain.upstream_errors import UpstreamProblem, classify, problem_of_error, unreadable
from tollgate_router.domain.usage import ReplyUsage, read_response_usage, with_service

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_ABSENT: Final = msgspec.Raw(b"null")
# Calls of tools that run at the caller, or for nothing but the tokens that they take.
_FREE_CALLS: Final = frozenset(
    (
        *("function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call"),
        *("tool_search_call", "mcp_call"),
    )
)
_MOST_SEARCHES: Final = 10_000
_CALL: Final = re.compile(r"([a-z0-9_.-]{1,32})_call")
# Codes of errors of which another provider would say the same; with status 200 nothing else tells.
_OF_THE_REQUEST: Final = re.compile(r"invalid_|image_|unsupported_|empty_image|failed_to_download")


class _Item(msgspec.Struct):
    type: str = ""
    action: object = None
    environment: object = None


class _Response(msgspec.Struct):
    status: str | None = None
    error: msgspec.Raw = _ABSENT
    usage: msgspec.Raw = _ABSENT
    output: msgspec.Raw = _ABSENT
    service_tier: object = None
    tool_usage: object = None


_RESPONSE: Final = msgspec.json.Decoder(_Response)
_ITEMS: Final = msgspec.json.Decoder(list[_Item])
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER: Final = msgspec.json.Encoder()


class Found(msgspec.Struct, frozen=True):
    """`usage` is None where a response does not say it; `problem` is what it failed by."""

    usage: ReplyUsage | None
    problem: UpstreamProblem | None


def read_response(raw: bytes | msgspec.Raw) -> Found | UpstreamProblem:
    """Returns what a response object that is over says; a problem for what is none."""
    try:
        response = _RESPONSE.decode(raw)
        error = msgspec.json.decode(response.error)
    except _BROKEN:
        return unreadable()
    usage = with_service(_with_calls(read_response_usage(response.usage), response), response.service_tier)
    if error is not None or response.status == "failed":
        return Found(usage, problem_in(error))
    return Found(usage, None) if bytes(memoryview(response.output)[:1]) == b"[" else unreadable()


def problem_in(error: object) -> UpstreamProblem:
    """Returns what the error of a response, or of an event, means."""
    if isinstance(error, dict) and _OF_THE_REQUEST.match(str(error.get("code"))):
        return classify(400, error, 0)
    return problem_of_error(error)


def retold(response: bytes | msgspec.Raw, told: Mapping[str, msgspec.Raw]) -> bytes:
    """Returns a response object, which can be read, with other values of some members."""
    return _ENCODER.encode({**_MEMBERS.decode(response), **told})


def _with_calls(usage: ReplyUsage | None, response: _Response) -> ReplyUsage | None:
    """Adds the calls of tools that run at the provider, who charges for them beside tokens."""
    if usage is None or b'_call"' not in bytes(response.output):
        return usage
    try:
        items = _ITEMS.decode(response.output)
    except _BROKEN:
        return usage
    calls = dict(Counter(unit for item in items if (unit := _unit(item))))
    searches = _member(_member(response.tool_usage, "web_search"), "num_requests")
    if type(searches) is int and 0 <= searches <= _MOST_SEARCHES:
        # What the provider counted itself goes before what shows.
        calls["search"] = searches
    # So does what it counted within its usage.
    units = {name: count for name, count in calls.items() if count and name not in usage.units}
    return ReplyUsage({**usage.units, **units}, estimated=usage.estimated) if units else usage


def _unit(item: _Item) -> str:
    found = _CALL.fullmatch(item.type)
    if found is None or item.type in _FREE_CALLS:
        return ""
    if item.type == "web_search_call":
        # To open a page that was found costs nothing of its own.
        return "search" if _member(item.action, "type") in {None, "search"} else ""
    local = item.type == "shell_call" and _member(item.environment, "type") == "local"
    return "" if local else f"tool_call:{found[1]}"


def _member(found: object, name: str) -> object:
    return found.get(name) if isinstance(found, dict) else None
