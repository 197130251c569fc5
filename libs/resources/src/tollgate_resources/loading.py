"""Reads declared resources from files and finds everything that is wrong with them at once."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tollgate_resources.catalogue import Catalogue, Provider
from tollgate_resources.checks import Declaration, check
from tollgate_resources.declared import Declared
from tollgate_resources.models import Channel, ExchangeRate, PriceBook, Resource, Route
from tollgate_resources.problems import Problem, field_path, kind_of, show
from tollgate_resources.yaml_source import Source, read_yaml

_KINDS: Final[dict[str, type[Resource]]] = {
    "providers": Provider,
    "channels": Channel,
    "routes": Route,
    "price_books": PriceBook,
    "exchange_rates": ExchangeRate,
}
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
_EXPECTED: Final = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "datetime_type": "a time with its zone, such as 2026-11-01T00:00:00Z",
    "datetime_from_date_parsing": "a time with its zone, such as 2026-11-01T00:00:00Z",
    "datetime_parsing": "a time with its zone, such as 2026-11-01T00:00:00Z",
    "datetime_object_invalid": "a time with its zone, such as 2026-11-01T00:00:00Z",
}
_PATTERNS: Final = {
    "name": "lower-case letters, digits, '.', '_' and '-', at most 63, the first a letter or digit",
    "env": "the name of an environment variable",
    "model": "a name without blanks",
    "affinity": "a field of the body, header:NAME, or conversation",
    "server_name": "the name of a host",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What files declare, by owner (`file:<name>`), and every problem found; nothing may be used while there is one."""

    declared_by_owner: dict[str, Declared] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def declared(self) -> Declared:
        """Returns everything together."""
        return merge(self.declared_by_owner.values())


def merge(declarations: Iterable[Declared]) -> Declared:
    """Returns what several owners declare as one."""
    parts = tuple(declarations)
    return Declared(
        providers=tuple(item for part in parts for item in part.providers),
        channels=tuple(item for part in parts for item in part.channels),
        routes=tuple(item for part in parts for item in part.routes),
        price_books=tuple(item for part in parts for item in part.price_books),
        exchange_rates=tuple(item for part in parts for item in part.exchange_rates),
    )


def load(paths: Iterable[Path], catalogue: Catalogue) -> Loaded:
    """Reads files, and all .yaml, .yml and .json files of directories (not hidden ones, not below them)."""
    problems: list[Problem] = []
    files = _files(paths, problems)
    parts: list[Declaration] = []
    by_owner: dict[str, Declared] = {}
    for owner, file in files:
        try:
            source = read_yaml(str(file), file.read_bytes())
        except OSError as error:
            problems.append(Problem(str(file), 0, "", error.strerror or "an error", "a file that can be read"))
            continue
        part = _declaration(source)
        problems.extend(source.problems)
        parts.append(part)
        by_owner[owner] = Declared(
            providers=tuple(item for _, item in part.providers),
            channels=tuple(item for _, item in part.channels),
            routes=tuple(item for _, item in part.routes),
            price_books=tuple(item for _, item in part.price_books),
            exchange_rates=tuple(item for _, item in part.exchange_rates),
        )
    known = catalogue.with_providers(item for part in parts for _, item in part.providers)
    problems.extend(check(parts, known))
    problems.sort(key=lambda problem: (problem.file, problem.line, problem.field))
    return Loaded(by_owner, tuple(dict.fromkeys(problems)))


