"""What is wrong with a declaration, said so that it can be found and mended: file, line, field, found, allowed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_MAX_SHOWN: Final = 80
# A secret that was written where a reference belongs must not reach a log.
_SECRET_FIELDS: Final = frozenset({"credential", "credentials"})
_USER: Final = re.compile(r"//[^/?#]*@")


@dataclass(frozen=True, slots=True)
class Problem:
    """One error. `line` counts from 1; 0 is the file as a whole. `field` is a path such as channels[0].provider."""

    file: str
    line: int
    field: str
    found: str
    allowed: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        field = f" {self.field}:" if self.field else ""
        return f"{where}:{field} found {self.found}; allowed: {self.allowed}."


def field_path(path: Iterable[object]) -> str:
    """Returns `channels[0].provider` of ("channels", 0, "provider")."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def show(value: object, path: Iterable[object] = ()) -> str:
    """Returns a short form of what was found; only the type of what may be a secret."""
    if _SECRET_FIELDS.intersection(part for part in path if isinstance(part, str)):
        return f"a {kind_of(value)}"
    if isinstance(value, dict | list):
        return f"a {kind_of(value)}"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(_USER.sub("//***@", value)) if isinstance(value, str) else str(value)
    text = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"
    return text if isinstance(value, str) else f"the {kind_of(value)} {text}"


def kind_of(value: Any) -> str:
    """Returns what YAML calls this kind of value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {dict: "mapping", list: "list", str: "string", type(None): "nothing"}.get(type(value), "time")
