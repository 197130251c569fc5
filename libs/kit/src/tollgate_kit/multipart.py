"""multipart/form-data that is in memory, by RFC 7578: where the value of each part lies; nothing is copied."""

import re
from typing import Final, NamedTuple

MAX_PARTS: Final = 100
_MAX_HEADER_BYTES: Final = 8 * 1024
_PARAMETER: Final = re.compile(
    rb"\s*;\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;\s\"]+)", re.DOTALL
)
_ESCAPED: Final = re.compile(rb"\\([\"\\])")
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


class BrokenForm(ValueError):  # noqa: N818 - what a client sent, not a fault of ours.
    """The body is no whole form; the message is a sentence for the client."""


class Part(NamedTuple):
    """One part; its value is `body[start:end]`. `filename` is None for a plain field."""

    name: str
    filename: str | None
    start: int
    end: int


def is_form(content_type: bytes | None) -> bool:
    """Tells whether a Content-Type says multipart/form-data, whatever its parameters are."""
    return content_type is not None and content_type.partition(b";")[0].strip().lower() == b"multipart/form-data"


def boundary_of(content_type: bytes) -> bytes:
    """Returns the boundary that a Content-Type names. Raises BrokenForm."""
    found = _parameters(content_type[len(content_type.partition(b";")[0]) :]).get(b"boundary", b"")
    if _BOUNDARY.fullmatch(found) is None:
        raise BrokenForm("The Content-Type of a form names its boundary, of 1 to 70 characters.")
    return found


def form_type(boundary: bytes) -> bytes:
    """Returns the Content-Type of a form with this boundary."""
    return b'multipart/form-data; boundary="%b"' % boundary


def read_parts(body: bytes | bytearray, boundary: bytes) -> list[Part]:
    """Returns the parts in their order. Raises BrokenForm for a form that is not whole, or has too many parts."""
    delimiter = b"\r\n--" + boundary
    # What stands before the first delimiter belongs to nobody.
    at = -2 if body.startswith(delimiter[2:]) else body.find(delimiter)
    if at == -1:
        raise BrokenForm("The boundary that the Content-Type names is not in the body.")
    parts: list[Part] = []
    while (begins := _behind(body, at + len(delimiter))) != 0:
        if begins < 0:
            raise BrokenForm("The form is broken behind a boundary.")
        if len(parts) == MAX_PARTS:
            raise BrokenForm(f"The form has more than {MAX_PARTS} parts.")
        # Its line end may be that of an empty header.
        head = body.find(b"\r\n\r\n", begins - 2, begins + _MAX_HEADER_BYTES)
        if head < 0:
            raise BrokenForm(f"The header of a part is not whole, or longer than {_MAX_HEADER_BYTES} bytes.")
        at = body.find(delimiter, head + 2)
        while at >= 0 and _behind(body, at + len(delimiter)) < 0:
            # A longer word that begins like the delimiter is a part of the value.
            at = body.find(delimiter, at + 1)
        if at < 0:
            raise BrokenForm("The form ends within a part: its last boundary is missing.")
        parts.append(_part(bytes(body[begins:head]), head + 4, max(at, head + 4)))
    return parts


def _behind(body: bytes | bytearray, at: int) -> int:
    """Returns where the part behind a delimiter begins: 0 behind the last one, -1 where it is no delimiter."""
    if body[at : at + 2] == b"--":
        return 0
    while body.startswith((b" ", b"\t"), at):
        at += 1
    return at + 2 if body[at : at + 2] == b"\r\n" else -1


def _part(head: bytes, start: int, end: int) -> Part:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        kind = value.partition(b";")[0]
        if name.strip().lower() == b"content-disposition" and kind.strip().lower() == b"form-data":
            found = {key: one.decode("utf-8", "replace") for key, one in _parameters(value[len(kind) :]).items()}
            if b"name" in found:
                return Part(found[b"name"], found.get(b"filename"), start, end)
    raise BrokenForm("A part of the form has no name.")


def _parameters(text: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    at = 0
    while (match := _PARAMETER.match(text, at)) is not None:
        value = match[2]
        if value.startswith(b'"'):
            value = _ESCAPED.sub(rb"\1", value[1:-1])
        found.setdefault(match[1].lower(), value)
        at = match.end()
    return found
