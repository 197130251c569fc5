"""What replaying dead letters needs from outside: the letters, what was booked since, and the topic they came from."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from tollgate_billing.domain.judge import KeptFinals
from tollgate_billing.ports import Letter


class LetterId(NamedTuple):
    """Names a letter by its place in the log: when it was appended, in microseconds, so that no two logs mix."""

    at_us: int
    partition: int
    offset: int

    def __str__(self) -> str:
        return "-".join(map(str, self))


class BookedEvents(Protocol):
    async def booked(self, requests: Collection[str]) -> set[bytes]:
        """Returns the ids of the events that usage rows of these requests have. Raises UsageStoreUnavailable."""
        ...


class BookedFinals(Protocol):
    async def finals(self, requests: Collection[str]) -> KeptFinals:
        """Returns the finals of these requests that the ledger keeps. Raises LedgerUnavailable."""
        ...


class LetterStore(BookedEvents, Protocol):
    """Raises UsageStoreUnavailable from every method."""

    async def letters(self, limit: int, before: LetterId | None) -> list[Letter]:
        """Returns letters, newest first, older than `before`; each once, however often it was set aside."""
        ...

    async def letter(self, letter_id: LetterId) -> Letter | None:
        """Returns one letter."""
        ...


class UsageTopic(Protocol):
    async def send(self, topic: str, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Appends keys and values. Raises Unavailable; may be called again then."""
        ...
