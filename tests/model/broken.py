"""Broken builds, made of the product's parts by injection: the model has to find each."""

from services.billing.tests.fakes.usage_store import FakeUsageStore

from tests.model.overlap import Overlapping, TooEarly
from tollgate_billing.domain.intent import encode_intents, parse_intents


class Sound:
    """The product as it is."""

    def store(self, store):
        """Returns the usage store of a build."""
        return store

    def consumer(self, consumer):
        """Returns what a build reads the log with."""
        return consumer

    def record(self, **parts):
        """Returns what a build books batches with."""
        return Overlapping(**parts)


class LooksTooEarly(Sound):
    """A batch that is prepared ahead does not leave what needs the rows of the batch before it for later."""

    def record(self, **parts):
        return TooEarly(**parts)


class NoDeduplication(Sound):
    """The store forgets every token at once, and does not say what it has: an insert that is repeated counts twice."""

    def store(self, store):
        return ForgetfulStore(store.fuse)


class ForgetfulStore(FakeUsageStore):
    def __init__(self, fuse):
        super().__init__(window=0, fuse=fuse)

    async def present(self, bounds):
        return set()


class CommitBeforeInsert(Sound):
    """Where an intent would be kept, the end of the batch is committed: what crashes before the insert is lost."""

    def consumer(self, consumer):
        return CommitFirst(consumer)


class CommitFirst:
    def __init__(self, consumer):
        self._consumer = consumer

    def __getattr__(self, name):
        return getattr(self._consumer, name)

    async def commit(self, claim, offset, metadata):
        intents = parse_intents(metadata)
        if intents:
            offset, metadata = intents[-1].high, ""
        await self._consumer.commit(claim, offset, metadata)


class OneIntent(Sound):
    """The intent of a batch that is written beside the booking of another one is not kept."""

    def consumer(self, consumer):
        return FirstIntent(consumer)


class FirstIntent(CommitFirst):
    async def commit(self, claim, offset, metadata):
        await self._consumer.commit(claim, offset, encode_intents(parse_intents(metadata)[:1]))
