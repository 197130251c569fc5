"""Forms with files: a whole one comes back as it was written, of a spoilt one no value holds a boundary."""

from random import Random
from typing import Final

from tests.fuzz.cases import Case, spoil
from tollgate_kit.multipart import BrokenForm, read_parts

_NAMES: Final = ["model", "file", "image[]", "stream", "a b", 'quo"te', "back\\slash", "名"]
_SPICES: Final = [b"\r\n", b"--b", b"--b--", b"\r\n--b\r\n", b"\r\n--b--", b"--", b'"', b"\\", b";", b"\x00", b"\n"]
# What would end a part early is no value of a whole form.
_ENDS: Final = (b"\r\n--b\r\n", b"\r\n--b--", b"\r\n--b ", b"\r\n--b\t")
_BOUNDARY: Final = b"b"


class FormsTarget:
    """A form of a few parts, whole (without `body`) or spoilt."""

    cost = 1

    def draw(self, source: Random) -> Case:
        parts = []
        for _ in range(source.randrange(4)):
            pieces = [source.choice([*_SPICES, b"text", source.randbytes(3)]) for _ in range(source.randrange(6))]
            filename = source.choice(_NAMES) if source.random() < 0.5 else None
            parts.append([source.choice(_NAMES), filename, b"".join(pieces)])
        whole = source.random() < 0.5
        return {"parts": parts, "body": b"" if whole else spoil(source, _form(parts), _SPICES, most=4)}

    def check(self, case: Case) -> None:
        parts = case["parts"]
        whole = not case["body"] and not any(end in b"\r\n%b\r\n--b" % part[2] for part in parts for end in _ENDS)
        body = case["body"] or _form(parts)
        try:
            found = read_parts(body, _BOUNDARY)
        except BrokenForm:
            found = None
        if found is None:
            assert not whole, "a whole form was refused"
            return
        values = [body[part.start : part.end] for part in found]
        if whole:
            read = [[part.name, part.filename, value] for part, value in zip(found, values, strict=True)]
            assert read == parts, "not what was written"
        places = [place for part in found for place in (part.start, part.end)]
        assert places == sorted(places), "values overlap"
        assert not any(end in value for value in values for end in _ENDS[:2]), "a boundary in a value"

    def close(self) -> None:
        pass


def _form(parts: list[list[str | bytes | None]]) -> bytes:
    return b"".join(_written(*part) for part in parts) + b"--b--\r\n"  # type: ignore[arg-type] - as they are drawn.


def _written(name: str, filename: str | None, value: bytes) -> bytes:
    named = f'form-data; name="{_escaped(name)}"' + (f'; filename="{_escaped(filename)}"' if filename else "")
    return b"--b\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (named.encode(), value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
