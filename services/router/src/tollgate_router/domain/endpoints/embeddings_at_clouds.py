"""Embeddings on the wires of clouds: Titan and Cohere by InvokeModel at Bedrock, Google's models at Vertex.

A call there takes one text or a few, so that a request may become several calls: see `exchange.several`, which joins
their replies.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from msgspec import structs

from tollgate_rating import CHARACTER
from tollgate_router.domain.endpoints.embedding_reply import Vector, used, written
from tollgate_router.domain.endpoints.embedding_request import EmbeddedText, EmbeddingsAsked
from tollgate_router.domain.endpoints.reading import Read
from tollgate_router.domain.sending import Sending, shown_names
from tollgate_router.domain.target import WIRE_BEDROCK, Target
from tollgate_router.domain.upstream_errors import unreadable
from tollgate_router.domain.usage import ReplyUsage
from tollgate_router.errors import Refused

# Each is paid for, also when a later one fails and all is asked elsewhere.
_MOST_CALLS: Final = 256
_COHERE_TEXTS: Final = 96
_VERTEX_TEXTS: Final = 250
# A call may hold 20,000 tokens, and no token is shorter than a byte.
_VERTEX_BYTES: Final = 20_000
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_ENCODER: Final = msgspec.json.Encoder()
_COHERE_TYPES: Final = {
    "RETRIEVAL_DOCUMENT": "search_document",
    "RETRIEVAL_QUERY": "search_query",
    "QUESTION_ANSWERING": "search_query",
    "FACT_VERIFICATION": "search_query",
    "CODE_RETRIEVAL_QUERY": "search_query",
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
}
_INPUT_TYPES: Final = frozenset(_COHERE_TYPES.values())
_Count = Annotated[float, msgspec.Meta(ge=0, le=2**31)]

Texts = Sequence[EmbeddedText]


class _Wire(msgspec.Struct, frozen=True):
    """How one family of models is asked and answers. `read` takes a reply and what its head counts as input."""

    path: str
    body: Callable[[EmbeddingsAsked, Texts], Mapping[str, Any]]
    read: "Callable[[msgspec.Raw, int | None], _Found]"
    has_dimensions: bool
    most_texts: int = 1
    most_bytes: int = 0
    tasks: bool = False
    titles: bool = False
    input_type: bool = False


class _Found(msgspec.Struct, frozen=True):
    """What one reply holds; a count of 0 is one that nobody told."""

    vectors: list[Vector]
    tokens: float
    characters: float = 0


def sending(asked: EmbeddingsAsked, model: str, target: Target) -> Sending:
    """Returns what to send; `model` is the caller's name of the model. Raises Refused for what this wire cannot say."""
    spoken = _at_bedrock(target) if target.wire == WIRE_BEDROCK else _at_vertex(target)
    if asked.dimensions is not None and not spoken.has_dimensions:
        name = asked.dimensions_name
        raise Refused(f"{name}: the vectors of this model have one length only.", name)
    calls = _split(asked.texts, spoken.most_texts, spoken.most_bytes)
    if len(calls) > _MOST_CALLS:
        name = asked.texts_name
        words = f"its provider would be called {len(calls)} times, more than the {_MOST_CALLS} of one request"
        raise Refused(f"{name}: too many texts for this model: {words}.", name)
    bodies = tuple(_ENCODER.encode(spoken.body(asked, texts)) for texts in calls)
    dropped = asked.unsaid(tasks=spoken.tasks, titles=spoken.titles, input_type=spoken.input_type)
    read = partial(_read, asked=asked, model=model, read=spoken.read)
    return Sending(spoken.path.encode(), b"", None, read, (), shown_names(dropped), bodies=bodies)


