"""Responses that are kept for later turns: what a caller wants kept, and the conversation that they make up."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.members import read
from tollgate_router.domain.openai_chat import Members
from tollgate_router.errors import Refused

_ENCODER: Final = msgspec.json.Encoder()
_TRUE: Final = msgspec.Raw(b"true")
_FALSE: Final = msgspec.Raw(b"false")
_LONGEST_ID: Final = 200
# Those of what ran in the background that there is an answer of.
_GONE_ON_FROM: Final = frozenset(("completed", "incomplete"))
# The kinds of items whose ids begin otherwise than with their type's first letters.
_PREFIXES: Final = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


class StoredResponse(msgspec.Struct, frozen=True):
    """`items` is the input of its own turn, a JSON array; `response` is the JSON object that the caller got.

    `previous_id` is the turn before it, empty where there is none. `status` is that of a response that was made in the
    background, empty for any other. While it runs, `running_until_us` is when its process is given up for lost unless
    that says meanwhile that it goes on, and `response` what its caller got at once; 0 when it has ended.
    """

    id: str
    project_id: str
    previous_id: str
    created_at_us: int
    expires_at_us: int
    items: bytes
    response: bytes
    status: str = ""
    running_until_us: int = 0


class Wanted(msgspec.Struct, frozen=True):
    """Whether the response is to be kept, and which one it goes on from; empty for a new conversation.

    `background`: its caller does not wait for it.
    """

    store: bool
    previous_id: str
    background: bool = False


class _Output(msgspec.Struct):
    output: list[msgspec.Raw]


_OUTPUT: Final = msgspec.json.Decoder(_Output)
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def wanted_of(members: Mapping[str, msgspec.Raw]) -> Wanted:
    """Returns what a body asks of the store; as at OpenAI, what does not say otherwise is kept. Raises Refused."""
    store = read(members, "store", bool)
    previous = read(members, "previous_response_id", str) or ""
    if len(previous) > _LONGEST_ID:
        raise Refused("previous_response_id: no id is as long as that.", "previous_response_id")
    background = read(members, "background", bool) is True
    if background and store is False:
        raise Refused("background: a response that runs in the background is stored: leave `store` out.", "background")
    if background and read(members, "stream", bool):
        raise Refused(
            "stream: responses that run in the background are not streamed: leave `stream` out, and ask for the "
            "response by its id until it has ended.",
            "stream",
        )
    return Wanted(store is not False, previous, background)


def input_items(members: Mapping[str, msgspec.Raw], response_id: str) -> bytes:
    """Returns the input as a JSON array of items, each with an id. Raises Refused."""
    found = read(members, "input", str | list[dict[str, Any]])
    if isinstance(found, str):
        found = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": found}]}]
    own = response_id.removeprefix("resp_")
    return _ENCODER.encode([_with_id(item, f"{own}_in{place}") for place, item in enumerate(found or ())])


def _with_id(item: dict[str, Any], rest: str) -> dict[str, Any]:
    kind = str(item.get("type", "message"))
    return {"type": kind, "id": f"{_PREFIXES.get(kind, 'item')}_{rest}", **item}


def going_on(members: Members, turns: Sequence[StoredResponse], items: bytes, wanted: Wanted) -> bytes:
    """Returns the body with all turns before it as its input. `turns` are the oldest first. Raises Refused.

    What runs in the background is asked for as a stream: a provider is silent until a whole reply is there, which takes
    longer than a connection that says nothing is kept, and of a stream it is known what was made when it is cancelled.
    """
    for turn in turns:
        if turn.status and turn.status not in _GONE_ON_FROM:
            words = f"previous_response_id: a response before this one is {turn.status} and has no answer."
            raise Refused(words, "previous_response_id")
    try:
        before = [
            item for turn in turns for item in (*_ITEMS.decode(turn.items), *_OUTPUT.decode(turn.response).output)
        ]
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused("previous_response_id: what was stored cannot be read.", "previous_response_id") from None
    whole = [*before, *_ITEMS.decode(items)]
    asked = {**members, "input": msgspec.Raw(_ENCODER.encode(whole)), "store": _TRUE if wanted.store else _FALSE}
    asked.pop("background", None)
    if wanted.background:
        asked["stream"] = _TRUE
    return _ENCODER.encode(asked)


def unstored(response: bytes) -> bytes:
    """Returns a response object, or an event with one, that says it was not kept."""
    members = _MEMBERS.decode(response)
    if "response" in members:
        return _ENCODER.encode({**members, "response": msgspec.Raw(unstored(bytes(members["response"])))})
    return _ENCODER.encode({**members, "store": _FALSE})


def page(items: bytes, *, after: str, limit: int, newest_first: bool) -> bytes:
    """Returns a page of input items as a JSON list of OpenAI's shape. `after` is an id, empty for the first page."""
    found = _ITEMS.decode(items)
    ordered = list(reversed(found)) if newest_first else found
    ids = list(_ids(ordered))
    start = ids.index(after) + 1 if after in ids else 0
    part, names = ordered[start : start + limit], ids[start : start + limit]
    found_page = {
        "object": "list",
        "data": part,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
        "has_more": start + limit < len(ordered),
    }
    return _ENCODER.encode(found_page)


def _ids(items: Iterable[msgspec.Raw]) -> Iterable[str]:
    for item in items:
        yield str(msgspec.json.decode(item)["id"])
