"""Reading from a consumer until something is there. Nothing that a poll returned is dropped: no later one has it."""

import asyncio


async def take(consumer, count, *, limit=100, begun=()):
    """Polls until `count` records came, those of `begun` among them."""
    found = list(begun)
    async with asyncio.timeout(60):
        while len(found) < count:
            found += await consumer.poll(limit, 0.2)
    return found


async def claim_of(consumer, *, wait_seconds=0.1):
    """Polls until a partition is held; returns its claim, and the records that came with it."""
    found = []
    async with asyncio.timeout(60):
        while not consumer.claims():
            found += await consumer.poll(10, wait_seconds)
    return consumer.claims()[0], found
