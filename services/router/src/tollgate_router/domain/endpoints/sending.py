"""What to send for an operation that is neither a chat nor an embedding, and how its reply is read."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import msgspec
from msgspec import structs

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_rating import REQUEST
from tollgate_router.domain.endpoints import ranking
from tollgate_router.domain.endpoints.form import Form
from tollgate_router.domain.endpoints.reading import (
    ranking_estimate,
    read_moderation,
    read_ranking,
    read_transcript,
    sound_estimate,
    speech_estimate,
)
from tollgate_router.domain.endpoints.sound_length import seconds_of
from tollgate_router.domain.endpoints.streams import Events, SoundBytes
from tollgate_router.domain.openai_chat import ChatStream, Members, plain_body, plain_parts, read_reply, write_body
from tollgate_router.domain.sending import Sending
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.domain.usage import ReplyUsage
from tollgate_router.errors import Refused

# Longer bodies go to the upstream in parts that are views of what came from edge.
_COPIED_BODY_BYTES: Final = 64 * 1024
_TEXT: Final = msgspec.json.Decoder(str)
_ENCODER: Final = msgspec.json.Encoder()
_TYPES: Final = {"text": b"text/plain; charset=utf-8", "srt": b"text/plain; charset=utf-8"}
_VTT: Final = b"text/vtt; charset=utf-8"


def sending(opened: wire.Open, asked: Members | Form, target: Target) -> Sending:
    """Returns what to send to this target. Raises Refused for what its provider does not serve."""
    if target.wire != wire.DIALECT_OPENAI_CHAT or not target.serves(opened.operation):
        raise Refused(f"The provider of this model does not serve {_NAMES[opened.operation]}.", "model")
    if isinstance(asked, Form):
        found = _sound(opened, asked, target)
    else:
        found = _BY_OPERATION[opened.operation](opened, asked, target)
    return structs.replace(found, path=target.quirks.path(_NAMES[opened.operation], found.path))


def _completion(opened: wire.Open, members: Members, target: Target) -> Sending:
    body = write_body(members, target.upstream_model, stream=opened.stream)
    found = ChatStream(usage_wanted=opened.usage_wanted) if opened.stream else None
    return Sending(b"/completions", body, found, _read_completion)


def _read_completion(body: bytes) -> tuple[ReplyUsage | None, bytes] | UpstreamProblem:
    found = read_reply(body)
    return found if isinstance(found, UpstreamProblem) else (found, body)


def _moderation(opened: wire.Open, members: Members, target: Target) -> Sending:
    begun = ReplyUsage({REQUEST: 1}, estimated=True)
    return Sending(b"/moderations", _written(opened, members, target), None, read_moderation, begun=begun)


def _rerank(opened: wire.Open, members: Members, target: Target) -> Sending:
    if target.rerank:
        found = ranking.sending(opened, members, target)
    else:
        # Nothing is known of the provider's shape, so that it is the caller's.
        found = Sending(b"/rerank", _written(opened, members, target), None, read_ranking)
    return structs.replace(found, begun=ranking_estimate(opened.body_length))


def _speech(opened: wire.Open, members: Members, target: Target) -> Sending:
    try:
        text = _TEXT.decode(members.get("input", b'""'))
    except msgspec.DecodeError as error:
        raise Refused("input must be text.", "input") from error
    estimate = speech_estimate(text)
    found = Events(estimate, spoken=True) if opened.stream else SoundBytes(estimate)
    return Sending(b"/audio/speech", _written(opened, members, target), found, _read_completion, typed=found.typed)


def _sound(opened: wire.Open, form: Form, target: Target) -> Sending:
    seconds, asked = seconds_of(form.file()), form.text("response_format")
    path = b"/audio/translations" if opened.operation == wire.OPERATION_TRANSLATION else b"/audio/transcriptions"
    events = Events(sound_estimate(seconds)) if opened.stream else None
    return Sending(
        path,
        form.written(target.upstream_model),
        events,
        partial(read_transcript, seconds=seconds, form=asked),
        typed=events.typed if events is not None else partial(_type_of_text, asked),
        content_type=form.content_type,
        begun=sound_estimate(seconds),
    )


def _type_of_text(form: str, content_type: bytes) -> bytes:
    """Returns what a transcript is called to the caller; empty is JSON."""
    if content_type.lower().startswith(b"application/json"):
        return b""
    return _VTT if form == "vtt" else _TYPES.get(form, b"")


def _written(opened: wire.Open, members: Members, target: Target) -> bytes | tuple[bytes | memoryview, ...]:
    members["model"] = msgspec.Raw(_ENCODER.encode(target.upstream_model))
    return plain_body(members) if opened.body_length <= _COPIED_BODY_BYTES else plain_parts(members)


_BY_OPERATION: Final[Mapping[int, Callable[[wire.Open, Members, Target], Sending]]] = {
    wire.OPERATION_COMPLETION: _completion,
    wire.OPERATION_MODERATION: _moderation,
    wire.OPERATION_RERANK: _rerank,
    wire.OPERATION_SPEECH: _speech,
}
_NAMES: Final = {
    wire.OPERATION_COMPLETION: "completions",
    wire.OPERATION_MODERATION: "moderations",
    wire.OPERATION_RERANK: "rerank",
    wire.OPERATION_SPEECH: "speech",
    wire.OPERATION_TRANSCRIPTION: "transcriptions",
    wire.OPERATION_TRANSLATION: "translations",
}
FORMS: Final = frozenset({wire.OPERATION_TRANSCRIPTION, wire.OPERATION_TRANSLATION})
OPERATIONS: Final = frozenset(_NAMES)
