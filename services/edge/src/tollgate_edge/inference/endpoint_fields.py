"""The fields that edge acts on of requests that are no chats, and the most that each of them may use."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.domain.limits import MAX_CHOICES
from tollgate_edge.inference.asked import (
    ABSENT,
    Asked,
    BadRequest,
    StreamOptions,
    beginning,
    check_limit,
    check_model,
    is_null,
)
from tollgate_kit.multipart import BrokenForm, Part, boundary_of, form_type, read_parts
from tollgate_rating import AUDIO_SECOND, CHARACTER, REQUEST, SEARCH

_MAX_PROMPTS: Final = 10_000
# What clients mean that leave the model out.
_USUAL_MODERATION: Final = "omni-moderation-latest"
# Speech of 8 kbit/s is the smallest that is in use.
_LEAST_BYTES_PER_SECOND: Final = 1000
_USUAL_BYTES_PER_SECOND: Final = 16_000
_USUAL_TOKENS_PER_SECOND: Final = 20
_BYTES_PER_TOKEN: Final = 4
# A second of sound is 10 to 25 tokens, in and out.
_MOST_TOKENS_PER_SECOND: Final = 50
# Slow speech: most languages have 10 to 20 characters in a second, Chinese 4.
_LEAST_CHARACTERS_PER_SECOND: Final = 3
# A search covers a hundred documents; a long one counts once for each 500 tokens, of a byte at least.
_DOCUMENTS_PER_SEARCH: Final = 100
_LEAST_DOCUMENT_BYTES: Final = 500
_MAX_FIELD_BYTES: Final = 4096


class CompletionFields(msgspec.Struct):
    """Of a legacy completion. A prompt is a text, tokens, or a list of either."""

    model: str
    prompt: str | list[str | int | list[int]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None


class EmbeddingsFields(msgspec.Struct):
    """Of an OpenAI embeddings request."""

    model: str
    input: msgspec.Raw


class EmbedFields(msgspec.Struct):
    """Of Gemini's `embedContent`, and of a batch of them."""

    content: msgspec.Raw = ABSENT
    requests: msgspec.Raw = ABSENT


class ModerationFields(msgspec.Struct):
    input: msgspec.Raw
    model: str | None = None


class RerankFields(msgspec.Struct):
    model: str
    query: msgspec.Raw
    documents: list[msgspec.Raw]


class SpeechFields(msgspec.Struct):
    model: str
    input: str
    stream_format: str | None = None


_COMPLETION: Final = msgspec.json.Decoder(CompletionFields)
_EMBEDDINGS: Final = msgspec.json.Decoder(EmbeddingsFields)
_EMBED: Final = msgspec.json.Decoder(EmbedFields)
_MODERATION: Final = msgspec.json.Decoder(ModerationFields)
_RERANK: Final = msgspec.json.Decoder(RerankFields)
_SPEECH: Final = msgspec.json.Decoder(SpeechFields)


def completion(body: bytes | bytearray) -> Asked:
    """Returns what a legacy completion asks for; every prompt has its own answers."""
    found = _COMPLETION.decode(body)
    check_model(found.model)
    check_limit(found.max_tokens, 0, "max_tokens")
    choices = 1
    for name in ("n", "best_of"):
        value = getattr(found, name)
        if value is not None and not 1 <= value <= MAX_CHOICES:
            raise BadRequest(f"{name} must be between 1 and {MAX_CHOICES}, found {value}.", name)
        choices = max(choices, value or 1)
    options = found.stream_options
    return Asked(
        found.model,
        stream=bool(found.stream),
        usage_wanted=bool(options is not None and options.include_usage),
        max_output_tokens=found.max_tokens,
        choices=choices * _prompts(found.prompt),
    )


def _prompts(prompt: str | list[str | int | list[int]] | None) -> int:
    if prompt is None or isinstance(prompt, str):
        return 1
    if not prompt:
        raise BadRequest("prompt must not be an empty list.", "prompt")
    kinds = {type(one) for one in prompt}
    if len(kinds) > 1:
        raise BadRequest("prompt must be a text, a list of texts, a list of tokens or a list of such lists.", "prompt")
    if kinds == {int}:
        return 1
    if len(prompt) > _MAX_PROMPTS:
        raise BadRequest(f"prompt has more than {_MAX_PROMPTS} texts.", "prompt")
    return len(prompt)


def embeddings(body: bytes | bytearray) -> Asked:
    """Returns what embeddings ask for."""
    found = _EMBEDDINGS.decode(body)
    check_model(found.model)
    return Asked(found.model, stream=False, usage_wanted=True, max_output_tokens=0, choices=1)


