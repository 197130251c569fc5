"""What a Responses reply repeats of its request, as its clients expect."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.members import read

_ECHOED: Final = (
    *("instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "previous_response_id"),
    *("prompt_cache_key", "reasoning", "safety_identifier", "store", "temperature", "tool_choice", "tools", "top_p"),
    *("truncation", "user"),
)
_LONG: Final = frozenset(("instructions", "tools"))
_TEXT_FORMAT: Final = {"type": "text"}


def echo_of(members: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Returns the members of a reply that are those of its request, each as it came. Raises Refused."""
    found = {
        name: members[name] for name in _ECHOED if name in members and bytes(memoryview(members[name])[:4]) != b"null"
    }
    text = read(members, "text", dict[str, Any])
    if text is not None:
        found["text"] = msgspec.Raw(msgspec.json.encode({"format": _TEXT_FORMAT, **text}))
    return found


def brief(echo: Mapping[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Returns it without what may be long: the events that begin a stream need not carry what its last one does."""
    return {name: value for name, value in echo.items() if name not in _LONG}


def response_in(event: bytes) -> bytes:
    """Returns the response object of an event that ends a stream."""
    return bytes(msgspec.json.decode(event, type=dict[str, msgspec.Raw])["response"])
