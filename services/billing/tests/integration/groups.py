"""A broker as its administrator sees it: who is in billing's group, what they have committed, and topics that go."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from services.billing.tests.integration.running import TOPIC

from tollgate.topics import TOPICS
from tollgate_billing.app import GROUP

PATIENCE_SECONDS = 180


def forget_topics(broker):
    """Deletes all topics of ours, and returns when the broker knows none of them any more.

    In a thread of its own: a fixture that a running test asks for is in that test's loop.
    """
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, _forgotten(broker.bootstrap)).result()


async def _forgotten(servers):
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while names := set(await admin.list_topics()) & set(TOPICS):
                await admin.delete_topics(sorted(names))
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


class Group:
    """Billing's group of consumers. Use it with `async with`."""

    def __init__(self, broker, partitions=2):
        self._partitions = [TopicPartition(TOPIC, number) for number in range(partitions)]
        self._admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        self._ends = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap)

    async def __aenter__(self):
        await self._admin.start()
        await self._ends.start()
        return self

    async def __aexit__(self, *_):
        await self._ends.stop()
        await self._admin.close()

    async def members(self):
        """Returns the names of those that have shared its partitions; None while they are being shared."""
        (reply,) = await self._admin.describe_consumer_groups([GROUP])
        (_, _, state, _, _, found, *_) = reply.groups[0]
        return {name for name, *_ in found} if state == "Stable" else None

    async def has(self, count):
        """Waits until so many have shared its partitions."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(await self.members() or ()) != count:  # noqa: ASYNC110 - asked of a broker.
                await asyncio.sleep(0.05)

    async def is_no_longer(self, members):
        """Waits until its partitions are to be shared anew, or have been, by others than these."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.members() == members:  # noqa: ASYNC110 - asked of a broker.
                await asyncio.sleep(0.05)

    async def has_booked(self):
        """Waits until all that the topic has is committed: a batch is, once it is booked."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                committed = await self._admin.list_consumer_group_offsets(GROUP, partitions=self._partitions)
                ends = await self._ends.end_offsets(self._partitions)
                if all(committed[one].offset == end or not end for one, end in ends.items()):
                    return
                await asyncio.sleep(0.05)
