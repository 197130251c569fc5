"""The intent: which records a batch is made of, kept in the commit metadata before anything is written.

Whoever comes after a crash makes the same batch again, so that its writes are recognised as repeated.
"""

from dataclasses import dataclass

_VERSION = "i1"


@dataclass(frozen=True, slots=True)
class Intent:
    """Records from offset `low` up to, not including, `high`; `count` of them."""

    low: int
    high: int
    count: int

    def encode(self) -> str:
        """Returns the text for the commit metadata."""
        return f"{_VERSION};{self.low};{self.high};{self.count}"


def parse_intent(metadata: str) -> Intent | None:
    """Returns the intent, or None where the last batch was finished. Raises ValueError for anything else."""
    if not metadata:
        return None
    parts = metadata.split(";")
    if len(parts) != 4 or parts[0] != _VERSION:
        raise ValueError(f"unknown commit metadata {metadata!r}")
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