def _split(texts: Texts, most: int, most_bytes: int) -> list[Texts]:
    """Returns the texts in calls of at most so many, and so many bytes where that is not 0; a long one has its own."""
    calls: list[Texts] = []
    held: list[EmbeddedText] = []
    size = 0
    for one in texts:
        length = len(one.text.encode("utf-8", "surrogatepass")) if most_bytes else 0
        if held and (len(held) >= most or size + length > most_bytes > 0):
            calls.append(held)
            held, size = [], 0
        held.append(one)
        size += length
    return [*calls, held]


def _read(body: bytes, asked: EmbeddingsAsked, model: str, read: Callable[[msgspec.Raw, int | None], _Found]) -> Read:
    """Reads the replies of all calls, joined; usage is that of all, and none where one of them tells none."""
    try:
        found = [read(one.reply, one.input_tokens) for one in _JOINED.decode(body)]
    except _BROKEN:
        return unreadable()
    usage = used(sum(one.tokens for one in found)) if all(one.tokens for one in found) else None
    characters = int(sum(one.characters for one in found))
    if usage is not None and characters and all(one.characters for one in found):
        # Some models are priced by these.
        usage = structs.replace(usage, others=(ReplyUsage({CHARACTER: characters}, estimated=False),))
    return written(asked, model, [vector for one in found for vector in one.vectors], usage)


class _Joined(msgspec.Struct):
    """As `exchange.several` writes it."""

    reply: msgspec.Raw
    input_tokens: int | None = None


_JOINED: Final = msgspec.json.Decoder(list[_Joined])


# Bedrock.


class _TitanReply(msgspec.Struct):
    embedding: Vector
    inputTextTokenCount: _Count = 0  # noqa: N815 - the name on the wire.


class _ByType(msgspec.Struct, rename={"floats": "float"}):
    floats: list[Vector]


class _CohereReply(msgspec.Struct):
    """In a list, or by type, of which one is asked for."""

    embeddings: list[Vector] | _ByType


_TITAN: Final = msgspec.json.Decoder(_TitanReply)
_COHERE: Final = msgspec.json.Decoder(_CohereReply)


def _at_bedrock(target: Target) -> _Wire:
    """Returns the wire of a model by its id, which may be that of a profile. Raises Refused for others."""
    model = target.upstream_model
    path = f"/model/{quote(model, safe='')}/invoke"
    if "amazon.titan-embed-text-v2" in model:
        return _Wire(path, _titan, _read_titan, has_dimensions=True)
    if "amazon.titan-embed-image" in model:
        return _Wire(path, _titan_picture, _read_titan, has_dimensions=True)
    if "amazon.titan-embed" in model:
        return _Wire(path, _titan, _read_titan, has_dimensions=False)
    if "cohere.embed" in model:
        # The third generation knows one length.
        sized = "-v3" not in model
        return _Wire(
            path, _cohere, _read_cohere, has_dimensions=sized, most_texts=_COHERE_TEXTS, tasks=True, input_type=True
        )
    raise Refused("The gateway knows no embeddings of this model: at Bedrock those of Titan and of Cohere.", "model")


def _titan(asked: EmbeddingsAsked, texts: Texts) -> Mapping[str, Any]:
    size = {} if asked.dimensions is None else {"dimensions": asked.dimensions}
    return {"inputText": texts[0].text, **size}


def _titan_picture(asked: EmbeddingsAsked, texts: Texts) -> Mapping[str, Any]:
    size = {} if asked.dimensions is None else {"embeddingConfig": {"outputEmbeddingLength": asked.dimensions}}
    return {"inputText": texts[0].text, **size}


def _read_titan(raw: msgspec.Raw, counted: int | None) -> _Found:
    reply = _TITAN.decode(raw)
    return _Found([reply.embedding], reply.inputTextTokenCount or counted or 0)


def _cohere(asked: EmbeddingsAsked, texts: Texts) -> Mapping[str, Any]:
    size = {} if asked.dimensions is None else {"output_dimension": asked.dimensions}
    kind = _input_type(asked)
    return {"texts": [one.text for one in texts], "input_type": kind, "embedding_types": ["float"], **size}


