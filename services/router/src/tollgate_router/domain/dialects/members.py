"""Members of a request's body, decoded one by one, with the field at fault named where one is of the wrong kind."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import blake2b
from typing import Annotated, Any, Final

import msgspec

from tollgate_router.errors import Refused

# What every provider's parser reads as a whole number.
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
# The ranges of the vendor whose dialect knows the most; narrower wires get what fits them.
Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
_MOST_TOOLS: Final = 1024
_UNUSABLE: Final = re.compile(r"[^a-zA-Z0-9_-]")
_UNKNOWN: Final = "Object contains unknown field"
_BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Members that ask for nothing may go unnamed.
_NOTHING: Final = frozenset((b"null", b"false", b"[]", b"{}", b'""'))
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER: Final = msgspec.json.Encoder()
_PLACE: Final = re.compile(r"^(.*) - at `\$?([^`]*)`$", re.DOTALL)


class Known(msgspec.Struct, forbid_unknown_fields=True):
    """An object of a dialect, with the members that are understood. `read` names the others."""


# The places of members that are not understood, such as messages.content.citations, in the order of the body.
Lost = dict[str, None]


def read(members: Mapping[str, msgspec.Raw], name: str, kind: Any, lost: Lost | None = None) -> Any:
    """Returns a member as `kind`; None when it is missing or null. Raises Refused, which names the field.

    Members of Known objects that are not understood are left out, and added to `lost` where they ask for anything.
    """
    raw = members.get(name)
    if raw is None or bytes(memoryview(raw)[:4]) == b"null":
        return None
    try:
        try:
            return _decoder(kind).decode(raw)
        except msgspec.ValidationError as error:
            if not str(error).startswith(_UNKNOWN):
                raise
            return _decoder(kind).decode(_understood(raw, _shape(kind), name, {} if lost is None else lost))
    except msgspec.ValidationError as error:
        raise _refused(error, name) from None
    except _BROKEN:
        raise Refused(f"{name} is not valid JSON.", name) from None


def convert(found: Any, kind: Any, name: str, lost: Lost | None = None) -> Any:
    """Returns what was decoded of a member as `kind`. Raises Refused, which names the field. `lost` is as of `read`."""
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        if not str(error).startswith(_UNKNOWN):
            raise _refused(error, name) from None
    return read({name: msgspec.Raw(msgspec.json.encode(found))}, name, kind, lost)


def _understood(raw: msgspec.Raw, shape: Any, path: str, lost: Lost) -> msgspec.Raw:
    """Returns JSON without the members of Known objects that are not understood; their places go into `lost`."""
    opening = bytes(memoryview(raw)[:1])
    if opening not in {b"{", b"["}:
        return raw
    for one in shape.types if isinstance(shape, msgspec.inspect.UnionType) else (shape,):
        if opening == b"{" and isinstance(one, msgspec.inspect.StructType):
            return _understood_object(raw, _fields(one.cls), path, lost)
        if opening == b"[" and isinstance(one, msgspec.inspect.ListType):
            kept = [_understood(item, one.item_type, path, lost) for item in _ITEMS.decode(raw)]
            return msgspec.Raw(_ENCODER.encode(kept))
    return raw


def _understood_object(raw: msgspec.Raw, fields: Mapping[str, Any], path: str, lost: Lost) -> msgspec.Raw:
    found, kept = _MEMBERS.decode(raw), {}
    for name, value in found.items():
        if name in fields:
            kept[name] = _understood(value, fields[name], f"{path}.{name}", lost)
        elif bytes(memoryview(value)[:6]) not in _NOTHING:
            lost[f"{path}.{name}"] = None
    return msgspec.Raw(_ENCODER.encode(kept))


@cache
def _shape(kind: Any) -> Any:
    return msgspec.inspect.type_info(kind)


@cache
def _fields(known: type[msgspec.Struct]) -> Mapping[str, Any]:
    shape = msgspec.inspect.type_info(known)
    assert isinstance(shape, msgspec.inspect.StructType)
    return {field.encode_name: field.type for field in shape.fields}


def _refused(error: msgspec.ValidationError, name: str) -> Refused:
    found = _PLACE.match(str(error))
    words, place = (found[1], found[2]) if found is not None else (str(error), "")
    return Refused(f"{name}{place}: {words[:1].lower()}{words[1:]}.".replace("`", ""), name)


def check(members: Mapping[str, msgspec.Raw], kinds: Mapping[str, Any]) -> None:
    """Raises Refused for a member that is not of its kind, though nothing is made of it."""
    for name in kinds.keys() & members.keys():
        read(members, name, kinds[name])


def check_count(tools: Iterable[Any], param: str = "tools") -> None:
    """Raises Refused for more tools than any vendor takes."""
    found = sum(1 for _ in tools)
    if found > _MOST_TOOLS:
        raise Refused(f"{param}: {found} tools are more than the {_MOST_TOOLS} that can be carried.", param)


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
