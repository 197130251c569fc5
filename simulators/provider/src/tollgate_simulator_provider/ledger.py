"""The simulator's own record of everything it accepted, against which a bill can be checked.

One JSON object a line, appended and handed to the system before the answer's last byte. Fields of a line:
`seq`, `at` (Unix seconds), `id`, `operation`, `model`, `stream`, `x_request_id`, `traceparent`, `faults`, `status`,
`outcome` (completed, client_gone, cut, refused, interrupted; `open` on the first of two lines of a reply that waits),
`chunks` (sent), `units` (counted for the whole answer, whatever part of it was sent), `reported` (the usage object of
the answer, null when there is none).
"""

import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import IO, Any

CHUNK = 1 << 20
MOST_MODELS = 1000


class Ledger:
    """Appends to a file, or to one without a name that goes with the process; keeps only totals in memory."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[bytes]
        if path is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` closes it.
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
        self.sequence = 0
        self._totals = _Totals()
        whole = 0
        self._file.seek(0)
        for line in self._file:
            if line.endswith(b"\n"):
                entry = json.loads(line)
                self.sequence = max(self.sequence, entry["seq"])
                self._totals.add(entry)
                whole += len(line)
        # A line that a killed process left unfinished would spoil the next one.
        self._file.truncate(whole)

    def next_sequence(self) -> int:
        """Returns the number of the next request."""
        self.sequence += 1
        return self.sequence

    def write(self, entry: dict[str, Any]) -> None:
        """Appends one line."""
        self._totals.add(entry)
        os.write(self._file.fileno(), json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def read(self, since: int, limit: int) -> tuple[list[Any], int]:
        """Returns up to `limit` entries from the cursor `since`, and the cursor that follows them.

        A cursor is a place in the file; 0 is its beginning.
        """
        entries: list[Any] = []
        rest, place = b"", since
        while len(entries) < limit and (data := os.pread(self._file.fileno(), CHUNK, place + len(rest))):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            for line in lines[: limit - len(entries)]:
                entries.append(json.loads(line))
                place += len(line) + 1
        return entries, place

    def summary(self) -> dict[str, Any]:
        """Returns totals: `requests`, and by outcome, operation, status and model with the units of each."""
        return self._totals.rendered()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class _Totals:
    def __init__(self) -> None:
        self._open = 0
        self._outcomes: Counter[str] = Counter()
        self._operations: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._models: dict[str, Counter[str]] = {}
        self._units: Counter[str] = Counter()

    def add(self, entry: dict[str, Any]) -> None:
        if entry["outcome"] == "open":
            self._open += 1
            return
        if entry.get("was_open"):
            self._open -= 1
        self._outcomes[entry["outcome"]] += 1
        self._operations[entry["operation"]] += 1
        self._statuses[str(entry["status"])] += 1
        name = entry["model"] if entry["model"] in self._models or len(self._models) < MOST_MODELS else "(others)"
        model = self._models.setdefault(name, Counter())
        model["requests"] += 1
        for unit, count in entry["units"].items():
            model[unit] += count
            self._units[unit] += count

    def rendered(self) -> dict[str, Any]:
        return {
            "requests": sum(self._outcomes.values()),
            "open": self._open,
            "outcomes": dict(self._outcomes),
            "operations": dict(self._operations),
            "statuses": dict(self._statuses),
            "units": dict(self._units),
            "models": {name: dict(counts) for name, counts in sorted(self._models.items())},
        }
