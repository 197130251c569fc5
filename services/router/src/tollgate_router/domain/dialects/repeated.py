"""Names that stand twice in one object of a body.

Parsers differ in which of the two counts, so that a body which is written anew could come to mean something else.
"""

import json
from collections import Counter
from typing import Any, Final

from tollgate_router.errors import Refused

# What is looked through in steps; a string is left out that fills one.
_STEP_BYTES: Final = 4096
_LOOKED_AT_BYTES: Final = 64
# All that stands outside of strings is made of these.
_BETWEEN: Final = b" \t\n\r{}[]:,+-.0123456789truefalsnE"
_BLANKS: Final = b" \t\n\r"
_BACKSLASH: Final = ord("\\")

_Pairs = list[tuple[str, Any]]


def refuse_repeated(body: bytes | bytearray) -> None:
    """Raises Refused, which names it, when a name stands twice in one object of a body that is valid JSON.

    The standard library's decoder is the only one that shows every pair.
    """
    if len(body) <= _STEP_BYTES:
        _DECODER.decode(body.decode(errors="replace"))
        return
    objects: list[_Pairs] = []
    # No function of ours is called for each object, which would take as long as all else; a decoder takes 2 µs to make.
    decoder = json.JSONDecoder(object_pairs_hook=objects.append, parse_int=str, parse_float=str)
    decoder.decode(_without_data(body).decode(errors="replace"))
    if sum(map(len, map(dict, objects))) < sum(map(len, objects)):
        for pairs in objects:
            _refuse_repeated_in(pairs)


def _refuse_repeated_in(pairs: _Pairs) -> None:
    if len(dict(pairs)) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        name = name[:80]
        raise Refused(f"'{name}' stands twice in the same object.", name)


# Numbers are not looked at: int() refuses long ones.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_refuse_repeated_in, parse_int=str, parse_float=str)


def _without_data(body: bytes | bytearray) -> bytes | bytearray:
    """Returns the body without long ends of strings, such as the data of pictures, where the string is no name."""
    kept, done, at = [], 0, 0
    while at + _STEP_BYTES <= len(body):
        if body.find(b'"', at, at + _STEP_BYTES) < 0:
            start, end = body.rfind(b'"', done, at) + 1, body.find(b'"', at)
            if end < 0:
                break
            if _ends_a_value(body, start, end):
                kept.append(body[done:start])
                done = end
            at = end
        at += _STEP_BYTES
    return b"".join((*kept, body[done:])) if kept else body


def _ends_a_value(body: bytes | bytearray, start: int, end: int) -> bool:
    """Tells whether all between two quotes belongs to a string that the second one ends and that is no name."""
    if not body[start : start + _LOOKED_AT_BYTES].strip(_BETWEEN):
        # It may stand outside of strings.
        return False
    if body[end - 1] == _BACKSLASH and (end - start - len(body[start:end].rstrip(b"\\"))) % 2:
        return False
    return body[end + 1 : end + 1 + _LOOKED_AT_BYTES].lstrip(_BLANKS)[:1] not in (b"", b":")
