"""What comparing and mending the usage store's sums and rows needs from outside."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from typing import Protocol, TypeVar

from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.rollups import Rollup, SumDifference
from tollgate_billing.domain.rows import Block, Row
from tollgate_billing.ports import BatchRow
from tollgate_kit.event_log import Stored

T = TypeVar("T")


class UsageRollups(Protocol):
    """The rollups of the usage store. Raises UsageStoreUnavailable from every method. Times are microseconds."""

    async def hours(self, from_us: int, to_us: int) -> list[int]:
        """Returns the hours of all that began, or came, in this time, by rows and by sums."""
        ...

    async def rows_of_hours(self, hours: Sequence[int]) -> dict[int, int]:
        """Returns how many rows began in each of these hours; those without rows are left out."""
        ...

    async def kept_from(self, rollup: Rollup) -> int:
        """Returns the first bucket that surely has all its rows and sums: older ones may be gone."""
        ...

    async def differences(
        self,
        rollup: Rollup,
        from_us: int,
        to_us: int,
        most: int,
        *,
        between_inserts: bool = False,
        organizations: Collection[str] = (),
    ) -> list[SumDifference]:
        """Returns up to `most` lines of whole buckets that are not what their rows say, in order.

        `between_inserts` is asked while nothing is inserted by this process. Without `organizations`, all are asked of.
        """
        ...

    async def rows_of(self, difference: SumDifference) -> list[BatchRow]:
        """Returns the first 10,000 rows that a line is the sum of."""
        ...

    async def refill(self, rollup: Rollup, from_us: int, to_us: int, *, lacking: bool) -> None:
        """Makes the lines of whole buckets of one day again from their rows, at once.

        Of `lacking` only those that rows are missing of. Nothing may be inserted meanwhile, by anybody.
        """
        ...

    async def without_copies(self, rollup: Rollup, from_us: int, to_us: int) -> int:
        """Makes those lines of one day again that have just the rows too many that `UsageCopies` took away.

        Returns how many. Nothing may be inserted meanwhile, by anybody.
        """
        ...


class UsageCopies(Protocol):
    """Rows beside another one of the same place in the log. Raises UsageStoreUnavailable from every method."""

    async def found(self, from_us: int, to_us: int) -> dict[str, int]:
        """Returns how many each batch has, of what was logged in this time, in microseconds."""
        ...

    async def drop(self, from_us: int, to_us: int) -> None:
        """Takes them away, all but the first row of each place, and keeps them for the sums.

        Nothing may be inserted meanwhile, by anybody.
        """
        ...

    async def days(self) -> list[int]:
        """Returns the days, in microseconds, of what was taken away and is kept, in order."""
        ...

    async def forget(self) -> None:
        """Keeps what was taken away no longer: the sums are without it."""
        ...


class BetweenBatches(Protocol):
    async def __call__(self, work: Callable[[], Awaitable[T]], *, forget: bool = False) -> T:
        """Returns what the work does while no batch is under way and nothing is written to the usage store.

        With `forget`, what is remembered of earlier events is read anew afterwards. Raises Unavailable where that
        cannot be had now, and InvalidQuery where other processes book too.
        """
        ...


class KeptEvents(Protocol):
    def read(self) -> AsyncGenerator[list[Stored], None]:
        """Yields all records of usage that the event log keeps now, of each partition in order.

        Raises Unavailable, and InvalidQuery where another one begins to read.
        """
        ...


class RebuildingStore(Protocol):
    """Where rows are collected that are made again. Raises UsageStoreUnavailable from every method."""

    async def begin(self) -> None:
        """Makes an empty place for rows, whatever an earlier run left."""
        ...

    async def drop(self) -> None:
        """Removes that place and what is in it."""
        ...

    async def batches(self, source: Bounds) -> list[str]:
        """Returns the names of the batches that rows of a partition, from `source.low` on, say they are of."""
        ...

    async def open_requests(self, before: Bounds, since_us: int) -> set[str]:
        """Returns the requests with a final that something better may replace, of rows logged since."""
        ...

    async def present(self, bounds: Bounds) -> set[tuple[int, int]]:
        """Returns (offset, index) of each row of these places that is there."""
        ...

    async def add(self, rows: Block) -> None:
        """Collects rows."""
        ...

    async def attach(self) -> None:
        """Gives the usage store all rows that were collected; nothing may be inserted meanwhile, by anybody."""
        ...

    async def mismatched(self, batches: Collection[str]) -> set[bytes]:
        """Returns the events of batches of which a row says that their charge was computed otherwise."""
        ...

    async def letters(self, bounds: Bounds) -> set[int]:
        """Returns the offsets of records that rows say could not be used."""
        ...

    async def set_aside(self, source: Bounds) -> set[int]:
        """Returns the offsets of events that were not booked since a row of their request was lost."""
        ...

    async def insert_mismatches(self, rows: Sequence[Row], token: str) -> None:
        """Adds rows about rating that did not agree, once per token."""
        ...

    async def insert_poison(self, rows: Sequence[Row], token: str) -> None:
        """Adds rows about records that could not be used, once per token."""
        ...