def _files(paths: Iterable[Path], problems: list[Problem]) -> list[tuple[str, Path]]:
    """Returns (owner, file); the owner is named after the file, with its path where two have one name."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(
                file for file in path.iterdir() if file.suffix in _SUFFIXES and not file.name.startswith(".")
            )
        elif path.exists():
            found.append(path)
        else:
            problems.append(Problem(str(path), 0, "", "nothing", "a file or a directory"))
    unique = list(dict.fromkeys(file.absolute() for file in found))
    names = [file.name for file in unique]
    return [(f"file:{file.name if names.count(file.name) == 1 else file}", file) for file in unique]


def _declaration(source: Source) -> Declaration:
    part = Declaration(source)
    data = source.data
    if data is None:
        return part
    if not isinstance(data, dict):
        source.add((), f"a {kind_of(data)}", f"a mapping with {_names(_KINDS)}")
        return part
    for name, entries in data.items():
        if name not in _KINDS:
            source.add((name,), repr(name), _suggest(name, _KINDS))
        elif entries is not None and not isinstance(entries, list):
            source.add((name,), f"a {kind_of(entries)}", "a list")
        else:
            for index, entry in enumerate(entries or ()):
                _validate(source, part, name, index, entry)
    return part


def _validate(source: Source, part: Declaration, name: str, index: int, entry: Any) -> None:
    kind = _KINDS[name]
    try:
        item = kind.model_validate(entry)
    except ValidationError as error:
        if isinstance(entry, dict):
            part.broken.append(((name, index), entry))
        for detail in error.errors():
            _explain(source, kind, (name, index), detail)
    else:
        part.add((name, index), item)


def _explain(source: Source, kind: type[Resource], prefix: tuple[str | int, ...], detail: ErrorDetails) -> None:
    loc = tuple(part for part in detail["loc"] if part != "[key]")
    path = (*prefix, *loc)
    code, value = detail["type"], detail.get("input")
    if code == "extra_forbidden":
        source.add(path, repr(loc[-1]), _suggest(str(loc[-1]), _fields_at(kind, loc[:-1])))
    elif code == "missing":
        line_at = path[:-1]
        source.problems.append(
            Problem(source.file, source.line_of(line_at), field_path(path), "nothing", "a value; it is required")
        )
    else:
        source.add(path, show(value, path), _allowed(detail, str(loc[-1]) if loc else ""))


def _allowed(detail: ErrorDetails, field_name: str) -> str:
    code = detail["type"]
    context: dict[str, Any] = dict(detail.get("ctx") or {})
    if code == "value_error":
        return str(context.get("error", detail["msg"]))
    if code == "literal_error":
        return str(context["expected"])
    if code == "string_pattern_mismatch":
        return _PATTERNS.get(field_name, _PATTERNS["model" if field_name in {"upstream", "model"} else "name"])
    if code in {"greater_than", "greater_than_equal", "less_than_equal"}:
        bound = next(iter(context.values()))
        kind = "number" if field_name == "percent" else "whole number"
        return f"a {kind} {code.replace('_', ' ').replace('than equal', 'than or equal to')} {bound}"
    if code == "too_short":
        return "at least one entry"
    return _EXPECTED.get(code, detail["msg"][:1].lower() + detail["msg"][1:])


def _fields_at(kind: type[Resource], loc: tuple[str | int, ...]) -> Iterable[str]:
    """Returns the fields of the shape at `loc`, found through the published schema."""
    schema = kind.model_json_schema()
    definitions = schema.get("$defs", {})
    here: Any = schema
    for part in loc:
        here = _resolve(here, definitions)
        if isinstance(part, int):
            here = here.get("items", {})
        else:
            # Keys with a pattern of their own stand under that.
            other: Any = next(iter(here.get("patternProperties", {}).values()), {})
            here = here.get("properties", {}).get(part, here.get("additionalProperties") or other)
    return tuple(_resolve(here, definitions).get("properties", ()))


def _resolve(schema: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    while isinstance(schema, dict):
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema:
            schema = next((one for one in schema["anyOf"] if "$ref" in one or one.get("type") == "array"), {})
        else:
            return schema
    return {}


def _suggest(found: str, allowed: Iterable[str]) -> str:
    names = tuple(allowed)
    close = difflib.get_close_matches(found, names, 1)
    return _names(names) + (f" (perhaps {close[0]})" if close else "")


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
