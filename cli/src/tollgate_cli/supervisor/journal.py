"""What the processes write: one file each, rotated, the last lines in memory, and all of it on the screen on demand."""

import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, TextIO

LARGEST_FILE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 2
KEPT_LINES = 40
LONGEST_LINE = 64 * 1024
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)
LEVELS = {"warn": "33", "error": "31", "fatal": "31;1"}
RECORD = re.compile(r"(\d\d:\d\d:\d\d\.\d{3}) \S+ +(debug|info|warn|error|fatal) +(.*)")


class Journal:
    """Takes bytes as they come from the processes and gives out whole lines."""

    def __init__(self, directory: Path, names: Iterable[str], screen: TextIO | None, *, colour: bool) -> None:
        self._screen = screen
        self._colour = colour
        listed = list(names)
        self._width = max((len(name) for name in listed), default=0)
        self._logs = {name: _Log(directory / f"{name}.log") for name in listed}
        self._colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(listed)}

    def write(self, name: str, data: bytes) -> None:
        """Takes what a process wrote."""
        for line in self._logs[name].take(data):
            self._show(name, line)

    def end(self, name: str) -> None:
        """Takes the last line of a process that ended, finished or not."""
        for line in self._logs[name].take(b"\n" if self._logs[name].unfinished else b""):
            self._show(name, line)

    def tail(self, name: str, count: int = 15) -> list[str]:
        """Returns the last lines of a process."""
        return list(self._logs[name].lines)[-count:]

    def close(self) -> None:
        """Closes the files."""
        for log in self._logs.values():
            log.close()

    def _show(self, name: str, line: str) -> None:
        if self._screen is None:
            return
        clock, level, rest = "", "", line
        if record := RECORD.fullmatch(line):
            clock, level, rest = record[1], record[2], record[3]
        label = f"{name:<{self._width}}"
        if self._colour:
            label = f"\x1b[{self._colours[name]}m{label}\x1b[0m"
            rest = f"\x1b[{LEVELS[level]}m{rest}\x1b[0m" if level in LEVELS else rest
        self._screen.write(f"{clock:<12} {label} {level:<5} {rest}\n")
        self._screen.flush()


class _Log:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._size = path.stat().st_size
        self.unfinished = b""
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    def take(self, data: bytes) -> list[str]:
        if not data:
            return []
        if self._size + len(data) > LARGEST_FILE_BYTES:
            self._rotate()
        self._file.write(data)
        self._size += len(data)
        parts = (self.unfinished + data).split(b"\n")
        self.unfinished = parts.pop()[-LONGEST_LINE:]
        found = [part.decode("utf-8", "replace").rstrip("\r") for part in parts]
        self.lines.extend(found)
        return found

    def close(self) -> None:
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(KEPT_FILES, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            if newer.exists():
                newer.replace(older)
        self._file = self._path.open("ab", buffering=0)
        self._size = 0
