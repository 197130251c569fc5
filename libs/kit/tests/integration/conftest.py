"""The event logs behind one fixture, the one of the fakes too: whatever is asked of one is asked of the others."""

import uuid

import pytest
from libs.kit.tests.fakes.memory_log import MemoryConsumer, MemoryLog, MemoryProducer

from tollgate_kit.event_log import new_consumer, new_producer


class LogUnderTest:
    """Makes producers and consumers of one fresh topic and closes them."""

    def __init__(self, url):
        self.url = url
        self.topic = f"t.{uuid.uuid4().hex[:12]}"
        self.made = []

    def producer(self):
        self.made.append(new_producer(self.url))
        return self.made[-1]

    async def consumer(self, instance="member", group=None):
        made = new_consumer(self.url, group or f"g.{self.topic}", [self.topic], instance=instance)
        self.made.append(made)
        await made.start()
        return made

    async def close(self):
        for one in self.made:
            await one.close()


class MemoryUnderTest(LogUnderTest):
    """The same over the log in memory."""

    def __init__(self):
        super().__init__("memory")
        self._log = MemoryLog()

    def producer(self):
        return MemoryProducer(self._log)

    async def consumer(self, instance="member", group=None):
        made = MemoryConsumer(self._log, group or "g", [self.topic])
        self.made.append(made)
        await made.start()
        return made


@pytest.fixture(params=["memory", "sqlite", "kafka"])
async def event_log(request, tmp_path):
    if request.param == "memory":
        yield MemoryUnderTest()
        return
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/events.sqlite"
    else:
        url = request.getfixturevalue("kafka_broker").url + "?partitions=1"
    log = LogUnderTest(url)
    yield log
    await log.close()
