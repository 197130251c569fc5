"""The intents: which records batches are made of, kept in the commit metadata before anything of them is written.

Whoever comes after a crash makes the same batches again, so that their writes are recognised as repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_VERSION = "i1"
_BETWEEN = ","


@dataclass(frozen=True, slots=True)
class Intent:
    """Records from offset `low` up to, not including, `high`; `count` of them."""

    low: int
    high: int
    count: int


def encode_intents(intents: Sequence[Intent]) -> str:
    """Returns the text for the commit metadata; nothing where no batch is begun."""
    return _BETWEEN.join(f"{_VERSION};{one.low};{one.high};{one.count}" for one in intents)


def parse_intents(metadata: str) -> list[Intent]:
    """Returns the batches that were begun and not finished, in order. Raises ValueError for what is none."""
    return [_parsed(text) for text in metadata.split(_BETWEEN)] if metadata else []


def _parsed(text: str) -> Intent:
    parts = text.split(";")
    if len(parts) != 4 or parts[0] != _VERSION:
        raise ValueError(f"unknown commit metadata {text!r}")
    return Intent(int(parts[1]), int(parts[2]), int(parts[3]))


@dataclass(frozen=True, slots=True)
class Bounds:
    """Names a batch: the same records always make the same names."""

    epoch: str
    topic: str
    partition: int
    low: int
    high: int

    @property
    def source(self) -> str:
        """Names the partition of this incarnation of the log."""
        return f"{self.epoch}/{self.topic}/{self.partition}"

    @property
    def batch(self) -> str:
        """Names the batch; the deduplication token of its inserts."""
        return f"{self.source}/{self.low}-{self.high}"
