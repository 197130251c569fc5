"""The spool: what a process has done and nobody else knows yet, kept in append-only files until the event log has it.

A directory belongs to one process at a time by a lock on its `lock` file, which the kernel drops when the process dies:
whoever opens the directory next adopts what is in it. A frame is `kind(1) length(4) sequence(8) crc32(4) payload`,
and the checksum covers all else; kind E is a record, A acknowledges one. A torn tail ends a segment; everything before
it counts.
"""

import contextlib
import fcntl
import logging
import os
import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

# `Spool.bytes` hides the type's own name within the class.
_Bytes = bytes
_SEGMENT_NAME: Final = re.compile(r"[0-9]{1,20}\.seg")
_HEAD: Final = struct.Struct("<cIQ")
_CHECKSUM: Final = struct.Struct("<I")
_HEADER_BYTES: Final = _HEAD.size + _CHECKSUM.size
_RECORD: Final = b"E"
_ACKNOWLEDGED: Final = b"A"
# Room that an admitted request may need: its events and their acknowledgements.
_RESERVE_BYTES: Final = 64 * 1024
_MAX_PAYLOAD_BYTES: Final = 1024 * 1024


class SpoolLocked(Exception):  # noqa: N818 - a state of the world more than a fault.
    """Another process owns the directory."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A record of an earlier process. `acknowledged` says that `acknowledge` was called for it."""

    sequence: int
    payload: bytes
    acknowledged: bool


class _Segment:
    __slots__ = ("live", "path", "size")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.live = 0


