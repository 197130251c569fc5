"""A request's body on its way in: gathered once it is whole, and read for what it asks."""

from typing import TYPE_CHECKING, Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.errors import PublicError, public_error
from tollgate_edge.inference.endpoint_fields import sound
from tollgate_edge.inference.fields import Asked, BadRequest, decode, is_json
from tollgate_edge.inference.operations import FORMS
from tollgate_edge.inference.words import Words
from tollgate_kit.multipart import is_form

if TYPE_CHECKING:
    from tollgate_edge.inference.exchange import InferenceExchange

# A part of its own takes 56 bytes of Python's beside what it holds: of chunks of two bytes 28 times that.
_MOST_SMALL_PARTS: Final = 64
_SMALL_BYTES: Final = 1024


def add_part(exchange: "InferenceExchange", data: bytes) -> None:
    """Adds what has come of a body, and counts it. Many small parts go on in one, which takes what is counted."""
    parts = exchange.body_parts
    exchange.body_size = size = exchange.body_size + len(data)
    if parts and type(parts[0]) is bytearray:
        parts[0] += data
        return
    parts.append(data)
    if len(parts) >= _MOST_SMALL_PARTS and size < len(parts) * _SMALL_BYTES:
        parts[:] = [bytearray().join(parts)]


def gathered(exchange: "InferenceExchange") -> bytes | bytearray:
    """Returns the parts of a body as one; of a form each is let go as it is copied, so that no file is there twice."""
    parts, at = exchange.body_parts, exchange.body_size
    if len(parts) == 1 and (type(parts[0]) is bytes or exchange.operation in FORMS):
        return parts[0]
    if exchange.operation not in FORMS:
        return b"".join(parts)
    whole = bytearray(at)
    while parts:
        part = parts.pop()
        whole[at - len(part) : at] = part
        at -= len(part)
    return whole


def read_asked(exchange: "InferenceExchange", words: Words, max_depth: int) -> Asked | PublicError:
    """Returns what the body asks for, or what to say about one that cannot be understood."""
    operation, content_type = exchange.operation, exchange.content_type
    try:
        if operation in FORMS:
            if not is_form(content_type):
                return words.no_form
            streams = operation == wire.OPERATION_TRANSCRIPTION
            asked = sound(exchange.body, content_type or b"", may_stream=streams)
            # The router reads the form as well.
            exchange.passed = [*exchange.passed, wire.Header(name=b"content-type", value=asked.content_type)]
            return asked
        if not is_json(content_type):
            return words.not_json
        return decode(operation, exchange.face.dialect, exchange.body, max_depth, exchange.named)
    except BadRequest as problem:
        return public_error(errors.ERROR_KIND_INVALID_REQUEST, problem.message, problem.param)
