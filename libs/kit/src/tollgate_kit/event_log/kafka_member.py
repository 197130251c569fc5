"""A member of a Kafka group, from joining to leaving: an aiokafka consumer that cannot fail without a word.

aiokafka never gives up by itself and never says so: it looks for a coordinator for ever, and once one of its background
tasks has ended, it goes on returning nothing. Here that is seen, and leaving has an end whatever the broker does.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from tollgate_kit.event_log.kafka_topics import topic_ids

log = logging.getLogger(__name__)

_HEARTBEATS: Final = 5
# Longer than a rebalance, which lasts a session at most; a connection that says nothing this long is made anew.
_REQUEST_MS: Final = 20_000
_FETCH_WAIT_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things are waited for, in seconds.

    `join`: for partitions, at the start. `answer`: for what is asked of the broker, repetitions included. `stop`: for
    leaving in good order. `silence`: for records that are known to be there. `session`: for a member, by the others.
    """

    join: float = 60.0
    answer: float = 15.0
    stop: float = 5.0
    silence: float = 30.0
    session: float = 10.0


class Member(ConsumerRebalanceListener):  # type: ignore[misc,unused-ignore]  # aiokafka has no types.
    """Holds partitions from `join` to `leave`, or until it was `quiet` for so many seconds.

    `revoked` is called the moment they are no longer its own. `assigned` is empty while the group moves on.
    `turns` grows with each change of it, so that who has waited meanwhile can tell.
    """

    def __init__(
        self, servers: str, group: str, topics: Sequence[str], instance: str, revoked: Callable[[], None], quiet: float
    ) -> None:
        self.assigned: frozenset[TopicPartition] = frozenset()
        self.turns = 0
        self._revoked = revoked
        self._turned = asyncio.Event()
        self._left = False
        self.consumer: Any = AIOKafkaConsumer(
            bootstrap_servers=servers,
            group_id=group,
            group_instance_id=instance or None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=round(quiet * 1000),
            heartbeat_interval_ms=round(quiet * 1000 / _HEARTBEATS),
            request_timeout_ms=_REQUEST_MS,
            fetch_min_bytes=65_536,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=2 * 1024 * 1024,
        )
        self.consumer.subscribe(topics, listener=self)

    async def join(self) -> None:
        """Returns when there are partitions. Raises KafkaError or OSError; who did not get in leaves all the same."""
        await self.consumer.start()

    async def leave(self, seconds: float) -> None:
        """Leaves the group in good order, or within twice `seconds` without."""
        self._left = True
        stopping = asyncio.ensure_future(self.consumer.stop())
        await asyncio.wait({stopping}, timeout=seconds)
        if stopping.done() and stopping.exception() is None:
            return
        why = repr(stopping.exception()) if stopping.done() else f"not done within {seconds:g} s"
        log.warning("a Kafka consumer did not stop in good order", extra={"fields": {"why": why}})
        # Whatever waits for an answer gets an error now.
        closing = asyncio.ensure_future(self.consumer._client.close())  # noqa: SLF001 - `stop` came to no end.
        await asyncio.wait({stopping, closing}, timeout=seconds)
        for one in (stopping, closing):
            one.cancel()
        await asyncio.gather(stopping, closing, return_exceptions=True)

    def broken(self) -> str:
        """Names what of the consumer has ended and never comes back; empty while it works."""
        coordinator, fetcher = self.consumer._coordinator, self.consumer._fetcher  # noqa: SLF001 - it does not say.
        needed = {
            "fetching": fetcher._fetch_task,  # noqa: SLF001 - see above.
            "coordination": coordinator._coordination_task,  # noqa: SLF001 - see above.
            "metadata": self.consumer._client._sync_task,  # noqa: SLF001 - see above.
        }
        # These end in good order too, and begin again with the next assignment.
        others = {
            "heartbeat": coordinator._heartbeat_task,  # noqa: SLF001 - see above.
            "offsets": coordinator._commit_refresh_task,  # noqa: SLF001 - see above.
        }
        ended = [name for name, task in needed.items() if task is None or task.done()]
        ended += [name for name, task in others.items() if task is not None and _failed(task)]
        return ", ".join(ended)

    def check(self) -> None:
        """Raises the KafkaError that the group's coordinator has for this member, if any."""
        self.consumer._coordinator.check_errors()  # noqa: SLF001 - only reading asks, and nothing is read now.

    async def turn(self, turns: int, seconds: float) -> None:
        """Waits until there were more than `turns` changes, at most `seconds`."""
        if self.turns != turns:
            return
        self._turned.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._turned.wait()

    async def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Returns the id of each topic that exists. Raises KafkaError."""
        return await topic_ids(self.consumer._client, topics)  # noqa: SLF001 - no other way to ask.

    async def committed(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """Returns what the group has committed, where it has. Raises KafkaError."""
        found: Mapping[TopicPartition, OffsetAndMetadata]
        found = await self.consumer._coordinator.fetch_committed_offsets(partitions)  # noqa: SLF001 - `committed` drops metadata.
        return found

    def position(self, partition: TopicPartition) -> int:
        """Returns the offset that is read next, -1 when that is not known."""
        state = self.consumer._subscription.subscription.assignment.state_value(partition)  # noqa: SLF001 - `position` waits.
        return state.position if state is not None and state.has_valid_position else -1

    async def on_partitions_revoked(self, _: Any) -> None:
        """Called by aiokafka when the group moves on."""
        self._turn(frozenset())
        if not self._left:
            self._revoked()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Called by aiokafka when the group has moved on."""
        self._turn(frozenset(assigned))

    def _turn(self, assigned: frozenset[TopicPartition]) -> None:
        self.assigned = assigned
        self.turns += 1
        self._turned.set()


def _failed(task: Any) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None
