"""Embeddings between the dialects of OpenAI and Gemini: texts in, vectors out.

A caller of the same dialect as the provider's wire gets what the provider says, but for the model's name.
"""

import base64
import struct
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.neutral import Refused
from tollgate_router.domain.endpoints.reading import Read
from tollgate_router.domain.openai_chat import Members, read_reply
from tollgate_router.domain.sending import Sending
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import UpstreamProblem, problem_of_error, unreadable
from tollgate_router.domain.usage import ReplyUsage

_MOST_TEXTS: Final = 2048
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_ENCODER: Final = msgspec.json.Encoder()


class _Asked(msgspec.Struct, frozen=True):
    """`single`: one vector on its own, as `embedContent` has it. `packed`: as base64."""

    texts: tuple[str, ...]
    dimensions: int | None
    single: bool = False
    packed: bool = False
    dropped: tuple[str, ...] = ()


class _Part(msgspec.Struct):
    text: str | None = None


class _Content(msgspec.Struct):
    parts: list[_Part]


class _EmbedContent(msgspec.Struct):
    """Of Gemini; its clients use both spellings."""

    content: _Content | None = None
    outputDimensionality: int | None = None  # noqa: N815 - the name on the wire.
    output_dimensionality: int | None = None
    taskType: str | None = None  # noqa: N815 - the name on the wire.
    task_type: str | None = None
    title: str | None = None


class _Vector(msgspec.Struct):
    values: list[float]


class _Counts(msgspec.Struct):
    promptTokenCount: int = 0  # noqa: N815 - the name on the wire.


class _GeminiReply(msgspec.Struct):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    usageMetadata: _Counts | None = None  # noqa: N815 - the name on the wire.
    error: object = None


