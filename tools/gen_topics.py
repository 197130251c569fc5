"""Writes libs/contracts/src/tollgate/topics.py, what Kafka topics are made as, from topics/. Run by `make topics`."""

import json
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
TOPICS = ROOT / "topics"
MODULE = ROOT / "libs" / "contracts" / "src" / "tollgate" / "topics.py"
HEAD = '''"""What the topics of topics/ are created as, by their names. Written by `make topics`; do not edit."""

from collections.abc import Mapping
from typing import Final, TypedDict


class Topic(TypedDict):
    """`settings` are those of Kafka, as it names and writes them."""

    partitions: int
    replication_factor: int
    settings: Mapping[str, str]


'''


def render(folder: Path = TOPICS) -> str:
    """Returns the module."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        topic = yaml.safe_load(path.read_text(encoding="utf-8"))
        retention = {"retention.ms": str(topic["retention_hours"] * 3_600_000)}
        found[topic["topic"]] = {
            "partitions": topic["partitions"],
            "replication_factor": topic["replication_factor"],
            "settings": retention | topic["settings"],
        }
    return f"{HEAD}TOPICS: Final[Mapping[str, Topic]] = {json.dumps(found, indent=4)}\n"


def main() -> int:
    """Writes the module; returns the exit code."""
    MODULE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
