"""Data that ships has a schema beside it, and keeps to it."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import PurePosixPath

import jsonschema
import yaml
from tests.tidy.rules.tree import Tree, Violation

KINDS = ("yaml", "json", "csv")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields YAML, JSON and CSV files in `data` folders of packages without a schema, or that break it."""
    for name in tree.matching(*(f"**/src/*/data/{depth}*.{kind}" for depth in ("", "*/") for kind in KINDS)):
        path = PurePosixPath(name)
        if path.name.endswith(".schema.json"):
            continue
        # Files of a folder share the schema that has its name.
        beside = path.parent if path.parent.name == "data" else path.parent.parent
        stem = path.stem if beside == path.parent else path.parent.name
        schema = str(beside / "schemas" / f"{stem}.schema.json")
        if schema not in tree.names:
            yield Violation(name, 1, f"{schema} is missing")
            continue
        shape = json.loads(tree.text(schema))
        for error in jsonschema.Draft202012Validator(shape).iter_errors(_parsed(path.suffix, tree.text(name))):
            where = "/".join(str(part) for part in error.absolute_path)
            yield Violation(name, 1, f"{where}: {error.message[:200]}")


def _parsed(suffix: str, text: str) -> object:
    """Returns the data; of CSV a list of rows, each with texts by column."""
    return list(csv.DictReader(io.StringIO(text))) if suffix == ".csv" else yaml.safe_load(text)


PLANTED = [
    ({"libs/a/src/a/data/many/x.yaml": "a: 1\n"}, "data/schemas/many.schema.json is missing"),
    ({"libs/a/src/a/data/many/x.json": "{}"}, "data/schemas/many.schema.json is missing"),
    ({"libs/a/src/a/data/x.csv": "a\n1\n"}, "data/schemas/x.schema.json is missing"),
    (
        {
            "libs/a/src/a/data/x.csv": "a\n1\n",
            "libs/a/src/a/data/schemas/x.schema.json": '{"items": {"required": ["b"]}}',
        },
        "'b' is a required property",
    ),
    ({"libs/a/src/a/data/x.yaml": "a: 1\n"}, "data/schemas/x.schema.json is missing"),
    (
        {"libs/a/src/a/data/x.yaml": "a: one\n", "libs/a/src/a/data/schemas/x.schema.json": '{"required": ["b"]}'},
        "'b' is a required property",
    ),
]
KEPT = [
    {"libs/a/src/a/data/many/x.yaml": "a: 1\n", "libs/a/src/a/data/schemas/many.schema.json": '{"required": ["a"]}'},
    {"libs/a/src/a/data/x.yaml": "a: 1\n", "libs/a/src/a/data/schemas/x.schema.json": '{"required": ["a"]}'},
    {"deploy/values.yaml": "a: 1\n"},
]