def _input_type(asked: EmbeddingsAsked) -> str:
    """Returns what the texts are for, which is one thing for all of a call; documents where nobody says it."""
    if asked.input_type:
        if asked.input_type not in _INPUT_TYPES:
            raise Refused(f"input_type must be one of {', '.join(sorted(_INPUT_TYPES))}.", "input_type")
        return asked.input_type
    kinds = {_COHERE_TYPES.get(one.task, "search_document") for one in asked.texts}
    if len(kinds) > 1:
        raise Refused("taskType must mean the same in all requests for this model.", "taskType")
    return kinds.pop()


def _read_cohere(raw: msgspec.Raw, counted: int | None) -> _Found:
    found = _COHERE.decode(raw).embeddings
    return _Found(found if isinstance(found, list) else found.floats, counted or 0)


# Vertex.


class _Statistics(msgspec.Struct, frozen=True):
    token_count: _Count = 0


class _Embedded(msgspec.Struct):
    values: Vector
    statistics: _Statistics = _Statistics()


class _Prediction(msgspec.Struct):
    embeddings: _Embedded


class _Metadata(msgspec.Struct, frozen=True):
    billableCharacterCount: _Count = 0  # noqa: N815 - the name on the wire.


class _Predicted(msgspec.Struct):
    predictions: list[_Prediction]
    metadata: _Metadata = _Metadata()


class _ContentUsage(msgspec.Struct, frozen=True):
    promptTokenCount: _Count = 0  # noqa: N815 - the name on the wire.


class _EmbeddedContent(msgspec.Struct):
    embedding: _Embedded
    usageMetadata: _ContentUsage = _ContentUsage()  # noqa: N815 - the name on the wire.


_PREDICTED: Final = msgspec.json.Decoder(_Predicted)
_CONTENT: Final = msgspec.json.Decoder(_EmbeddedContent)


def _at_vertex(target: Target) -> _Wire:
    model = target.upstream_model
    path = f"/models/{quote(model, safe='@')}"
    if model.startswith("gemini-embedding-") and not model.startswith("gemini-embedding-001"):
        return _Wire(f"{path}:embedContent", _content, _read_content, has_dimensions=True, tasks=True, titles=True)
    # The first of Gemini's takes one text a call.
    many = not model.startswith("gemini-")
    return _Wire(
        f"{path}:predict",
        _instances,
        _read_predicted,
        has_dimensions=True,
        most_texts=_VERTEX_TEXTS if many else 1,
        most_bytes=_VERTEX_BYTES if many else 0,
        tasks=True,
        titles=True,
    )


def _instances(asked: EmbeddingsAsked, texts: Texts) -> Mapping[str, Any]:
    size = {} if asked.dimensions is None else {"parameters": {"outputDimensionality": asked.dimensions}}
    return {"instances": [{"content": one.text} | _purpose(one, "task_type") for one in texts], **size}


def _purpose(one: EmbeddedText, name: str) -> dict[str, str]:
    task = {name: one.task} if one.task else {}
    return task | {"title": one.title} if one.title else task


def _read_predicted(raw: msgspec.Raw, counted: int | None) -> _Found:
    del counted
    found = _PREDICTED.decode(raw)
    counts = [one.embeddings.statistics.token_count for one in found.predictions]
    tokens = sum(counts) if all(counts) else 0
    return _Found([one.embeddings.values for one in found.predictions], tokens, found.metadata.billableCharacterCount)


def _content(asked: EmbeddingsAsked, texts: Texts) -> Mapping[str, Any]:
    size = {} if asked.dimensions is None else {"outputDimensionality": asked.dimensions}
    return {"content": {"parts": [{"text": texts[0].text}]}, **_purpose(texts[0], "taskType"), **size}


def _read_content(raw: msgspec.Raw, counted: int | None) -> _Found:
    del counted
    found = _CONTENT.decode(raw)
    return _Found([found.embedding.values], found.usageMetadata.promptTokenCount)
