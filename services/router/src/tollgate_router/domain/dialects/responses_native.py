"""The Responses API at a provider that speaks it: what is sent, and what a response says of use and failure.

A body goes as it came but for the model's name, for what concerns storing, and for what the provider's data says of its
Responses API: nothing is kept at the provider, whose account all callers share. Where this gateway keeps responses, a
reply bears the names that it has here.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.responses_native_stream import NativeStream
from tollgate_router.domain.dialects.responses_object import read_response, retold
from tollgate_router.domain.dialects.responses_reply import response_id
from tollgate_router.domain.dialects.responses_request import SEALED_HERE, is_thought_kept_elsewhere, refuse_state
from tollgate_router.domain.openai_chat import Members, write_body, write_parts
from tollgate_router.domain.sending import Sending, shown_names
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.domain.usage import ReplyUsage

_PATH: Final = b"/responses"
# Longer bodies go to the upstream in parts that are views of what came from edge.
_COPIED_BODY_BYTES: Final = 64 * 1024
_NULL: Final = b"null"
_TRUE: Final = msgspec.Raw(b"true")
_FALSE: Final = msgspec.Raw(b"false")
_LEFT_OUT: Final = ("input.reasoning",)
_SEALED: Final = "reasoning.encrypted_content"
# What `stored.input_items` gives to items that came without an id.
_OURS: Final = re.compile(r"_in\d+\Z")
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class _Item(msgspec.Struct):
    type: str = "message"
    id: str | None = None
    encrypted_content: str | None = None


_ITEM: Final = msgspec.json.Decoder(_Item)
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER: Final = msgspec.json.Encoder()


def sending(opened: wire.Open, members: Members, target: Target, *, remembers: bool) -> Sending:
    """Returns what to send. `remembers`: what the body says of storing it is seen to here.

    Raises Refused for what needs a memory that nobody has; all else the provider looks at.
    """
    refuse_state(members, remembers=remembers)
    # A copy: the members serve every attempt, and the next may go elsewhere.
    asked = {name: raw for name, raw in members.items() if name != "previous_response_id"}
    asked["store"] = _FALSE
    keeps = remembers and bytes(members.get("store", _NULL)) == b"true"
    if keeps and bytes(members.get("reasoning", _NULL)) != _NULL:
        # The next turn needs the thoughts, and they are kept nowhere else.
        asked["include"] = _with_sealed(members.get("include"))
    dropped: tuple[str, ...] = ()
    if "input" in members:
        asked["input"], dropped = _sendable(members["input"], remembers=remembers)
    quirks = target.quirks
    if quirks.responses is not None:
        dropped += quirks.responses.edit(asked, "input")
    small = opened.body_length <= _COPIED_BODY_BYTES
    body = (write_body if small else write_parts)(asked, target.upstream_model, stream=False)
    told = _told(opened, members, keeps=keeps) if remembers else {}
    found = NativeStream(told) if opened.stream else None
    path = quirks.path("responses", _PATH)
    return Sending(path, body, found, partial(_read, told), (), shown_names(dropped))


def _told(opened: wire.Open, members: Members, *, keeps: bool) -> dict[str, msgspec.Raw]:
    """Returns the members of a response by which callers find it again here."""
    return {
        "id": msgspec.Raw(_ENCODER.encode(response_id(opened.request_id))),
        "store": _TRUE if keeps else _FALSE,
        "previous_response_id": members.get("previous_response_id", msgspec.Raw(_NULL)),
    }


def _read(told: Mapping[str, msgspec.Raw], body: bytes) -> tuple[ReplyUsage | None, bytes] | UpstreamProblem:
    found = read_response(body)
    if isinstance(found, UpstreamProblem):
        return found
    if found.problem is not None:
        return found.problem
    return found.usage, retold(body, told) if told else body


def _with_sealed(include: msgspec.Raw | None) -> msgspec.Raw:
    """Returns `include` with the thoughts in it; one that is no list stays, for the provider to refuse."""
    try:
        wanted: list[Any] = msgspec.json.decode(include or _NULL, type=list[Any] | None) or []
    except _BROKEN:
        return include or msgspec.Raw(_NULL)
    return msgspec.Raw(_ENCODER.encode(wanted if _SEALED in wanted else [*wanted, _SEALED]))


def _sendable(found: msgspec.Raw, *, remembers: bool) -> tuple[msgspec.Raw, tuple[str, ...]]:
    """Returns the input without what this provider would look for in vain, and the name of what was left out.

    A thought that it did not seal would be searched for among responses that it keeps, and it keeps none; so would one
    that a client only points at.
    """
    text = bytes(found)
    if not text.startswith(b"[") or not (remembers or b'"reasoning"' in text or b'"item_reference"' in text):
        return found, ()
    try:
        items = _ITEMS.decode(text)
    except _BROKEN:
        return found, ()
    kept = [item for raw in items if (item := _item(raw)) is not None]
    return msgspec.Raw(_ENCODER.encode(kept)), _LEFT_OUT if len(kept) < len(items) else ()


def _item(raw: msgspec.Raw) -> msgspec.Raw | None:
    try:
        item = _ITEM.decode(raw)
    except _BROKEN:
        # Said by the provider, which knows more of them.
        return raw
    if item.type == "reasoning" and (not item.encrypted_content or item.encrypted_content.startswith(SEALED_HERE)):
        return None
    if is_thought_kept_elsewhere(item.type, item.id):
        return None
    if item.id is None or _OURS.search(item.id) is None:
        return raw
    members = _MEMBERS.decode(raw)
    del members["id"]
    return msgspec.Raw(_ENCODER.encode(members))
