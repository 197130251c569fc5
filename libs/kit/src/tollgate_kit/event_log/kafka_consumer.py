"""Consuming from Apache Kafka by aiokafka, with metadata at each commit and claims that end when the group moves on.

aiokafka joins again by itself after it was fenced, and its commits are accepted then: so a claim is lost the moment
its partition is revoked, and whatever was read under it is dropped by its holder. The epoch of a claim is the topic's
id, so that a topic that was deleted and made again is another log.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata

from tollgate_kit.clock import Clock, SystemClock
from tollgate_kit.event_log.kafka_topics import create_missing, topic_ids
from tollgate_kit.event_log.port import Claim, EventLogUnavailable, OwnershipLost, Stored

log = logging.getLogger(__name__)

_SESSION_MS: Final = 10_000
_HEARTBEAT_MS: Final = 2_000
_FETCH_WAIT_MS: Final = 100
_IDS_EVERY_SECONDS: Final = 15.0
_FENCED: Final = (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)


class KafkaConsumer(ConsumerRebalanceListener):  # type: ignore[misc,unused-ignore]
    """A member of a group; `instance` makes it a static one, which keeps its partitions over a restart."""

    def __init__(
        self,
        servers: str,
        group: str,
        topics: Sequence[str],
        *,
        instance: str = "",
        partitions: int = 12,
        clock: Clock | None = None,
    ) -> None:
        self._servers = servers
        self._group = group
        self._topics = tuple(topics)
        self._instance = instance
        self._partitions = partitions
        self._clock = clock or SystemClock()
        self._consumer: Any = None
        self._claims: dict[TopicPartition, Claim] = {}
        self._ids: dict[str, str] = {}
        self._ids_at = 0.0

    async def start(self) -> None:
        """Joins, or leaves and joins again; partitions come with the polls that follow."""
        await self.close()
        await create_missing(self._servers, self._topics, self._partitions)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            group_id=self._group,
            group_instance_id=self._instance or None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            fetch_min_bytes=65_536,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=2 * 1024 * 1024,
        )
        consumer.subscribe(self._topics, listener=self)
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            await consumer.stop()
            raise EventLogUnavailable(f"{self._servers}: {error!r}") from error
        self._consumer = consumer

    def claims(self) -> Sequence[Claim]:
        return [claim for claim in self._claims.values() if not claim.lost]

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Ends the claims: what their holder does from now on is refused by `commit`."""
        for partition in revoked:
            claim = self._claims.pop(partition, None)
            if claim is not None:
                claim.lost = True

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Nothing yet: the next poll makes the claims, where it may wait for the broker."""

    async def poll(self, limit: int, wait_seconds: float) -> list[Stored]:
        try:
            await self._watch_ids()
            await self._claim_assigned()
            held = [partition for partition, claim in self._claims.items() if not claim.lost]
            found = await self._consumer.getmany(
                *held, timeout_ms=round(wait_seconds * 1000), max_records=limit if held else None
            )
        except (KafkaError, OSError) as error:
            raise EventLogUnavailable(f"{self._servers}: {error!r}") from error
        return [
            Stored(
                self._claims[partition],
                record.offset,
                record.timestamp * 1000,
                record.key or b"",
                record.value or b"",
                tuple(record.headers),
            )
            for partition, records in found.items()
            if partition in self._claims
            for record in records
        ]

    async def commit(self, claim: Claim, offset: int, metadata: str) -> None:
        partition = TopicPartition(claim.topic, claim.partition)
        if claim.lost or self._claims.get(partition) is not claim:
            claim.lost = True
            raise OwnershipLost(f"{claim.topic}/{claim.partition} was given to another consumer")
        try:
            # An offset outlives its topic, so it says which one it counts.
            await self._consumer.commit({partition: OffsetAndMetadata(offset, f"{claim.epoch}|{metadata}")})
        except _FENCED as error:
            claim.lost = True
            self._claims.pop(partition, None)
            raise OwnershipLost(f"{claim.topic}/{claim.partition}: {error!r}") from error
        except (KafkaError, OSError) as error:
            raise EventLogUnavailable(f"{self._servers}: {error!r}") from error

    async def ends(self) -> dict[int, int]:
        try:
            found = await self._consumer.end_offsets(list(self._claims))
        except (KafkaError, OSError) as error:
            raise EventLogUnavailable(f"{self._servers}: {error!r}") from error
        return {partition.partition: end for partition, end in found.items()}

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        for claim in self._claims.values():
            claim.lost = True
        self._claims.clear()
        if consumer is not None:
            await consumer.stop()

    async def _claim_assigned(self) -> None:
        """Makes claims of what was assigned since, each from its committed offset with the metadata beside it."""
        fresh = [one for one in self._consumer.assignment() if one not in self._claims]
        if not fresh:
            return
        ids = await topic_ids(self._consumer._client, self._topics)  # noqa: SLF001 - no other way to ask.
        committed = await self._consumer._coordinator.fetch_committed_offsets(fresh)  # noqa: SLF001 - `committed` drops metadata.
        for partition in fresh:
            epoch = ids.get(partition.topic)
            if epoch is None or partition not in self._consumer.assignment():
                continue
            found = committed.get(partition)
            of_epoch, _, metadata = (found.metadata if found is not None else "").rstrip("\x00").partition("|")
            if found is None or found.offset < 0 or of_epoch != epoch:
                offset, metadata = (await self._consumer.beginning_offsets([partition]))[partition], ""
            else:
                offset = found.offset
            self._consumer.seek(partition, offset)
            self._claims[partition] = Claim(partition.topic, partition.partition, epoch, offset, metadata)
        self._ids = ids

    async def _watch_ids(self) -> None:
        """A topic that was made again goes on under its name without a word; its id is what tells."""
        now = self._clock.monotonic()
        if not self._claims or now - self._ids_at < _IDS_EVERY_SECONDS:
            return
        self._ids_at = now
        ids = await topic_ids(self._consumer._client, self._topics)  # noqa: SLF001 - no other way to ask.
        for partition, claim in list(self._claims.items()):
            if ids.get(claim.topic, claim.epoch) != claim.epoch:
                log.error("a topic was made again", extra={"fields": {"topic": claim.topic}})
                claim.lost = True
                del self._claims[partition]
