"""Where values are in a JSON object, as provider data says it: `x_groq.usage`, `choices[0].usage`, `content[].text`."""

from typing import Any, Final

_ALL: Final = "[]"
_FIRST: Final = "[0]"


class Place:
    """A way through objects and lists. `name` is the member of the outermost object."""

    __slots__ = ("_steps", "name")

    def __init__(self, text: str) -> None:
        steps: list[tuple[str, str]] = []
        for step in text.split("."):
            kind = _ALL if step.endswith(_ALL) else _FIRST if step.endswith(_FIRST) else ""
            steps.append((step.removesuffix(kind), kind))
        self._steps = tuple(steps)
        self.name = steps[0][0]

    def value(self, found: Any) -> Any:
        """Returns what is there; None where the way ends early. After `[]` it is a list."""
        return _follow(found, self._steps)

    def text(self, found: Any) -> str:
        """Returns the text that is there, the pieces of a list joined; empty where there is none."""
        value = self.value(found)
        if isinstance(value, list):
            return "".join(piece for piece in value if isinstance(piece, str))
        return value if isinstance(value, str) else ""

    @property
    def is_plain(self) -> bool:
        """It is one member and nothing within it."""
        return len(self._steps) == 1 and not self._steps[0][1]


def _follow(found: Any, steps: tuple[tuple[str, str], ...]) -> Any:
    for number, (name, kind) in enumerate(steps):
        found = found.get(name) if isinstance(found, dict) else None
        if kind and not isinstance(found, list):
            return None
        if kind == _FIRST:
            found = found[0] if found else None
        elif kind == _ALL:
            rest = steps[number + 1 :]
            pieces: list[Any] = []
            for one in found:
                value = _follow(one, rest) if rest else one
                pieces += value if isinstance(value, list) else [value]
            return pieces
    return found
