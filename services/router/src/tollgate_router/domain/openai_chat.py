"""The OpenAI wire towards an upstream that speaks it: bodies are edited by member, replies are read, not changed."""

from typing import Final

import msgspec

from tollgate_router.domain.chat_stream import ChatStream
from tollgate_router.domain.upstream_errors import UpstreamProblem, problem_of_error, unreadable
from tollgate_router.domain.usage import ReplyUsage, WireUsage, exclusive, read_usage, with_service
from tollgate_router.errors import InvalidBody

__all__ = [
    "ChatStream",
    "InvalidBody",
    "Members",
    "ReplyUsage",
    "plain_body",
    "plain_parts",
    "read_body",
    "read_reply",
    "write_body",
    "write_parts",
]

Members = dict[str, msgspec.Raw]

_MEMBERS: Final = msgspec.json.Decoder(Members)
_ENCODER: Final = msgspec.json.Encoder()
_TRUE: Final = msgspec.Raw(b"true")
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def read_body(body: bytes | bytearray) -> Members:
    """Returns the members of a request's body, decoded one level deep: the last one where a name is there twice.

    So that edge, this process and the upstream see the same values; and a third less than to decode and write all of a
    small body. The members are views: they keep `body`, which must not change. Raises InvalidBody.
    """
    try:
        return _MEMBERS.decode(body)
    except _BROKEN as error:
        raise InvalidBody(str(error)) from error


def write_body(members: Members, upstream_model: str, *, stream: bool) -> bytes:
    """Returns the body for an upstream: with its name of the model, and a stream is told to report its usage.

    A `stream_options` that is no object stays, for upstream to refuse. `members` is changed: it serves every attempt.
    """
    _edit(members, upstream_model, stream=stream)
    return plain_body(members)


def write_parts(members: Members, upstream_model: str, *, stream: bool) -> tuple[bytes | memoryview, ...]:
    """Returns what `write_body` returns, in parts that are views of the members: for bodies too large to copy."""
    _edit(members, upstream_model, stream=stream)
    return plain_parts(members)


def plain_body(members: Members) -> bytes:
    """Returns members as a body."""
    return _ENCODER.encode(members)


def plain_parts(members: Members) -> tuple[bytes | memoryview, ...]:
    """Returns members as the parts of a body, which are views of them."""
    parts: list[bytes | memoryview] = []
    for name, value in members.items():
        parts += (b"%b%b:" % (b"," if parts else b"{", _ENCODER.encode(name)), memoryview(value))
    return (*parts, b"}")


def _edit(members: Members, upstream_model: str, *, stream: bool) -> None:
    members["model"] = msgspec.Raw(_ENCODER.encode(upstream_model))
    if not stream:
        return
    options = members.get("stream_options")
    try:
        inner = {} if options is None or bytes(options) == b"null" else _MEMBERS.decode(options)
    except _BROKEN:
        return
    inner["include_usage"] = _TRUE
    members["stream_options"] = msgspec.Raw(_ENCODER.encode(inner))


_ABSENT: Final = msgspec.Raw(b"null")


class _Reply(msgspec.Struct):
    choices: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT
    usage: msgspec.Raw = _ABSENT
    service_tier: object = None


class _Plain(msgspec.Struct):
    """A chat reply as nearly all are; what does not fit is read member by member."""

    choices: list[msgspec.Raw]
    usage: WireUsage
    error: object = None
    service_tier: object = None


_REPLY: Final = msgspec.json.Decoder(_Reply)
_PLAIN: Final = msgspec.json.Decoder(_Plain)


def read_reply(body: bytes) -> ReplyUsage | UpstreamProblem | None:
    """Returns the usage of a whole chat or embeddings reply that came with status 200; None when it says none.

    HTML, truncated JSON, an error object and a reply with neither `choices` nor `data` are problems.
    """
    try:
        plain = _PLAIN.decode(body)
    except _BROKEN:
        return _read_members(body)
    if plain.error is not None or plain.usage.completion_tokens is None:
        return _read_members(body)
    return with_service(exclusive(plain.usage), plain.service_tier)


def _read_members(body: bytes) -> ReplyUsage | UpstreamProblem | None:
    try:
        reply = _REPLY.decode(body)
    except _BROKEN:
        return unreadable()
    if bytes(reply.error) != b"null":
        try:
            return problem_of_error(msgspec.json.decode(reply.error))
        except _BROKEN:
            return unreadable()
    chat = _is_list(reply.choices)
    if not chat and not _is_list(reply.data):
        return unreadable()
    return with_service(read_usage(reply.usage, needs_output=chat), reply.service_tier)


def _is_list(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"["
