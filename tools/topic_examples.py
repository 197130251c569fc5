"""Writes the binary form of the protobuf examples under topics/examples from their JSON. Run by `make examples`."""

import importlib
import sys
from pathlib import Path

import yaml
from google.protobuf.json_format import Parse
from google.protobuf.message import Message

ROOT = Path(__file__).resolve().parent.parent
TOPICS = ROOT / "topics"


def message_type(schema: dict[str, str]) -> type[Message]:
    """Returns the class of a topic's message. Raises ImportError or AttributeError when the stubs have none."""
    module = importlib.import_module(schema["file"].removesuffix(".proto").replace("/", ".") + "_pb2")
    found: type[Message] = getattr(module, schema["message"].rpartition(".")[2])
    return found


def encode(schema: dict[str, str], text: str) -> bytes:
    """Returns a JSON example as it is produced. Raises ParseError when a field is not in the schema."""
    return Parse(text, message_type(schema)()).SerializeToString(deterministic=True)


def main() -> int:
    """Writes one `.binpb` per `.json`; returns the exit code."""
    for path in sorted(TOPICS.glob("*.yaml")):
        schema = yaml.safe_load(path.read_text(encoding="utf-8"))["schema"]
        if schema["encoding"] == "protobuf":
            for example in sorted((TOPICS / "examples" / path.stem).glob("*.json")):
                example.with_suffix(".binpb").write_bytes(encode(schema, example.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
