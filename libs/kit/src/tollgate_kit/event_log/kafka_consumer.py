"""Consuming from Apache Kafka by aiokafka, with metadata at each commit and claims that end when the group moves on.

aiokafka joins again by itself after it was fenced, and its commits are accepted then: so a claim is lost the moment
its partition is revoked, and whatever was read under it is dropped by its holder. The epoch of a claim is the topic's
id, so that a topic that was deleted and made again is another log.

No call waits for ever: a broker that does not answer is EventLogUnavailable. A member that gets nothing any more,
although there is something, is replaced by a new one, which begins at what was committed.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Final

from aiokafka import TopicPartition, errors
from aiokafka.structs import OffsetAndMetadata

from tollgate_kit.clock import Clock, SystemClock
from tollgate_kit.event_log.kafka_member import Member, Patience
from tollgate_kit.event_log.kafka_topics import create_missing
from tollgate_kit.event_log.port import Claim, EventLogUnavailable, OwnershipLost, Stored

log = logging.getLogger(__name__)

_IDS_EVERY_SECONDS: Final = 15.0
_FENCED: Final = (
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.IllegalStateError,
    errors.RebalanceInProgressError,
    errors.UnknownMemberIdError,
)


class KafkaConsumer:
    """A member of a group; `instance` makes it a static one, which keeps its partitions over a restart."""

    def __init__(
        self,
        servers: str,
        group: str,
        topics: Sequence[str],
        *,
        instance: str = "",
        partitions: int | None = None,
        clock: Clock | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._servers = servers
        self._group = group
        self._topics = tuple(topics)
        self._instance = instance
        self._partitions = partitions
        self._clock = clock or SystemClock()
        self._patience = patience or Patience()
        self._member: Member | None = None
        self._claims: dict[TopicPartition, Claim] = {}
        self._ids_at = 0.0
        # Where each partition was seen to end, and for how many seconds of polling it gave nothing short of that.
        self._ends: dict[TopicPartition, int] = {}
        self._silent: dict[TopicPartition, float] = {}

    async def start(self) -> None:
        """Joins, or leaves and joins again; claims come with the polls that follow."""
        await self.close()
        names = (self._servers, self._group, self._topics, self._instance)
        member = Member(*names, self._end_claims, self._patience.session)
        try:
            async with self._answering(self._patience.join):
                await create_missing(self._servers, self._topics, self._partitions)
                await member.join()
        except BaseException:
            await member.leave(self._patience.stop)
            raise
        self._member = member

    def claims(self) -> Sequence[Claim]:
        return [claim for claim in self._claims.values() if not claim.lost]

    async def poll(self, limit: int, wait_seconds: float, only: Collection[Claim] = ()) -> list[Stored]:
        member = await self._sound_member()
        turns = member.turns
        async with self._answering(self._patience.answer):
            await self._watch_ids(member)
            await self._claim_assigned(member)
        held = [where for where, one in self._claims.items() if not one.lost and (not only or one in only)]
        began = self._clock.monotonic()
        # aiokafka waits for the end of a rebalance beyond the time that it was given.
        async with self._answering(wait_seconds + self._patience.answer):
            if not held:
                member.check()
                await member.turn(turns, wait_seconds)
                return []
            found = await member.consumer.getmany(*held, timeout_ms=round(wait_seconds * 1000), max_records=limit)
        self._listen(member, held, found, self._clock.monotonic() - began)
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
        member = self._member
        if member is None or claim.lost or self._claims.get(partition) is not claim:
            claim.lost = True
            raise OwnershipLost(f"{claim.topic}/{claim.partition} was given to another consumer")
        # An offset outlives its topic, so it says which one it counts.
        stamped = OffsetAndMetadata(offset, f"{claim.epoch}|{metadata}")
        async with self._answering(self._patience.answer):
            try:
                await member.consumer.commit({partition: stamped})
            except _FENCED as error:
                claim.lost = True
                self._claims.pop(partition, None)
                raise OwnershipLost(f"{claim.topic}/{claim.partition}: {error!r}") from error

    async def ends(self) -> dict[int, int]:
        member = self._member
        if member is None or not self._claims:
            return {}
        async with self._answering(self._patience.answer):
            self._ends = await member.consumer.end_offsets(list(self._claims))
        return {partition.partition: end for partition, end in self._ends.items()}

    async def close(self) -> None:
        member, self._member = self._member, None
        self._end_claims()
        if member is not None:
            await member.leave(self._patience.stop)

    @contextlib.asynccontextmanager
    async def _answering(self, seconds: float) -> AsyncIterator[None]:
        """Raises EventLogUnavailable when what is done inside fails or takes longer."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except (errors.KafkaError, OSError) as error:
            if isinstance(error, errors.OffsetOutOfRangeError):
                # What was to be read next is gone. The claims that follow tell how much is.
                self._end_claims()
            raise EventLogUnavailable(f"{self._servers}: {error!r}") from error

    async def _sound_member(self) -> Member:
        """Returns the member, or a new one after the last was given up. Raises EventLogUnavailable when it gives up."""
        if self._member is None:
            await self.start()
        member = self._member
        if member is None:
            raise EventLogUnavailable(f"{self._servers}: closed while joining")
        broken = member.broken()
        reasons = [f"the consumer's {broken} ended"] if broken else []
        reasons += [
            f"{partition.topic}/{partition.partition} gave nothing for {seconds:.1f} s although there is more"
            for partition, seconds in self._silent.items()
            if seconds >= self._patience.silence
        ]
        if reasons:
            log.warning("a Kafka consumer is replaced", extra={"fields": {"reasons": reasons}})
            await self.close()
            raise EventLogUnavailable(f"{self._servers}: {'; '.join(reasons)}")
        return member

    def _end_claims(self) -> None:
        """From now on `commit` refuses what the holders of the claims do."""
        for claim in self._claims.values():
            claim.lost = True
        self._claims.clear()
        self._ends.clear()
        self._silent.clear()

    def _listen(
        self, member: Member, asked: Sequence[TopicPartition], found: Collection[TopicPartition], seconds: float
    ) -> None:
        """Counts how long partitions give nothing although they are known to have more."""
        for partition in asked:
            if partition in found or self._ends.get(partition, 0) <= max(0, member.position(partition)):
                self._silent.pop(partition, None)
            else:
                self._silent[partition] = self._silent.get(partition, 0.0) + seconds

    async def _claim_assigned(self, member: Member) -> None:
        """Makes claims of what was assigned since, each from its committed offset with the metadata beside it."""
        fresh = [one for one in member.assigned if one not in self._claims]
        if not fresh:
            return
        turns = member.turns
        self._ids_at = self._clock.monotonic()
        ids = await member.topic_ids(self._topics)
        committed = await member.committed(fresh)
        known = [one for one in fresh if one.topic in ids]
        kept = {one: _kept(committed.get(one), ids[one.topic]) for one in known}
        beginnings = await member.consumer.beginning_offsets(known) if known else {}
        if member.turns != turns:
            # Somebody else may have had a partition meanwhile, and committed.
            return
        for partition in known:
            first = beginnings[partition]
            offset, metadata = kept[partition] or (first, "")
            member.consumer.seek(partition, max(first, offset))
            self._silent.pop(partition, None)
            where = (partition.topic, partition.partition, ids[partition.topic], offset, metadata)
            claim = self._claims[partition] = Claim(*where, forgotten=max(0, first - offset))
            if claim.forgotten:
                log.error("records are gone before they were read", extra={"fields": {"of": where[:2], "first": first}})

    async def _watch_ids(self, member: Member) -> None:
        """A topic that was made again goes on under its name without a word; its id is what tells."""
        now = self._clock.monotonic()
        if not self._claims or now - self._ids_at < _IDS_EVERY_SECONDS:
            return
        self._ids_at = now
        ids = await member.topic_ids(self._topics)
        for partition, claim in list(self._claims.items()):
            if ids.get(claim.topic, claim.epoch) != claim.epoch:
                log.error("a topic was made again", extra={"fields": {"topic": claim.topic}})
                claim.lost = True
                del self._claims[partition]


def _kept(found: OffsetAndMetadata | None, epoch: str) -> tuple[int, str] | None:
    """Returns the offset and the metadata of a commit to the log of this `epoch`."""
    if found is None or found.offset < 0:
        return None
    of_epoch, _, metadata = found.metadata.rstrip("\x00").partition("|")
    return (found.offset, metadata) if of_epoch == epoch else None
