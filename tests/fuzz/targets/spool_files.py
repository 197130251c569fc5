"""The spool's recovery: whatever became of its files, only what was written comes back, and all of it that is whole."""

import logging
import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.fuzz.cases import Case, draw_edit, edited
from tollgate_kit.spool import Recovered, Spool

# As the spool's documentation has it: kind, length, sequence, checksum.
_HEADER: Final = struct.Struct("<cIQI")
_SEGMENT_BYTES: Final = 300
_SPICES: Final = [
    b"E", b"A", b"\x00", b"\xff", b"\x00" * 17, b"\xff" * 8, _HEADER.pack(b"E", 0, 1, 0), _HEADER.pack(b"A", 0, 1, 1),
    _HEADER.pack(b"E", 2**32 - 1, 2, 0), _HEADER.pack(b"A", 0, 2**63, 0),
]  # fmt: skip
_STRAY: Final = ["1.seg", "12x.seg", "9" * 30 + ".seg", "0.seg", "notes.txt"]
_SHORT: Final = 0.6

# (what, which record or how many bytes).
Step = Sequence[Any]


class SpoolFilesTarget:
    """A spool's life, then its files after some accident, then a life after that."""

    cost = 10

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="fuzz-spool-")
        # Every case says what it found; here that is no news.
        logging.getLogger("tollgate_kit.spool").setLevel(logging.CRITICAL)
        self._lives = 0

    def draw(self, source: Random) -> Case:
        steps = [_step(source) for _ in range(source.randint(1, 30))]
        stray = [[source.choice(_STRAY), source.choice(_SPICES)]] if source.random() < 0.1 else []
        accidents = []
        if source.random() < 0.9:
            files = [source.randint(0, 6) for _ in range(source.randint(1, 2))]
            accidents = [[file, draw_edit(source, 2 * _SEGMENT_BYTES, _SPICES)] for file in files]
        return {"steps": steps, "accidents": accidents, "stray": stray}

    def check(self, case: Case) -> None:
        self._lives += 1
        place = Path(self._directory.name) / str(self._lives)
        try:
            _check(place, case)
        finally:
            shutil.rmtree(place)

    def close(self) -> None:
        logging.getLogger("tollgate_kit.spool").setLevel(logging.NOTSET)
        self._directory.cleanup()


def _check(place: Path, case: Case) -> None:
    written, acknowledged = _live(place, case["steps"])
    whole = {path.name: path.read_bytes() for path in sorted(place.glob("*.seg"))}
    for file, edit in case["accidents"]:
        if whole:
            path = place / sorted(whole)[file % len(whole)]
            path.write_bytes(edited(path.read_bytes(), edit))
    for name, content in case["stray"]:
        (place / name).write_bytes(content)
    with _opened(place) as spool:
        found = spool.recovered()
        _check_recovered(found, written, acknowledged)
        _check_untouched(found, whole, place)
        added = {spool.append(b"after %d" % number): b"after %d" % number for number in range(3)}
        assert not set(added) & {one.sequence for one in found}, "a number is used twice"
    _check_next(place, {one.sequence: one.payload for one in found} | added, {name for name, _ in case["stray"]})


@contextmanager
def _opened(place: Path) -> Iterator[Spool]:
    spool = Spool.open(place, segment_bytes=_SEGMENT_BYTES)
    try:
        yield spool
    finally:
        spool.close()


def _step(source: Random) -> Step:
    what = source.choice(["append"] * 6 + ["acknowledge"] * 3 + ["flush"] * 4 + ["discard"] * 3 + ["reopen"])
    size = source.randint(0, 60) if source.random() < _SHORT else source.randint(60, 700)
    return [what, size if what == "append" else source.randint(0, 20)]


def _live(place: Path, steps: Sequence[Step]) -> tuple[dict[int, bytes], set[int]]:
    """Returns every payload that was written by its sequence, and what of it was acknowledged."""
    payloads: dict[int, bytes] = {}
    acknowledged: set[int] = set()
    lives: list[list[Step]] = [[]]
    for step in steps:
        if step[0] == "reopen":
            lives.append([])
        else:
            lives[-1].append(step)
    for life in lives:
        with _opened(place) as spool:
            for what, count in life:
                _take_step(spool, what, count, payloads, acknowledged)
    return payloads, acknowledged


def _take_step(spool: Spool, what: str, count: int, payloads: dict[int, bytes], acknowledged: set[int]) -> None:
    if what == "append":
        payload = bytes([len(payloads) % 256]) * count
        payloads[spool.append(payload)] = payload
    elif what == "flush":
        spool.flush()
    elif payloads:
        sequence = sorted(payloads)[count % len(payloads)]
        if what == "acknowledge":
            spool.acknowledge(sequence)
            acknowledged.add(sequence)
        else:
            spool.discard([sequence])


def _check_recovered(found: Sequence[Recovered], written: dict[int, bytes], acknowledged: set[int]) -> None:
    sequences = [one.sequence for one in found]
    assert len(set(sequences)) == len(sequences), "a record came back twice"
    for one in found:
        assert written.get(one.sequence) == one.payload, f"{one.sequence} was never written like this"
        assert not one.acknowledged or one.sequence in acknowledged, f"{one.sequence} was never acknowledged"


def _check_untouched(found: Sequence[Recovered], whole: dict[str, bytes], place: Path) -> None:
    """Every record before the first byte that changed is there, and is acknowledged if that lies before it as well."""
    intact = [frame for name, data in whole.items() for frame in _frames(data, _same(data, place / name))]
    by_sequence = {one.sequence: one for one in found}
    records = {sequence for kind, sequence in intact if kind == b"E"}
    assert records <= set(by_sequence), f"{records - set(by_sequence)} were whole and are lost"
    for kind, sequence in intact:
        if kind == b"A" and sequence in records:
            assert by_sequence[sequence].acknowledged, f"the acknowledgement of {sequence} was whole and is lost"


def _same(data: bytes, path: Path) -> int:
    """Returns how many bytes a file still has as they were."""
    now = path.read_bytes() if path.exists() else b""
    return next(
        (at for at, (one, other) in enumerate(zip(data, now, strict=False)) if one != other), min(len(data), len(now))
    )


def _frames(data: bytes, end: int) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at + _HEADER.size <= end:
        kind, length, sequence, _ = _HEADER.unpack_from(data, at)
        at += _HEADER.size + length
        if at <= end:
            yield kind, sequence


def _check_next(place: Path, expected: dict[int, bytes], stray: set[str]) -> None:
    """What was written after an accident is not lost with it, and an emptied spool leaves no file."""
    with _opened(place) as spool:
        now = {one.sequence: one.payload for one in spool.recovered()}
        assert now == expected, "the second opening found something else"
        spool.discard(now)
    left = [path.name for path in place.glob("[0-9]*.seg") if path.name not in stray]
    assert not left, f"{left} are left of a spool with nothing in it"
