"""What is measured: where it listens, what it wants to be sent, and the processes that count."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import TICKS, proportional_bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """A gateway that runs. `events`: chunks besides [DONE] that its clients get of a stream."""

    name: str
    port: int
    headers: Mapping[str, str]
    model: str
    pids: Sequence[int]
    events: int = 65

    def processor_seconds(self) -> float:
        """Returns user and system time of the processes, of their descendants, and of children that have ended."""
        total = 0
        for pid in descendants(self.pids):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15]))
        return total / TICKS

    def memory_bytes(self) -> int:
        """Returns the proportional set size of them all."""
        total = 0
        for pid in descendants(self.pids):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += proportional_bytes(pid)
        return total


def descendants(roots: Sequence[int]) -> list[int]:
    """Returns the processes and everything below them."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    found, waiting = list[int](), list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found
