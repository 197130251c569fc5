"""YAML with positions: plain data, and the line of every field. Hostile and ambiguous input is refused."""

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from tollgate_resources.problems import Problem, field_path

MAX_BYTES: Final = 4 * 1024 * 1024
_MAX_NODES: Final = 200_000
_MAX_DEPTH: Final = 50

Path = tuple[str | int, ...]


@dataclass(slots=True)
class Source:
    """A file that was read: its data, the line of each path in it, and what is wrong with it."""

    file: str
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, path: Path) -> int:
        """Returns the line of a field, or of the nearest one around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def add(self, path: Path, found: str, allowed: str) -> None:
        """Notes a problem at a field."""
        self.problems.append(Problem(self.file, self.line_of(path), field_path(path), found, allowed))


def read_yaml(file: str, content: bytes) -> Source:
    """Returns the data of one YAML document, or a source with problems and no data."""
    source = Source(file)
    if len(content) > MAX_BYTES:
        source.problems.append(Problem(file, 0, "", f"{len(content)} bytes", f"at most {MAX_BYTES} bytes"))
        return source
    try:
        documents = list(yaml.compose_all(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 0
        what = getattr(error, "problem", None) or getattr(error, "reason", None) or "text that is no YAML"
        source.problems.append(Problem(file, line, "", what, "YAML"))
        return source
    except RecursionError:
        source.problems.append(Problem(file, 0, "", "deeper nesting", f"at most {_MAX_DEPTH} levels"))
        return source
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        source.problems.append(Problem(file, line, "", f"{len(documents)} documents", "one document in a file"))
        return source
    if documents and documents[0] is not None:
        data = _Reader(source).read(documents[0], ())
        source.data = None if source.problems else data
    return source


class _TooMuchError(Exception):
    """The document unfolds to more than is read."""


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._scalars = yaml.SafeLoader("")
        self._nodes = 0

    def read(self, node: yaml.Node, path: Path) -> Any:
        """Returns the node as data; an anchor that unfolds without end is a problem."""
        try:
            return self._read(node, path)
        except _TooMuchError as error:
            self._source.add((), str(error), f"at most {_MAX_NODES} values in {_MAX_DEPTH} levels")
            return None

    def _read(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        self._source.lines.setdefault(path, node.start_mark.line + 1)
        if self._nodes > _MAX_NODES:
            raise _TooMuchError("more values")
        if len(path) > _MAX_DEPTH:
            raise _TooMuchError("deeper nesting")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            here = (*path, key)
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                field_name = field_path(path)
                self._source.problems.append(
                    Problem(self._source.file, line, field_name, f"the key {key!r}", "keys that are strings")
                )
                continue
            if key in found:
                first = self._source.lines[here]
                self._source.problems.append(
                    Problem(
                        self._source.file,
                        line,
                        field_path(here),
                        f"the key again (first on line {first})",
                        "each key once",
                    )
                )
                continue
            self._source.lines[here] = line
            found[key] = self._read(value_node, here)
        return found

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            self._source.add(path, repr(str(node.value)[:80]), "a plain YAML value")
            return None
