"""The event log as its users see it: records go in by key, come out by partition in order, and positions are kept."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes]]


class EventLogUnavailable(Exception):  # noqa: N818 - a state of the world more than a fault.
    """The log cannot be reached or written now. Whether the records of a failed `send` are in it is not known."""


class RecordTooLarge(EventLogUnavailable):
    """A record is beyond what the topic takes, as long as nobody sets another limit."""


class OwnershipLost(Exception):  # noqa: N818 - a state of the world more than a fault.
    """Another consumer has the partition: what was read of it is dropped, nothing else is done."""


class Record(NamedTuple):
    """What a producer appends. Records of one key stay in order."""

    key: bytes
    value: bytes
    headers: Headers = ()


@dataclass(slots=True, eq=False)
class Claim:
    """A partition in the hands of this consumer. `epoch` names the log's incarnation: offsets of two never compare.

    `offset` and `metadata` are what was committed when the claim began (offset: the next to read). Of the records from
    there on the log had no longer the first `forgotten`.
    """

    topic: str
    partition: int
    epoch: str
    offset: int
    metadata: str = ""
    forgotten: int = 0
    lost: bool = False


class Stored(NamedTuple):
    """A record in the log. `at_us` is when it was appended, in microseconds since the epoch."""

    claim: Claim
    offset: int
    at_us: int
    key: bytes
    value: bytes
    headers: Headers = ()


class EventProducer(Protocol):
    async def send(self, topic: str, records: Sequence[Record]) -> None:
        """Returns when all records are durable. Raises EventLogUnavailable; `send` may be called again then."""
        ...

    async def close(self) -> None:
        """Lets the connection go."""
        ...


class EventConsumer(Protocol):
    async def start(self) -> None:
        """Joins its group. Raises EventLogUnavailable; may be called again then."""
        ...

    def claims(self) -> Sequence[Claim]:
        """Returns the partitions held now; a lost claim never comes back, a new one takes its place."""
        ...

    async def poll(self, limit: int, wait_seconds: float, only: Collection[Claim] = ()) -> list[Stored]:
        """Returns up to `limit` records that follow those returned before, waiting for the first.

        With `only`, those of these claims; the others' records are for later calls.

        Begins at the committed offset of each claim, and may make claims and return their first records at once: what
        it returns never comes again under the same claim. Raises EventLogUnavailable; the next call tries again, and
        joins the group again when that is what it takes.
        """
        ...

    async def commit(self, claim: Claim, offset: int, metadata: str) -> None:
        """Keeps a position (`offset`: the next to read) with up to 4,096 bytes of metadata.

        Raises OwnershipLost, after which the claim is lost, or EventLogUnavailable.
        """
        ...

    async def ends(self) -> dict[int, int]:
        """Returns the end offset (one beyond the last record) of each partition held. Raises EventLogUnavailable."""
        ...

    async def close(self) -> None:
        """Leaves without losing what was committed."""
        ...
