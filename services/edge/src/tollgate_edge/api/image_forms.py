"""Forms with pictures: the fields of a request as JSON would have them, and the pictures beside them."""

import re
from typing import Any, Final

from fastapi import Request

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.media.v1 import media_pb2 as media
from tollgate_edge.api.reading import BodyReader
from tollgate_edge.errors import PublicError, public_error
from tollgate_kit.multipart import BrokenForm, Part, boundary_of, is_form, read_parts

_MOST_PICTURES: Final = 16
_MOST_FIELD_BYTES: Final = 128 * 1024
_PICTURES: Final = {"image": "image", "image[]": "image", "mask": "mask"}
_NUMBER: Final = re.compile(r"-?\d{1,9}")
_NUMBERS: Final = ("n", "partial_images", "output_compression")
_FLAGS: Final = {"true": True, "false": False}


async def read_pictures(bodies: BodyReader, request: Request) -> tuple[dict[str, Any], list[media.ImageSource]]:
    """Returns the fields and the pictures of a form. Raises PublicError: 400, 413 or 415."""
    kind = request.headers.get("content-type", "").encode("latin-1")
    if not is_form(kind):
        raise public_error(
            errors.ERROR_KIND_INVALID_REQUEST,
            "Content-Type must be multipart/form-data, with the picture as 'image'.",
            code="unsupported_media_type",
        )
    body = await bodies.read_bytes(request)
    try:
        parts = read_parts(body, boundary_of(kind))
    except BrokenForm as problem:
        raise _invalid(str(problem)) from None
    fields: dict[str, Any] = {}
    sources = []
    for part in parts:
        if part.name in _PICTURES:
            sources.append(_source(body, part))
        elif part.name in fields or part.filename is not None:
            raise _invalid(f"'{part.name[:40]}' may be given once, as text.", part.name[:40])
        else:
            fields[part.name] = _value(body, part)
    if not any(one.name == "image" for one in sources):
        raise _invalid("The form needs the picture as a file called 'image'.", "image")
    if len(sources) > _MOST_PICTURES or sum(one.name == "mask" for one in sources) > 1:
        raise _invalid(f"The form may hold {_MOST_PICTURES} pictures, and one mask among them.", "image")
    return fields, sources


def _source(body: bytes, part: Part) -> media.ImageSource:
    if part.filename is None or part.start == part.end:
        raise _invalid(f"'{part.name}' must be a file that is not empty.", _PICTURES[part.name])
    return media.ImageSource(name=_PICTURES[part.name], data=body[part.start : part.end])


def _value(body: bytes, part: Part) -> Any:
    if part.end - part.start > _MOST_FIELD_BYTES:
        raise _invalid(f"'{part.name[:40]}' is too long.", part.name[:40])
    try:
        text = body[part.start : part.end].decode()
    except UnicodeDecodeError:
        raise _invalid(f"'{part.name[:40]}' must be text in UTF-8.", part.name[:40]) from None
    if part.name in _NUMBERS and _NUMBER.fullmatch(text):
        return int(text)
    return _FLAGS.get(text, text) if part.name == "stream" else text


def _invalid(message: str, param: str = "") -> PublicError:
    return public_error(errors.ERROR_KIND_INVALID_REQUEST, message, param)
