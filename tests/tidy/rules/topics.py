"""A topic exists when its file, its schema and its examples do, and everybody it names; code uses no other."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import yaml
from google.protobuf.json_format import ParseError
from google.protobuf.message import DecodeError
from tests.tidy.rules.tree import Tree, Violation
from tools.topic_examples import encode, message_type

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = "topics/schemas/topic.schema.json"
# Who may read a topic without being one of the services.
PEOPLE = {"operators"}
# What code can only mean a topic by.
TOPIC = re.compile(r"[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*)+\.v[0-9]+")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields topic files that are not complete, and examples that do not decode."""
    shape = json.loads((ROOT / SCHEMA).read_text(encoding="utf-8"))
    names = {PurePosixPath(name).stem for name in tree.matching("topics/*.yaml")}
    services = {PurePosixPath(name).parts[1] for name in tree.matching("services/*/pyproject.toml")}
    for name in tree.matching("topics/*.yaml"):
        topic = yaml.safe_load(tree.text(name))
        wrong = [error.message for error in jsonschema.Draft202012Validator(shape).iter_errors(topic)]
        if not wrong:
            wrong = [*_names(topic, PurePosixPath(name).stem, names, services), *_examples(tree, topic)]
        yield from (Violation(name, 1, message) for message in wrong)
    for name in tree.matching("topics/examples/*/*"):
        if PurePosixPath(name).parts[2] not in names:
            yield Violation(name, 1, "an example of a topic that does not exist")
    for name in tree.sources():
        for node in ast.walk(tree.parsed(name)):
            if isinstance(node, ast.Constant) and TOPIC.fullmatch(str(node.value)) and node.value not in names:
                yield Violation(name, node.lineno, f"topic {node.value} has no file under topics/")


def _names(topic: dict[str, Any], stem: str, names: set[str], services: set[str]) -> Iterator[str]:
    if topic["topic"] != stem:
        yield f"the file is called {stem}, the topic {topic['topic']}"
    for producer in topic["producers"].keys() - services:
        yield f"producer {producer} is not a service"
    for consumer, entry in topic["consumers"].items():
        if consumer not in services | PEOPLE:
            yield f"consumer {consumer} is not a service"
        if consumer in services and "dead_letter" not in entry:
            yield f"consumer {consumer} says nothing about what it cannot read"
        if entry.get("dead_letter", stem) not in names:
            yield f"topic {entry['dead_letter']} does not exist"


def _examples(tree: Tree, topic: dict[str, Any]) -> Iterator[str]:
    examples = tree.matching(f"topics/examples/{topic['topic']}/*.json")
    if not examples:
        yield "there is no example"
    for example in examples:
        try:
            _decode(tree, topic["schema"], example)
        except (ParseError, DecodeError, ImportError, AttributeError, OSError, ValueError) as error:
            yield f"{example} does not decode: {error}"
        except jsonschema.ValidationError as error:
            yield f"{example} does not decode: {error.message}"


def _decode(tree: Tree, schema: dict[str, str], example: str) -> None:
    """Decodes an example. Raises what decoding raises, and ValueError when its two forms differ."""
    if schema["encoding"] == "raw":
        shape = json.loads((ROOT / schema["file"]).read_text(encoding="utf-8"))
        jsonschema.validate(json.loads(tree.text(example)), shape)
        return
    binary = (tree.root / example).with_suffix(".binpb").read_bytes()
    message_type(schema)().ParseFromString(binary)
    if binary != encode(schema, tree.text(example)):
        raise ValueError("its binary form is another event; run `make examples`")


def _planted(example: str = "{}", binary: str = "", **changes: Any) -> dict[str, str]:
    topic = yaml.safe_load((ROOT / "topics/usage.recorded.v1.yaml").read_text(encoding="utf-8"))
    for consumer in topic["consumers"].values():
        consumer["dead_letter"] = "usage.recorded.v1"
    topic.update(changes)
    files = {f"services/{name}/pyproject.toml": "" for name in ("edge", "router", "billing", "media-jobs")}
    files["topics/usage.recorded.v1.yaml"] = yaml.safe_dump(topic)
    files["topics/examples/usage.recorded.v1/x.json"] = example
    files["topics/examples/usage.recorded.v1/x.binpb"] = binary
    return files


def _without(*names: str) -> dict[str, str]:
    return {name: text for name, text in _planted().items() if not name.endswith(names)}


_SCHEMA = {"file": "tollgate/events/v1/usage.proto", "encoding": "protobuf"}
_READER = {"group": "x", "idempotency_key": "event_id", "effect": "Reads."}

PLANTED = [
    (_planted(producers={}), "should be non-empty"),
    (_planted(partitions="12"), "is not of type 'integer'"),
    (_planted(colour="blue"), "'colour' was unexpected"),
    (_planted(topic="usage.other.v1"), "the file is called"),
    (_planted(producers={"nobody": "Why."}), "producer nobody"),
    (_planted(consumers={"nobody": {**_READER, "dead_letter": "usage.recorded.v1"}}), "consumer nobody"),
    (_planted(consumers={"billing": _READER}), "what it cannot read"),
    (_planted(consumers={"billing": {**_READER, "dead_letter": "usage.gone.v1"}}), "usage.gone.v1 does not exist"),
    (_planted(schema={**_SCHEMA, "message": "tollgate.events.v1.Gone"}), "does not decode"),
    (_planted(schema={**_SCHEMA, "message": "X", "file": "tollgate/gone/v1/x.proto"}), "does not decode"),
    (_planted(example='{"colour": "blue"}'), "does not decode"),
    (_planted(example='{"requestId": "r"}'), "another event"),
    (_planted(binary="\x0f"), "does not decode"),
    (_without("x.json", "x.binpb"), "there is no example"),
    (_without("x.binpb"), "does not decode"),
    ({"topics/examples/usage.gone.v1/x.json": "{}"}, "a topic that does not exist"),
    ({"services/a/src/a/x.py": 'TOPIC = "media.moved.v1"\n'}, "media.moved.v1 has no file"),
    (
        _planted() | {"services/a/src/a/x.py": 'def f():\n    send("usage.recorded.v2")\n'},
        "usage.recorded.v2 has no file",
    ),
]
KEPT = [
    _planted() | {"services/a/src/a/x.py": 'TOPIC = "usage.recorded.v1"\nSPAN = "usage.recorded.v1 send"\n'},
]
