"""Producing to Apache Kafka by aiokafka: idempotent, acks=all, whole batches a partition."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import murmur2

from tollgate_kit.event_log.kafka_topics import create_missing
from tollgate_kit.event_log.port import EventLogUnavailable, Record, RecordTooLarge

log = logging.getLogger(__name__)

_MAX_BATCH_BYTES: Final = 1_000_000
_REQUEST_TIMEOUT_MS: Final = 40_000
# An admitted batch never expires in an idempotent producer; past this the producer is given up with it.
_SEND_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 5.0


class KafkaProducer:
    """One producer at a time: after a failure it is replaced, since one may stay broken for good.

    Sequence numbers are spent on batches that a leaderless partition never took, after which each later one is refused.
    """

    def __init__(self, servers: str, partitions: int | None) -> None:
        self._servers = servers
        self._partitions = partitions
        self._producer: Any = None
        self._known: set[str] = set()

    async def send(self, topic: str, records: Sequence[Record]) -> None:
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._send(topic, records)
        except (KafkaError, OSError, TimeoutError) as error:
            await self._drop()
            kind = RecordTooLarge if isinstance(error, MessageSizeTooLargeError) else EventLogUnavailable
            raise kind(f"{self._servers}, {topic}: {error!r}") from error
        except BaseException:
            await self._drop()
            raise

    async def close(self) -> None:
        """Leaves the cluster; nothing is waited for, since `send` has returned for all that counts."""
        await self._drop()

    async def _send(self, topic: str, records: Sequence[Record]) -> None:
        producer = self._producer or await self._start()
        if topic not in self._known:
            await create_missing(self._servers, [topic], self._partitions)
            self._known.add(topic)
        count = len(await producer.partitions_for(topic))
        by_partition: dict[int, list[Record]] = {}
        for record in records:
            by_partition.setdefault((murmur2(record.key) & 0x7FFFFFFF) % count, []).append(record)
        sent = [self._send_partition(producer, topic, number, part) for number, part in by_partition.items()]
        results = await asyncio.gather(*sent, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _send_partition(self, producer: Any, topic: str, partition: int, records: list[Record]) -> None:
        waiting = []
        batch = producer.create_batch()
        for record in records:
            values = {"key": record.key, "value": record.value, "timestamp": None, "headers": list(record.headers)}
            if batch.append(**values) is None:
                waiting.append(await producer.send_batch(batch, topic, partition=partition))
                batch = producer.create_batch()
                if batch.append(**values) is None:
                    raise RecordTooLarge(f"a record of {len(record.value)} bytes is too large for {topic}")
        waiting.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*waiting)

    async def _start(self) -> Any:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            acks="all",
            enable_idempotence=True,
            max_batch_size=_MAX_BATCH_BYTES,
            max_request_size=_MAX_BATCH_BYTES + 65_536,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer
        return producer

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        self._known.clear()
        if producer is None:
            return
        # Stopping flushes, which a producer that is broken for good never ends.
        stopping = asyncio.ensure_future(producer.stop())
        await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
        if not stopping.done():
            log.warning("a Kafka producer did not stop in time and is left behind")
            stopping.cancel()
        with contextlib.suppress(KafkaError, OSError, asyncio.CancelledError):
            await stopping