class _Item(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _OpenAIReply(msgspec.Struct):
    data: list[_Item]


_REQUESTS: Final = msgspec.json.Decoder(list[_EmbedContent])
_RAW_REQUESTS: Final = msgspec.json.Decoder(list[Members])
_GEMINI_REPLY: Final = msgspec.json.Decoder(_GeminiReply)
_OPENAI_REPLY: Final = msgspec.json.Decoder(_OpenAIReply)
_TEXTS: Final = msgspec.json.Decoder(str | list[str | int | list[int]])
_COUNT: Final = msgspec.json.Decoder(int | None)
_WORD: Final = msgspec.json.Decoder(str | None)


def translates(opened: wire.Open, target: Target) -> bool:
    """Tells whether embeddings of this request are Gemini's on one side at least, and neither is another's."""
    sides = {opened.dialect, target.wire}
    return wire.DIALECT_GEMINI in sides and sides <= {wire.DIALECT_GEMINI, wire.DIALECT_OPENAI_CHAT}


def sending(opened: wire.Open, members: Members, target: Target) -> Sending:
    """Returns what to send. Raises Refused for what is malformed, or cannot be said on this wire."""
    if opened.dialect == target.wire:
        return _passing(members, target)
    asked = _of_gemini(members) if opened.dialect == wire.DIALECT_GEMINI else _of_openai(members)
    if target.wire == wire.DIALECT_GEMINI:
        path, body = _path(target, single=False), _to_gemini(asked, target)
        return Sending(path, body, None, partial(_read_gemini, asked=asked, model=opened.model), dropped=asked.dropped)
    body = _to_openai(asked, target)
    return Sending(b"/embeddings", body, None, partial(_read_openai, asked=asked), dropped=asked.dropped)


def _passing(members: Members, target: Target) -> Sending:
    named = msgspec.Raw(_ENCODER.encode(f"models/{target.upstream_model}"))
    single = "requests" not in members
    try:
        requests = [] if single else _RAW_REQUESTS.decode(members["requests"])
    except _BROKEN as error:
        raise Refused("requests must be a list of requests.", "requests") from error
    for one in [members] if single else requests:
        one["model"] = named
    body = _ENCODER.encode(members if single else {**members, "requests": requests})
    return Sending(_path(target, single=single), body, None, _read_passing)


def _path(target: Target, *, single: bool) -> bytes:
    verb = "embedContent" if single else "batchEmbedContents"
    return f"/models/{quote(target.upstream_model, safe='')}:{verb}".encode()


# What is asked for.


def _of_gemini(members: Members) -> _Asked:
    single = "requests" not in members
    try:
        given = b"[%b]" % _ENCODER.encode(members) if single else members["requests"]
        requests = _REQUESTS.decode(given)
    except _BROKEN as error:
        name = "content" if single else "requests"
        raise Refused(f"{name} must hold contents with parts of text.", name) from error
    if not 0 < len(requests) <= _MOST_TEXTS:
        raise Refused(f"requests must hold 1 to {_MOST_TEXTS} of them.", "requests")
    sizes = {one.outputDimensionality or one.output_dimensionality for one in requests}
    if len(sizes) > 1:
        raise Refused("outputDimensionality must be the same in all requests.", "requests")
    texts = []
    for one in requests:
        parts = one.content.parts if one.content is not None else []
        if not parts or any(part.text is None for part in parts):
            raise Refused("content must have parts, and all of them text, for this model.", "content")
        texts.append("\n".join(part.text or "" for part in parts))
    dropped = [name for name in ("taskType", "title") if any(getattr(one, name) for one in requests)]
    if any(one.task_type for one in requests) and "taskType" not in dropped:
        dropped.append("taskType")
    return _Asked(tuple(texts), sizes.pop(), single=single, dropped=tuple(dropped))


def _of_openai(members: Members) -> _Asked:
    try:
        found = _TEXTS.decode(members.get("input", b"null"))
    except _BROKEN as error:
        raise Refused("input must be a text or a list of texts.", "input") from error
    texts = (found,) if isinstance(found, str) else tuple(one for one in found if isinstance(one, str))
    if not texts or (isinstance(found, list) and len(texts) < len(found)):
        raise Refused("input must be a text or a list of texts: the provider of this model takes no tokens.", "input")
    if len(texts) > _MOST_TEXTS:
        raise Refused(f"input must hold 1 to {_MOST_TEXTS} texts.", "input")
    try:
        dimensions = _COUNT.decode(members.get("dimensions", b"null"))
        packed = _WORD.decode(members.get("encoding_format", b"null")) == "base64"
    except _BROKEN as error:
        raise Refused("dimensions must be a number, and encoding_format float or base64.", "dimensions") from error
    return _Asked(texts, dimensions, packed=packed, dropped=("user",) if "user" in members else ())


def _to_gemini(asked: _Asked, target: Target) -> bytes:
    size = {} if asked.dimensions is None else {"outputDimensionality": asked.dimensions}
    requests = [
        {"model": f"models/{target.upstream_model}", "content": {"parts": [{"text": text}]}, **size}
        for text in asked.texts
    ]
    return _ENCODER.encode({"requests": requests})


def _to_openai(asked: _Asked, target: Target) -> bytes:
    size = {} if asked.dimensions is None else {"dimensions": asked.dimensions}
    body = {"model": target.upstream_model, "input": asked.texts, "encoding_format": "float", **size}
    return _ENCODER.encode(body)


# What comes back.


def _usage_of(reply: _GeminiReply) -> ReplyUsage | None:
    count = reply.usageMetadata.promptTokenCount if reply.usageMetadata is not None else 0
    return ReplyUsage({"input": count}, estimated=False) if 0 < count <= 2**31 else None


def _vectors(body: bytes) -> tuple[_GeminiReply, list[_Vector]] | UpstreamProblem:
    try:
        reply = _GEMINI_REPLY.decode(body)
    except _BROKEN:
        return unreadable()
    if reply.error is not None:
        return problem_of_error(reply.error)
    found = reply.embeddings if reply.embedding is None else [reply.embedding]
    return unreadable() if found is None else (reply, found)


def _read_passing(body: bytes) -> Read:
    found = _vectors(body)
    return found if isinstance(found, UpstreamProblem) else (_usage_of(found[0]), body)


def _read_gemini(body: bytes, asked: _Asked, model: str) -> Read:
    found = _vectors(body)
    if isinstance(found, UpstreamProblem):
        return found
    reply, vectors = found
    if len(vectors) != len(asked.texts):
        return unreadable()
    usage = _usage_of(reply)
    count = usage.units["input"] if usage is not None else 0
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(one.values) if asked.packed else one.values}
        for index, one in enumerate(vectors)
    ]
    told = {"prompt_tokens": count, "total_tokens": count}
    return usage, _ENCODER.encode({"object": "list", "data": data, "model": model, "usage": told})


def _packed(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _read_openai(body: bytes, asked: _Asked) -> Read:
    usage = read_reply(body)
    if isinstance(usage, UpstreamProblem):
        return usage
    try:
        items = sorted(_OPENAI_REPLY.decode(body).data, key=lambda item: item.index)
    except _BROKEN:
        return unreadable()
    if len(items) != len(asked.texts):
        return unreadable()
    vectors: list[Mapping[str, Any]] = [{"values": item.embedding} for item in items]
    reply: dict[str, Any] = {"embedding": vectors[0]} if asked.single else {"embeddings": vectors}
    if usage is not None:
        reply["usageMetadata"] = {"promptTokenCount": usage.units.get("input", 0)}
    return usage, _ENCODER.encode(reply)