def embed_contents(body: bytes | bytearray, model: str) -> Asked:
    """Returns what `embedContent` and `batchEmbedContents` ask for; the path names the model."""
    check_model(model)
    found = _EMBED.decode(body)
    if is_null(found.content) and is_null(found.requests):
        raise BadRequest("The request body has neither 'content' nor 'requests'.", "content")
    return Asked(model, stream=False, usage_wanted=True, max_output_tokens=0, choices=1)


def moderation(body: bytes | bytearray) -> Asked:
    """Returns what a moderation asks for: it is priced by the request, or by its tokens where a reply says them."""
    found = _MODERATION.decode(body)
    model = _USUAL_MODERATION if found.model is None else found.model
    check_model(model)
    # The fee of a request is in every worst case.
    return Asked(model, stream=False, usage_wanted=True, max_output_tokens=0, choices=1, likely=((REQUEST, 1),))


def rerank(body: bytes | bytearray) -> Asked:
    """Returns what a rerank asks for."""
    found = _RERANK.decode(body)
    check_model(found.model)
    if beginning(found.query) in {b"null", b'""'}:
        raise BadRequest("query must not be empty.", "query")
    if not found.documents:
        raise BadRequest("documents must be a list of at least one document.", "documents")
    documents = len(found.documents) + len(body) // _LEAST_DOCUMENT_BYTES
    return Asked(
        found.model,
        stream=False,
        usage_wanted=True,
        max_output_tokens=0,
        choices=1,
        units=((SEARCH, -(-documents // _DOCUMENTS_PER_SEARCH)),),
        likely=((SEARCH, -(-len(found.documents) // _DOCUMENTS_PER_SEARCH)), ("input", len(body) // _BYTES_PER_TOKEN)),
    )


def speech(body: bytes | bytearray) -> Asked:
    """Returns what a request for speech asks for: `stream` where its reply comes as events."""
    found = _SPEECH.decode(body)
    check_model(found.model)
    if not found.input:
        raise BadRequest("input must not be empty.", "input")
    if found.stream_format not in {None, "audio", "sse"}:
        raise BadRequest("stream_format must be audio or sse.", "stream_format")
    length = len(found.input)
    seconds = length // _LEAST_CHARACTERS_PER_SECOND + 1
    return Asked(
        found.model,
        stream=found.stream_format == "sse",
        usage_wanted=True,
        max_output_tokens=seconds * _MOST_TOKENS_PER_SECOND,
        choices=1,
        units=((CHARACTER, length), (AUDIO_SECOND, seconds)),
        likely=((CHARACTER, length), ("input", length // _BYTES_PER_TOKEN + 1), ("audio_output", length)),
    )


def sound(body: bytes | bytearray, content_type: bytes, *, may_stream: bool) -> Asked:
    """Returns what a form with a sound file asks for. Raises BadRequest."""
    try:
        boundary = boundary_of(content_type)
        parts = read_parts(body, boundary)
    except BrokenForm as problem:
        raise BadRequest(str(problem)) from None
    model = _field(body, parts, "model")
    if model is None:
        raise BadRequest("The form has no 'model'.", "model")
    check_model(model)
    files = [part for part in parts if part.name == "file"]
    if len(files) != 1 or files[0].filename is None:
        raise BadRequest("The form needs one 'file', with a file name.", "file")
    size = files[0].end - files[0].start
    if not size:
        raise BadRequest("The file is empty.", "file")
    seconds, likely = size // _LEAST_BYTES_PER_SECOND + 1, size // _USUAL_BYTES_PER_SECOND + 1
    return Asked(
        model,
        stream=may_stream and (_field(body, parts, "stream") or "").lower() in {"true", "1"},
        usage_wanted=True,
        max_output_tokens=None,
        choices=1,
        most_input=len(body) - size + seconds * _MOST_TOKENS_PER_SECOND,
        units=((AUDIO_SECOND, seconds),),
        likely=((AUDIO_SECOND, likely), ("audio_input", likely * _USUAL_TOKENS_PER_SECOND)),
        content_type=form_type(boundary),
    )


def _field(body: bytes | bytearray, parts: list[Part], name: str) -> str | None:
    """Returns the text of a field. Raises BadRequest where it is there twice, a file, too long or no text."""
    found = [part for part in parts if part.name == name]
    if not found:
        return None
    if len(found) > 1 or found[0].filename is not None or found[0].end - found[0].start > _MAX_FIELD_BYTES:
        raise BadRequest(f"The form may have one short text as '{name}'.", name)
    try:
        return body[found[0].start : found[0].end].decode()
    except UnicodeDecodeError:
        raise BadRequest(f"'{name}' must be text in UTF-8.", name) from None


READERS: Final[Mapping[int, Callable[[bytes | bytearray], Asked]]] = {
    wire.OPERATION_EMBEDDINGS: embeddings,
    wire.OPERATION_COMPLETION: completion,
    wire.OPERATION_MODERATION: moderation,
    wire.OPERATION_RERANK: rerank,
    wire.OPERATION_SPEECH: speech,
}
