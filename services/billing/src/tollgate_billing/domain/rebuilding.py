"""Records of the event log as the batches that they were booked in, and rows that fit what the ledger booked."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from tollgate_billing.domain.books import Amounts, BatchLine, parse_batch
from tollgate_billing.domain.event import Record
from tollgate_billing.domain.rows import Block

# Of records that no batch is known of: nothing of them moved money.
_MOST_TOGETHER: Final = 20_000
Bounds = tuple[int, int]


class Cut(NamedTuple):
    """Records of one batch, whose bounds are `low` up to, not including, `high`."""

    low: int
    high: int
    records: Sequence[Any]


def bounds_of(names: Iterable[str], source: str) -> list[Bounds]:
    """Returns the bounds of the batches of a source by their names, in order; other names are left out."""
    parsed = (parse_batch(name) for name in names)
    return sorted({(one.low, one.high) for one in parsed if one is not None and one.source == source})


class Cutter:
    """Takes the records of a source in order, and gives them back by batch, up to `end` (exclusive).

    What lies between the batches that are known was booked without money, under names that nobody kept.
    """

    def __init__(self, batches: Iterable[Bounds], end: int) -> None:
        self._batches = deque(batches)
        self._end = end
        self._held: list[Record] = []
        self._of: Bounds | None = None

    def add(self, records: Iterable[Record]) -> Iterator[Cut]:
        """Yields the batches that these records complete."""
        for record in records:
            if record.offset >= self._end:
                return
            of = self._batch_of(record.offset)
            if self._held and (of != self._of or (of is None and len(self._held) >= _MOST_TOGETHER)):
                yield from self.rest()
            self._of = of
            self._held.append(record)

    def rest(self) -> Iterator[Cut]:
        """Yields the batch of what was taken and not given back, if there is any."""
        held, self._held = self._held, []
        if held:
            low, high = self._of or (held[0].offset, held[-1].offset + 1)
            yield Cut(low, high, held)

    def _batch_of(self, offset: int) -> Bounds | None:
        while self._batches and self._batches[0][1] <= offset:
            self._batches.popleft()
        return self._batches[0] if self._batches and self._batches[0][0] <= offset else None


def unfit(rows: Block, there: Mapping[BatchLine, Amounts], booked: Mapping[BatchLine, Amounts]) -> set[tuple[int, int]]:
    """Returns the places (offset, index) of rows with which their line would not be what the ledger booked.

    `there` is what rows of the same batches say already.
    """
    columns = rows.columns
    lines = [BatchLine(*values) for values in zip(*(columns[name] for name in BatchLine._fields), strict=True)]
    sums: dict[BatchLine, list[int]] = {}
    for line, *amounts in zip(lines, *(columns[name] for name in Amounts._fields), strict=True):
        entry = sums.setdefault(line, list(there.get(line, Amounts())))
        for place, amount in enumerate(amounts):
            entry[place] += amount
    wrong = {line for line, entry in sums.items() if Amounts(*entry) != booked.get(line, Amounts())}
    if not wrong:
        return set()
    places = zip(columns["src_offset"], columns["src_index"], strict=True)
    return {place for place, line in zip(places, lines, strict=True) if line in wrong}


def joined(blocks: Sequence[Block]) -> Block:
    """Returns the rows of several blocks as one."""
    return Block({name: [value for one in blocks for value in one.columns[name]] for name in blocks[0].columns})
