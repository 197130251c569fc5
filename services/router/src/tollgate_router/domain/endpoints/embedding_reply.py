"""Vectors on their way to callers, in OpenAI's dialect or in Gemini's."""

import base64
import struct
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tollgate_router.domain.endpoints.embedding_request import EmbeddingsAsked
from tollgate_router.domain.endpoints.reading import Read
from tollgate_router.domain.upstream_errors import unreadable
from tollgate_router.domain.usage import ReplyUsage

Vector = list[float]
_MOST_TOKENS: Final = 2**31
_ENCODER: Final = msgspec.json.Encoder()


def used(tokens: float) -> ReplyUsage | None:
    """Returns the usage of so many tokens of input; None where the count says nothing or cannot be true."""
    count = int(tokens)
    return ReplyUsage({"input": count}, estimated=False) if 0 < count <= _MOST_TOKENS else None


def written(asked: EmbeddingsAsked, model: str, vectors: Sequence[Vector], usage: ReplyUsage | None) -> Read:
    """Returns a whole reply with a vector for each text; a problem where their numbers differ."""
    if len(vectors) != len(asked.texts):
        return unreadable()
    count = usage.units.get("input", 0) if usage is not None else 0
    if asked.gemini:
        found = [{"values": one} for one in vectors]
        reply: dict[str, Any] = {"embedding": found[0]} if asked.single else {"embeddings": found}
        if usage is not None:
            reply["usageMetadata"] = {"promptTokenCount": count}
        return usage, _ENCODER.encode(reply)
    try:
        shown = [_packed(one) for one in vectors] if asked.packed else vectors
    except OverflowError:
        # A number that no float of 32 bits holds.
        return unreadable()
    data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(shown)]
    told = {"prompt_tokens": count, "total_tokens": count}
    return usage, _ENCODER.encode({"object": "list", "data": data, "model": model, "usage": told})


def _packed(values: Vector) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
