"""Embeddings where caller or provider is not OpenAI's: texts in, vectors out.

A caller of Gemini's dialect gets what Gemini says, but for the model's name; every other pair is translated. Clouds
have wires of their own, which `embeddings_at_clouds` knows.
"""

from functools import partial
from typing import Final
from urllib.parse import quote

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.endpoints import embeddings_at_clouds
from tollgate_router.domain.endpoints.embedding_reply import Vector, used, written
from tollgate_router.domain.endpoints.embedding_request import EmbeddingsAsked, read_gemini, read_openai
from tollgate_router.domain.endpoints.reading import Read
from tollgate_router.domain.openai_chat import Members, plain_body, read_body, read_reply
from tollgate_router.domain.sending import Sending, shown_names
from tollgate_router.domain.target import WIRE_BEDROCK, Target
from tollgate_router.domain.upstream_errors import UpstreamProblem, problem_of_error, unreadable
from tollgate_router.domain.usage import ReplyUsage
from tollgate_router.errors import Refused

_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_ENCODER: Final = msgspec.json.Encoder()
_OPENAI: Final = wire.DIALECT_OPENAI_CHAT
_GEMINI: Final = wire.DIALECT_GEMINI


class _Vector(msgspec.Struct):
    values: Vector


class _Counts(msgspec.Struct):
    promptTokenCount: int = 0  # noqa: N815 - the name on the wire.


class _GeminiReply(msgspec.Struct):
    embedding: _Vector | None = None
    embeddings: list[_Vector] | None = None
    usageMetadata: _Counts | None = None  # noqa: N815 - the name on the wire.
    error: object = None


class _Item(msgspec.Struct):
    embedding: Vector
    index: int = 0


class _OpenAIReply(msgspec.Struct):
    data: list[_Item]


_RAW_REQUESTS: Final = msgspec.json.Decoder(list[Members])
_GEMINI_REPLY: Final = msgspec.json.Decoder(_GeminiReply)
_OPENAI_REPLY: Final = msgspec.json.Decoder(_OpenAIReply)


def translates(opened: wire.Open, target: Target) -> bool:
    """Tells whether embeddings of this request are sent or answered in another form than OpenAI's."""
    if opened.dialect not in {_OPENAI, _GEMINI}:
        return False
    return target.wire in {_GEMINI, WIRE_BEDROCK} or (opened.dialect == _GEMINI and target.wire == _OPENAI)


def sending(opened: wire.Open, members: Members, target: Target) -> Sending:
    """Returns what to send. Raises Refused for what is malformed, or cannot be said on this wire."""
    at_cloud = target.platform == "vertex" or target.wire == WIRE_BEDROCK
    if opened.dialect == target.wire and not at_cloud:
        return _passing(members, target)
    asked = read_gemini(members) if opened.dialect == _GEMINI else read_openai(members)
    if asked.dimensions is not None and asked.dimensions < 1:
        raise Refused(f"{asked.dimensions_name} must be at least 1.", asked.dimensions_name)
    if at_cloud:
        return embeddings_at_clouds.sending(asked, opened.model, target)
    if target.wire == _GEMINI:
        path, body = _path(target, single=False), _to_gemini(asked, target)
        read = partial(_read_gemini, asked=asked, model=opened.model)
        return Sending(path, body, None, read, dropped=shown_names(asked.unsaid()))
    body, dropped = _to_openai(asked, target)
    path = target.quirks.path("embeddings", b"/embeddings")
    read = partial(_read_openai, asked=asked, model=opened.model)
    return Sending(path, body, None, read, dropped=shown_names((*asked.unsaid(), *dropped)))


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


def _to_gemini(asked: EmbeddingsAsked, target: Target) -> bytes:
    size = {} if asked.dimensions is None else {"outputDimensionality": asked.dimensions}
    requests = [
        {"model": f"models/{target.upstream_model}", "content": {"parts": [{"text": one.text}]}, **size}
        for one in asked.texts
    ]
    return _ENCODER.encode({"requests": requests})


def _to_openai(asked: EmbeddingsAsked, target: Target) -> tuple[bytes, tuple[str, ...]]:
    size = {} if asked.dimensions is None else {"dimensions": asked.dimensions}
    texts = [one.text for one in asked.texts]
    body = _ENCODER.encode({"model": target.upstream_model, "input": texts, "encoding_format": "float", **size})
    if target.quirks.request is None:
        return body, ()
    members = read_body(body)
    dropped = target.quirks.request.edit(members)
    return plain_body(members), dropped


# What comes back.


def _vectors(body: bytes) -> tuple[_GeminiReply, list[Vector]] | UpstreamProblem:
    try:
        reply = _GEMINI_REPLY.decode(body)
    except _BROKEN:
        return unreadable()
    if reply.error is not None:
        return problem_of_error(reply.error)
    found = reply.embeddings if reply.embedding is None else [reply.embedding]
    return unreadable() if found is None else (reply, [one.values for one in found])


def _read_passing(body: bytes) -> Read:
    found = _vectors(body)
    return found if isinstance(found, UpstreamProblem) else (_used(found[0]), body)


def _used(reply: _GeminiReply) -> ReplyUsage | None:
    return used(reply.usageMetadata.promptTokenCount) if reply.usageMetadata is not None else None


def _read_gemini(body: bytes, asked: EmbeddingsAsked, model: str) -> Read:
    found = _vectors(body)
    if isinstance(found, UpstreamProblem):
        return found
    return written(asked, model, found[1], _used(found[0]))


def _read_openai(body: bytes, asked: EmbeddingsAsked, model: str) -> Read:
    usage = read_reply(body)
    if isinstance(usage, UpstreamProblem):
        return usage
    try:
        items = sorted(_OPENAI_REPLY.decode(body).data, key=lambda item: item.index)
    except _BROKEN:
        return unreadable()
    return written(asked, model, [item.embedding for item in items], usage)
