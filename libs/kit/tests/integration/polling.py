"""Reading from a consumer until something is there."""

import asyncio


async def take(consumer, count, *, limit=100):
    """Polls until `count` records came."""
    found = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await consumer.poll(limit, 0.2)
    return found


async def claim_of(consumer):
    """Polls until a partition is held; returns its claim."""
    async with asyncio.timeout(60):
        while not consumer.claims():
            await consumer.poll(10, 0.1)
    return consumer.claims()[0]
