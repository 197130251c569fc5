"""`tollgate keys import`: keys of another gateway, from a file of lines. All of them are taken over, or none."""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id, project_id
from tollgate_cli.errors import USAGE, Failure, unreadable
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

MIN_KEY_CHARACTERS = 16
MAX_KEY_CHARACTERS = 512
LISTS = ("models", "endpoints", "cidrs")
LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrency")
FIELDS = ("key", "sha256", "name", "last_four", "expires_at", "limits", *LISTS, *LIMITS)


@dataclass(slots=True)
class Lines:
    """What a file holds: the keys as the API takes them, each with its line, and what is wrong with other lines."""

    keys: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)


def run(
    home: Path | None,
    environment: Mapping[str, str],
    file: Path,
    organization: str | None,
    project: str | None,
    *,
    check: bool,
    as_json: bool,
) -> None:
    """Takes the keys of a file over, and says what became of each line. Raises Failure that names every bad line."""
    try:
        lines = read_lines(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, error) from None
    if not lines.keys and not lines.problems:
        raise Failure(f"{file} holds no keys.", code=USAGE)
    body: dict[str, Any] = {"keys": [key for _, key in lines.keys]}
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization)
        chosen = {"organization_id": owner, "project_id": project_id(api, project, owner)}
        body |= {name: value for name, value in chosen.items() if value}
        if lines.keys:
            for one in api.post("/api/v1/keys/import", body | {"check": True})["refused"]:
                lines.problems.append((lines.keys[one["index"]][0], one["message"]))
        if lines.problems:
            raise _refusal(lines)
        done = None if check else api.post("/api/v1/keys/import", body)
    _show(lines, done, as_json=as_json)


def read_lines(text: str) -> Lines:
    """Returns what the lines of a file say: an object of JSON each, or CSV under the names of its columns."""
    found = Lines()
    rows = _objects(text) if text.lstrip().startswith("{") else _table(text)
    for line, row in rows:
        try:
            found.keys.append((line, _key(row)))
        except ValueError as error:
            found.problems.append((line, str(error)))
    return found


def _objects(text: str) -> Iterator[tuple[int, object]]:
    for line, part in enumerate(text.splitlines(), 1):
        if part.strip():
            try:
                yield line, json.loads(part)
            except (ValueError, RecursionError):
                yield line, None


def _table(text: str) -> Iterator[tuple[int, object]]:
    reader = csv.DictReader(text.splitlines())
    for row in reader:
        if None in row or None in row.values():
            yield reader.line_num, f"it has not the {len(reader.fieldnames or ())} columns of the first line"
            continue
        given: dict[str, Any] = {name.strip(): value.strip() for name, value in row.items() if value.strip()}
        for name in LISTS:
            if name in given:
                given[name] = [one.strip() for one in given[name].split(";") if one.strip()]
        for name in LIMITS:
            if name in given:
                given[name] = int(given[name]) if given[name].isascii() and given[name].isdigit() else given[name]
        yield reader.line_num, given


def _key(row: object) -> dict[str, Any]:
    """Returns a key as the API takes it: its SHA-256 in place of itself. Raises ValueError."""
    if isinstance(row, str):
        raise ValueError(f"{row}.")  # noqa: TRY004 - what a line holds is a value.
    if not isinstance(row, dict):
        raise ValueError("It is no JSON object.")  # noqa: TRY004 - as above.
    unknown = [name for name in row if name not in FIELDS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not a field of a key. There are: {', '.join(FIELDS)}.")
    if ("key" in row) == ("sha256" in row):
        raise ValueError("It must have 'key' or 'sha256', and not both.")
    made = {name: value for name, value in row.items() if name not in {"key", *LIMITS}}
    if limits := {name: row[name] for name in LIMITS if name in row}:
        if "limits" in row:
            raise ValueError(f"It must have 'limits' or {', '.join(LIMITS)}, and not both.")
        made["limits"] = limits
    if "key" in row:
        key = row["key"]
        if not isinstance(key, str) or not _is_key(key):
            raise ValueError(
                f"A key has {MIN_KEY_CHARACTERS} to {MAX_KEY_CHARACTERS} characters of ASCII without blanks."
            )
        made |= {"sha256": hashlib.sha256(key.encode()).hexdigest(), "last_four": key[-4:]}
    return made


def _is_key(text: str) -> bool:
    right = MIN_KEY_CHARACTERS <= len(text) <= MAX_KEY_CHARACTERS
    return right and text.isascii() and text.isprintable() and " " not in text


def _refusal(lines: Lines) -> Failure:
    problems = sorted(lines.problems)
    bad = {line for line, _ in problems}
    shown = [f"line {line}: {problem}" for line, problem in problems]
    shown.append(f"{len(bad)} of {len(bad | {line for line, _ in lines.keys})} keys are refused. Nothing was imported.")
    return Failure("\n".join(shown), details=[{"line": line, "problem": problem} for line, problem in problems])


def _show(lines: Lines, done: Mapping[str, Any] | None, *, as_json: bool) -> None:
    made = done["items"] if done is not None else [{"id": None, "imported": False} for _ in lines.keys]
    items = [
        {"line": line, "id": one["id"], "name": key.get("name"), "state": _state(one, checked=done is None)}
        for (line, key), one in zip(lines.keys, made, strict=True)
    ]
    count = 0 if done is None else done["imported"]
    if as_json:
        print_json({"imported": count, "items": items})
        return
    print_table(("line", "id", "name", "state"), ([item[name] for name in item] for item in items), numbers=("line",))
    print(f"\n{len(items)} keys can be imported." if done is None else f"\n{count} of {len(items)} keys imported.")


def _state(one: Mapping[str, Any], *, checked: bool) -> str:
    if checked:
        return "valid"
    return "imported" if one["imported"] else "there already"
