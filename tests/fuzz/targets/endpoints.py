"""Embeddings and rerank between shapes of callers and providers: requests and replies, spoilt in parts and bytes."""

import json
import re
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from tests.fuzz.cases import Case, spoil
from tests.fuzz.targets.dialects import SPICES, draw_value
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_router.domain.dialects.translate import Sending, sending
from tollgate_router.domain.openai_chat import read_body
from tollgate_router.domain.target import WIRE_BEDROCK, Origin, Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import InvalidBody, Refused

_OPENAI, _GEMINI = wire.DIALECT_OPENAI_CHAT, wire.DIALECT_GEMINI
_PART: Final = {"content": {"parts": [{"text": "a"}, {"text": "é"}]}, "outputDimensionality": 2, "taskType": "X"}
# Bodies by the caller's shape.
_BODIES: Final[Mapping[str, Any]] = {
    "openai": {
        "input": ["a", "é"], "dimensions": 256, "encoding_format": "base64", "user": "u",
        "input_type": "search_query",
    },
    "gemini": {"requests": [_PART, {**_PART, "title": "t"}]},
    "gemini-one": _PART,
    "rerank-1": {
        "query": "q", "documents": ["a", {"text": "b", "title": "t"}], "top_n": 2, "return_documents": True,
        "rank_fields": ["text"], "max_chunks_per_doc": 1,
    },
    "rerank-2": {"query": "q", "documents": ["a", "b"], "top_n": 2, "max_tokens_per_doc": 9, "priority": 1},
}  # fmt: skip


def _joined(*replies: Any) -> Any:
    return [{"input_tokens": 2, "reply": one} for one in replies]


def _result(index: int) -> Any:
    return {"index": index, "relevance_score": 0.5, "document": {"text": "a"}}


_TITAN: Final = {"embedding": [1, 2.5], "inputTextTokenCount": 2}
_VALUES: Final = {"values": [1, 2.5], "statistics": {"token_count": 2}}
# Replies, and what they come from, by the provider's shape.
_REPLIES: Final[Mapping[str, Any]] = {
    "openai": {"data": [{"index": 1, "embedding": [1]}, {"index": 0, "embedding": [2]}], "usage": {"prompt_tokens": 4}},
    "gemini": {"embeddings": [{"values": [1]}, {"values": [2]}], "usageMetadata": {"promptTokenCount": 4}},
    "titan": _joined(_TITAN, _TITAN),
    "cohere": _joined({"embeddings": {"float": [[1], [2.5]]}}),
    "predict": _joined({"predictions": [{"embeddings": _VALUES}] * 2, "metadata": {"billableCharacterCount": 2}}),
    "content": _joined(*[{"embedding": _VALUES, "usageMetadata": {"promptTokenCount": 2}}] * 2),
    "rerank-cohere": {"id": "i", "results": [_result(1), _result(0)], "meta": {"billed_units": {"search_units": 1}}},
    "rerank-jina": {"model": "m", "results": [_result(1), _result(0)], "usage": {"total_tokens": 4}},
}
_MODELS: Final = {
    "titan": "amazon.titan-embed-text-v2:0", "cohere": "cohere.embed-v4:0", "predict": "text-embedding-005",
    "content": "gemini-embedding-2",
}  # fmt: skip
# Who may ask whom; those of the same shape pass, and are no translation.
_PAIRS: Final = [
    *((caller, one) for caller in ("openai", "gemini", "gemini-one") for one in _MODELS),
    *(("gemini", "openai"), ("gemini-one", "openai"), ("openai", "gemini")),
    *(("rerank-1", "rerank-cohere"), ("rerank-1", "rerank-jina"), ("rerank-2", "rerank-jina")),
]


def _target(shape: str) -> Target:
    wires = {"titan": WIRE_BEDROCK, "cohere": WIRE_BEDROCK, "predict": _GEMINI, "content": _GEMINI, "gemini": _GEMINI}
    platform = "vertex" if shape in {"predict", "content"} else ""
    origin, model = Origin("https", "h", 443), _MODELS.get(shape, "m")
    rerank = shape.removeprefix("rerank-") if shape.startswith("rerank") else ""
    spoken = wires.get(shape, _OPENAI)
    return Target("a", 0, "p", origin, "", model, True, 1, b"", wire=spoken, platform=platform, rerank=rerank)


class EndpointsTarget:
    """A body is sent or refused with words; a reply is one of the caller's shape, or a problem."""

    cost = 4

    def __init__(self) -> None:
        self._targets = {shape: _target(shape) for shape in _REPLIES}

    def draw(self, source: Random) -> Case:
        caller, shape = source.choice(_PAIRS)
        body = json.dumps(draw_value(source, _BODIES[caller])).encode()
        reply = json.dumps(draw_value(source, _REPLIES[shape])).encode()
        return {
            "caller": caller,
            "shape": shape,
            "body": spoil(source, body, SPICES),
            "reply": spoil(source, reply, SPICES),
        }

    def check(self, case: Case) -> None:
        caller = case["caller"]
        opened = wire.Open(
            dialect=_GEMINI if caller.startswith("gemini") else _OPENAI,
            operation=wire.OPERATION_RERANK if caller.startswith("rerank") else wire.OPERATION_EMBEDDINGS,
            model="asked",
            request_id="r",
            api_version=2 if caller == "rerank-2" else 0,
        )
        try:
            asked = sending(opened, read_body(case["body"]), self._targets[case["shape"]], case["body"])
        except Refused as refused:
            words, param = refused.message, refused.param
        except InvalidBody:
            return
        else:
            self._check_sent(asked)
            self._check_reply(caller, asked, case["reply"])
            return
        assert words.strip(), "a refusal without words"
        assert param, "a refusal without the name of what it is about"

    @staticmethod
    def _check_sent(asked: Sending) -> None:
        for one in asked.bodies or (asked.body,):
            assert isinstance(one, bytes)
            assert isinstance(json.loads(one), dict)
        assert all(re.fullmatch(r"[\w.-]+", name, re.ASCII) for name in asked.dropped), "a name that no header carries"

    @staticmethod
    def _check_reply(caller: str, asked: Sending, reply: bytes) -> None:
        found = asked.read(reply)
        if isinstance(found, UpstreamProblem):
            return
        usage, body = found
        told = json.loads(body)
        if usage is not None:
            assert all(count > 0 for one in (usage, *usage.others) for count in one.units.values())
        if caller.startswith("rerank"):
            assert all({"index", "relevance_score"} <= set(one) for one in told["results"])
        elif caller == "openai":
            assert [one["index"] for one in told["data"]] == list(range(len(told["data"])))
        else:
            vectors = told["embeddings"] if caller == "gemini" and "embeddings" in told else [told["embedding"]]
            assert all(isinstance(number, int | float) for one in vectors for number in one["values"])

    def close(self) -> None:
        pass
