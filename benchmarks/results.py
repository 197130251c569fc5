"""What a run found, round by round, as JSON: the page of figures is made from such files."""

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.machine import busy, facts

Row = dict[str, Any]


def add_option(parser: argparse.ArgumentParser) -> None:
    """Lets a program be told where to write its results."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="Write every round's figures there as JSON.")


class Results:
    """Tables of rows, and what they were measured on. Times are in UTC, to the second."""

    def __init__(self, program: str, versions: Mapping[str, str] | None = None) -> None:
        self._found: dict[str, Any] = {
            "program": program,
            "begun": _now(),
            "machine": facts(),
            "versions": dict(versions or {}),
            "busy": [busy()],
        }
        self._tables: dict[str, list[Row]] = {}

    def add(self, table: str, **row: Any) -> Row:
        """Adds a row to a table, and returns it."""
        self._tables.setdefault(table, []).append(row)
        return row

    def rows(self, table: str, **having: Any) -> list[Row]:
        """Returns the rows of a table that have these values."""
        return rows({"tables": self._tables}, table, **having)

    def note_busy(self) -> None:
        """Notes how busy the machine is now."""
        self._found["busy"].append(busy())

    def write(self, file: Path | None) -> None:
        """Writes the file, a row a line so that differences can be read; does nothing without one. Raises OSError."""
        if file is None:
            return
        self.note_busy()
        head = json.dumps(self._found | {"ended": _now()}, indent=1)[:-2]
        tables = ",\n".join(
            f'  "{name}": [\n' + ",\n".join(f"   {json.dumps(row)}" for row in found) + "\n  ]"
            for name, found in self._tables.items()
        )
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'{head},\n "tables": {{\n{tables}\n }}\n}}\n', encoding="utf-8")
        print(f"\nWritten: {file}")


def rows(found: Mapping[str, Any], table: str, **having: Any) -> list[Row]:
    """Returns the rows of a table of a results file that have these values; none when there is no such table."""
    return [row for row in found["tables"].get(table, []) if all(row.get(name) == is_ for name, is_ in having.items())]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
