"""multipart/form-data that is in memory, by RFC 7578: where the value of each part lies; nothing is copied."""

import re
from dataclasses import dataclass
from typing import Final

MAX_PARTS: Final = 100
_MAX_HEADER_BYTES: Final = 8 * 1024
_FORM: Final = b"multipart/form-data"
_PARAMETER: Final = re.compile(
    rb"\s*;\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;\s\"]+)", re.DOTALL
)
_ESCAPED: Final = re.compile(rb"\\([\"\\])")
_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


class BrokenForm(ValueError):  # noqa: N818 - what a client sent, not a fault of ours.
    """The body is no whole form; the message is a sentence for the client."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part; its value is `body[start:end]`. `filename` is None for a plain field."""

    name: str
    filename: str | None
    start: int
    end: int


def is_form(content_type: bytes | None) -> bool:
    """Tells whether a Content-Type says multipart/form-data, whatever its parameters are."""
    return content_type is not None and content_type.partition(b";")[0].strip().lower() == _FORM


def boundary_of(content_type: bytes) -> bytes:
    """Returns the boundary that a Content-Type names. Raises BrokenForm."""
    found = _parameters(content_type[content_type.find(b";") :] if b";" in content_type else b"").get(b"boundary", b"")
    if _BOUNDARY.fullmatch(found) is None:
        raise BrokenForm("The Content-Type of a form names its boundary, of 1 to 70 characters.")
    return found


def form_type(boundary: bytes) -> bytes:
    """Returns the Content-Type of a form with this boundary."""
    return b'multipart/form-data; boundary="%b"' % boundary


def read_parts(body: bytes | bytearray, boundary: bytes) -> list[Part]:
    """Returns the parts in their order. Raises BrokenForm for a form that is not whole, or has too many parts."""
    delimiter = b"\r\n--" + boundary
    first = delimiter[2:]
    if body.startswith(first):
        at = len(first)
    else:
        # What stands before the first delimiter belongs to nobody.
        at = body.find(delimiter) + len(delimiter)
        if at < len(delimiter):
            raise BrokenForm("The boundary that the Content-Type names is not in the body.")
    parts: list[Part] = []
    while True:
        begins = _line_end(body, at)
        if begins == 0:
            return parts
        if begins < 0:
            raise BrokenForm("The form is broken behind a boundary.")
        if len(parts) == MAX_PARTS:
            raise BrokenForm(f"The form has more than {MAX_PARTS} parts.")
        head, start = _head(body, begins)
        end = _next(body, delimiter, start)
        parts.append(_part(head, start, end))
        at = end + len(delimiter)


def _line_end(body: bytes | bytearray, at: int) -> int:
    """Returns where the part behind a delimiter begins: 0 behind the last one, -1 where it is no delimiter."""
    if body[at : at + 2] == b"--":
        return 0
    while body.startswith((b" ", b"\t"), at):
        at += 1
    return at + 2 if body[at : at + 2] == b"\r\n" else -1


def _head(body: bytes | bytearray, begins: int) -> tuple[bytes, int]:
    """Returns the header lines of a part, and where its value begins."""
    if body[begins : begins + 2] == b"\r\n":
        return b"", begins + 2
    end = body.find(b"\r\n\r\n", begins, begins + _MAX_HEADER_BYTES)
    if end < 0:
        if len(body) - begins > _MAX_HEADER_BYTES:
            raise BrokenForm(f"The header of a part is longer than {_MAX_HEADER_BYTES} bytes.")
        raise BrokenForm("The form ends within the header of a part.")
    return bytes(body[begins:end]), end + 4


def _next(body: bytes | bytearray, delimiter: bytes, start: int) -> int:
    """Returns where the delimiter behind a value begins; a longer word that begins like it is none."""
    # The delimiter's line end may be the one that ends an empty header.
    at = body.find(delimiter, start - 2)
    while at >= 0:
        if _line_end(body, at + len(delimiter)) >= 0:
            return max(at, start)
        at = body.find(delimiter, at + 1)
    raise BrokenForm("The form ends within a part: its last boundary is missing.")


def _part(head: bytes, start: int, end: int) -> Part:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            kind, _, _ = value.partition(b";")
            found = _parameters(value[len(kind) :])
            if kind.strip().lower() == b"form-data" and b"name" in found:
                filename = found.get(b"filename")
                return Part(_text(found[b"name"]), None if filename is None else _text(filename), start, end)
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


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