class Spool:
    """One directory, one owner. `append` and `acknowledge` gather in memory; `flush` is one write.

    Eight records at once take 0.5 µs in place of 2.3, before the file system has done anything.
    With `fsync`, it also waits until the disk has the records of that write, however many they are.
    """

    def __init__(self, directory: Path, lock_fd: int, *, max_bytes: int, segment_bytes: int, fsync: bool) -> None:
        self._directory = directory
        self._lock_fd = lock_fd
        self._max_bytes = max_bytes
        # However little a spool may hold, what has left makes room.
        self._segment_bytes = min(segment_bytes, max_bytes // 8)
        self._small_bytes = self._segment_bytes // 16
        self._fsync = fsync
        self._buffer: list[_Bytes] = []
        self._buffered = 0
        self._segment_of: dict[int, _Segment] = {}
        # An acknowledgement keeps its segment for as long as its record lives.
        self._acknowledged_in: dict[int, _Segment] = {}
        self._next = 1
        self._number = 0
        self._fd = -1
        self._current = _Segment(directory)
        self._recovered: list[Recovered] = []
        self._segments: dict[Path, _Segment] = {}
        self._bytes = 0
        self._broken = ""
        self._unsure = False

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        max_bytes: int = 256 * 1024 * 1024,
        segment_bytes: int = 4 * 1024 * 1024,
        fsync: bool = False,
    ) -> "Spool":
        """Takes the directory and reads what is in it. Raises SpoolLocked when a living process has it."""
        directory.mkdir(parents=True, exist_ok=True)
        lock_fd = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock_fd)
            raise SpoolLocked(f"the spool {directory} belongs to another process") from None
        spool = cls(directory, lock_fd, max_bytes=max_bytes, segment_bytes=segment_bytes, fsync=fsync)
        spool._adopt()
        spool._begin_segment()
        return spool

    @property
    def records(self) -> int:
        """Records that were not discarded yet."""
        return len(self._segment_of)

    @property
    def bytes(self) -> int:
        """Size of all segments and of what waits to be written."""
        return self._bytes + self._buffered

    def has_room(self) -> bool:
        """Says whether one more request can be admitted and still append its events."""
        return not self._broken and self.bytes + _RESERVE_BYTES < self._max_bytes

    def append(self, payload: _Bytes) -> int:
        """Adds a record and returns its sequence; it is on disk after the next `flush`."""
        length = len(payload)
        if length > _MAX_PAYLOAD_BYTES:
            raise ValueError(f"a record may have {_MAX_PAYLOAD_BYTES} bytes, found {length}")
        sequence = self._next
        self._next += 1
        head = _HEAD.pack(_RECORD, length, sequence)
        self._buffer += (head, _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(head))), payload)
        self._buffered += _HEADER_BYTES + length
        segment = self._current
        segment.live += 1
        self._segment_of[sequence] = segment
        return sequence

    def acknowledge(self, sequence: int) -> None:
        """Notes that the record's receiver has it; on disk after the next `flush`."""
        if sequence in self._segment_of and sequence not in self._acknowledged_in:
            head = _HEAD.pack(_ACKNOWLEDGED, 0, sequence)
            self._buffer += (head, _CHECKSUM.pack(zlib.crc32(head)))
            self._buffered += _HEADER_BYTES
            self._current.live += 1
            self._acknowledged_in[sequence] = self._current

    def flush(self) -> None:
        """Writes what has gathered. A disk that is full keeps it in memory and `has_room` says no."""
        if self._broken:
            if self._unsure and not self._begin_segment():
                return
        elif not self._buffer:
            return
        data, written, problem = b"".join(self._buffer), 0, None
        try:
            written = os.write(self._fd, data)
            if self._fsync and written == len(data):
                os.fdatasync(self._fd)
        except OSError as error:
            # Whether the pages are on the disk is not known after that: what they held is written again, elsewhere.
            self._unsure, problem = written > 0, error
        self._bytes += written
        self._current.size += written
        if problem is not None:
            self._fail(problem)
        elif written < len(data):
            # A part that cannot be known to be on the disk is written again, as above.
            rest = data if self._fsync else data[written:]
            self._unsure, self._buffer, self._buffered = self._fsync, [rest], len(rest)
            self._fail(OSError("short write"))
        else:
            self._buffer.clear()
            self._buffered = 0
            # Nearly always it is too small to look whether something else is to come of it.
            if (self._current.size < self._small_bytes or self._go_on()) and self._broken:
                log.warning("the spool can be written again")
                self._broken = ""

    def _fail(self, error: OSError) -> None:
        if not self._broken:
            log.error("the spool cannot be written; new requests are refused", extra={"fields": {"error": str(error)}})
        self._broken = str(error)

    def recovered(self) -> list[Recovered]:
        """Returns the records that were in the directory when it was opened, oldest first."""
        return list(self._recovered)

    def discard(self, sequences: Iterable[int]) -> None:
        """The event log has these records: segments that hold nothing else are removed."""
        for sequence in sequences:
            for segment in (self._segment_of.pop(sequence, None), self._acknowledged_in.pop(sequence, None)):
                if segment is None:
                    continue
                segment.live -= 1
                if segment.live == 0 and segment is not self._current:
                    self._remove(segment)
        self._go_on()
        if self._recovered and not self._segment_of:
            self._recovered = []

    def close(self) -> None:
        """Writes what has gathered and gives the directory up; an empty one leaves no segment behind."""
        self.flush()
        os.close(self._fd)
        if self._current.live == 0 and not self._buffer:
            self._remove(self._current)
        os.close(self._lock_fd)

    def _go_on(self) -> bool:
        """Begins the next segment once this one is large, or once nothing in it matters; False when it cannot."""
        old, done = self._current, self._current.live == 0
        # What waits to be written is counted in this one, and may be the rest of a frame.
        if self._buffer or old.size < (self._small_bytes if done else self._segment_bytes):
            return True
        if not self._begin_segment():
            return False
        if done:
            self._remove(old)
        return True

    def _begin_segment(self) -> bool:
        """Returns False where it cannot be opened: the old one goes on, and nothing new is taken until it can."""
        path = self._directory / f"{self._number + 1:020d}.seg"
        try:
            fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if self._fd < 0:
                raise
            self._fail(error)
            return False
        with contextlib.suppress(OSError):
            # Whatever that says, or where there is none yet: the number is free.
            os.close(self._fd)
        old, self._fd, self._number = self._current, fd, self._number + 1
        self._current = self._segments.setdefault(path, _Segment(path))
        if self._unsure:
            # The old one has what was confirmed before, and stays until the next start.
            for places in (self._segment_of, self._acknowledged_in):
                places.update({one: self._current for one, segment in places.items() if segment is old})
            self._current.live, old.live, self._unsure = old.live, 0, False
        return True

    def _remove(self, segment: _Segment) -> None:
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            # The next start reads it, and what is in it is published once more.
            self._fail(error)
        self._segments.pop(segment.path, None)
        self._bytes -= segment.size

    def _adopt(self) -> None:
        found: list[tuple[int, _Bytes]] = []
        segments: list[_Segment] = []
        # By number, and no other file that somebody left here.
        paths = [path for path in self._directory.glob("*.seg") if _SEGMENT_NAME.fullmatch(path.name)]
        for path in sorted(paths, key=lambda path: int(path.stem)):
            segment = _Segment(path)
            segments.append(segment)
            data = path.read_bytes()
            segment.size = len(data)
            for kind, sequence, payload in read_frames(data, path.name):
                self._next = max(self._next, sequence + 1)
                if kind == _RECORD and sequence not in self._segment_of:
                    self._segment_of[sequence] = segment
                    segment.live += 1
                    found.append((sequence, payload))
                elif kind == _ACKNOWLEDGED and sequence in self._segment_of:
                    self._acknowledged_in[sequence] = segment
                    segment.live += 1
        for segment in segments:
            self._bytes += segment.size
            if segment.live:
                self._segments[segment.path] = segment
            else:
                self._remove(segment)
        # Nothing is appended to a segment of an earlier process: its tail may be torn.
        self._number = max((int(segment.path.stem) for segment in segments), default=0)
        self._recovered = [
            Recovered(sequence, payload, sequence in self._acknowledged_in) for sequence, payload in found
        ]
        if self._recovered:
            log.info("adopted a spool", extra={"fields": {"records": len(self._recovered)}})


def read_frames(data: bytes, name: str) -> Iterable[tuple[bytes, int, bytes]]:
    """Yields (kind, sequence, payload) up to the end or to the first frame that is torn or does not add up."""
    at = 0
    while at + _HEADER_BYTES <= len(data):
        kind, length, sequence = _HEAD.unpack_from(data, at)
        (crc,) = _CHECKSUM.unpack_from(data, at + _HEAD.size)
        end = at + _HEADER_BYTES + length
        # A length that is a lie must not have much read before the checksum says so.
        known = kind in {_RECORD, _ACKNOWLEDGED} and length <= _MAX_PAYLOAD_BYTES and end <= len(data)
        payload = data[at + _HEADER_BYTES : end] if known else b""
        if not known or zlib.crc32(payload, zlib.crc32(data[at : at + _HEAD.size])) != crc:
            log.warning("a spool segment ends in a torn frame", extra={"fields": {"segment": name, "offset": at}})
            return
        yield kind, sequence, payload
        at = end
    if at < len(data):
        log.warning("a spool segment ends in a torn frame", extra={"fields": {"segment": name, "offset": at}})
