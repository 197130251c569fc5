"""Reads again what the event log still keeps of usage events, beside whoever books them.

It reads in a group of its own. The embedded log forgets nothing that a group has not read: so that this one holds it
back while it reads and at no other time, its position is the beginning then and beyond every record otherwise. In
Kafka the group has a new name each time and commits nothing.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final

from tollgate_billing.errors import InvalidQuery, Unavailable
from tollgate_kit.event_log import EventConsumer, EventLogUnavailable, OwnershipLost, Stored, new_consumer

_GROUP: Final = "billing-rebuild"
_FIRST: Final = 1
_BEYOND: Final = 1 << 62
_AT_ONCE: Final = 5_000
_POLL_SECONDS: Final = 1.0


class KeptEvents:
    def __init__(self, url: str, topic: str, new_id: Callable[[], str]) -> None:
        self._url = url
        self._topic = topic
        self._embedded = url.startswith("sqlite:")
        self._new_id = new_id

    async def let_go(self) -> None:
        """Holds the log back no longer, where a reading was broken off by a kill. Raises Unavailable."""
        if self._embedded:
            consumer = self._consumer()
            with _understood():
                await consumer.start()
            await self._end(consumer)

    async def read(self) -> AsyncGenerator[list[Stored], None]:
        """Yields all records that are there at the beginning, of each partition in order, and then ends.

        The claim of a record has the place where reading of its partition began. Raises Unavailable, and InvalidQuery
        where another one begins to read.
        """
        consumer = self._consumer()
        try:
            with _understood():
                await self._begin(consumer)
                ends: dict[int, int] = {}
                reached: dict[int, int] = {}
                while not ends or any(reached[partition] < end for partition, end in ends.items()):
                    records = await consumer.poll(_AT_ONCE, _POLL_SECONDS)
                    if not ends and (claims := consumer.claims()):
                        ends = await consumer.ends()
                        reached = {claim.partition: claim.offset for claim in claims}
                    for record in records:
                        reached[record.claim.partition] = record.offset + 1
                    if records:
                        yield records
        finally:
            await self._end(consumer)

    def _consumer(self) -> EventConsumer:
        return new_consumer(self._url, _GROUP if self._embedded else f"{_GROUP}-{self._new_id()}", [self._topic])

    async def _begin(self, consumer: EventConsumer) -> None:
        await consumer.start()
        if self._embedded:
            for claim in consumer.claims():
                await consumer.commit(claim, _FIRST, "")
            await consumer.start()

    async def _end(self, consumer: EventConsumer) -> None:
        try:
            if self._embedded:
                # Whoever took over, or the next start of billing, does it otherwise.
                with contextlib.suppress(EventLogUnavailable, OwnershipLost):
                    for claim in consumer.claims():
                        await consumer.commit(claim, _BEYOND, "")
        finally:
            await consumer.close()


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except EventLogUnavailable as error:
        raise Unavailable(f"event log: {error}") from error
    except OwnershipLost as error:
        raise InvalidQuery("another rebuild has begun to read the event log") from error
