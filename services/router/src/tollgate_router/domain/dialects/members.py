"""Members of a request's body, decoded one by one, with the field at fault named where one is of the wrong kind."""

import re
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from tollgate_router.domain.dialects.neutral import Refused

_UNUSABLE: Final = re.compile(r"[^a-zA-Z0-9_-]")
_PLACE: Final = re.compile(r"^(.*) - at `\$?([^`]*)`$", re.DOTALL)


def read(members: Mapping[str, msgspec.Raw], name: str, kind: Any) -> Any:
    """Returns a member as `kind`; None when it is missing or null. Raises Refused, which names the field."""
    raw = members.get(name)
    if raw is None or bytes(memoryview(raw)[:4]) == b"null":
        return None
    try:
        return _decoder(kind).decode(raw)
    except msgspec.ValidationError as error:
        found = _PLACE.match(str(error))
        words, place = (found[1], found[2]) if found is not None else (str(error), "")
        raise Refused(f"{name}{place}: {words[:1].lower()}{words[1:]}.".replace("`", ""), name) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(f"{name} is not valid JSON.", name) from None


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def parse_json(text: str) -> Any:
    """Returns what JSON text says. Raises ValueError."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error


def object_of(arguments: str) -> dict[str, Any]:
    """Returns a call's arguments as an object. A model may have written something else: it is kept as text.

    Empty arguments are an empty object.
    """
    if not arguments.strip():
        return {}
    try:
        found = parse_json(arguments)
    except ValueError:
        return {"_raw": arguments}
    return found if isinstance(found, dict) else {"_raw": arguments}


def usable_name(name: str, most: int) -> str:
    """Returns a name of letters, digits, `_` and `-`, at most `most` long where it had to be made.

    Different names stay different.
    """
    plain = _UNUSABLE.sub("_", name)
    return plain if plain == name else f"{plain[: most - 9]}_{blake2b(name.encode(), digest_size=4).hexdigest()}"


def split_data_url(url: str, param: str) -> tuple[str, str]:
    """Returns type and base64 data of `data:TYPE;base64,DATA`. Raises Refused."""
    head, comma, data = url.removeprefix("data:").partition(",")
    mime, _, coding = head.partition(";")
    if not comma or coding.rpartition(";")[2] != "base64":
        raise Refused(f"{param} is a data: address that is not base64.", param)
    return mime.strip().lower(), data


# The first bytes of pictures, in base64: what they are, whatever the caller says.
_MAGIC: Final = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi", "application/pdf"),
)


def true_type(mime: str, data: str) -> str:
    """Returns the type that the first bytes show, or else the one that was said."""
    for magic, found in _MAGIC:
        if data.startswith(magic):
            return found
    return mime
