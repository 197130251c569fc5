"""An event log in memory that passes the suite of the real ones, and can be broken at every call."""

import asyncio
import zlib

from tollgate_kit.event_log import Claim, EventLogUnavailable, OwnershipLost, Stored

FIRST_AT_US = 1_764_000_000_000_000


class MemoryLog:
    """What outlives processes: records by topic and partition, committed positions, and who owns them."""

    def __init__(self, partitions=1, clock=None):
        self.partitions = partitions
        self._clock = clock
        self._made = 0
        self.epochs = {}
        self.records = {}
        self.committed = {}
        self.owners = {}
        self.changed = asyncio.Event()

    def topic(self, name):
        """Returns the partitions of a topic, which is made when it is new."""
        if name not in self.records:
            self._made += 1
            self.epochs[name] = f"epoch{self._made}"
            self.records[name] = [[] for _ in range(self.partitions)]
        return self.records[name]

    def recreate(self, name):
        """Deletes a topic and makes it again: offsets begin at 0, and what was committed is of another log."""
        del self.records[name]
        self.topic(name)
        for key in [key for key in self.committed if key[1] == name]:
            del self.committed[key]

    def append(self, topic, records):
        """Adds records, each to the partition of its key."""
        partitions = self.topic(topic)
        at_us = self._clock.now_us() if self._clock else FIRST_AT_US
        for record in records:
            where = partitions[zlib.crc32(record.key) % len(partitions)]
            where.append((at_us, record.key, record.value, tuple(record.headers)))
        self.changed.set()

    def all(self, topic):
        """Returns the values of all records, partition by partition."""
        return [value for partition in self.topic(topic) for _, _, value, _ in partition]


class MemoryProducer:
    """`fault` ends the next call: "before" and "after" it was appended it fails, "part" appends half of it."""

    def __init__(self, log):
        self._log = log
        self.fault = ""

    async def send(self, topic, records):
        fault, self.fault = self.fault, ""
        if fault != "before":
            self._log.append(topic, records[: len(records) // 2] if fault == "part" else records)
        if fault:
            raise EventLogUnavailable(fault)

    async def close(self):
        pass


class MemoryConsumer:
    def __init__(self, log, group, topics):
        self._log = log
        self._group = group
        self._topics = tuple(topics)
        self._claims = []
        self._next = {}
        self._owner = {}

    async def start(self):
        for claim in self._claims:
            claim.lost = True
        self._claims = []
        for topic in self._topics:
            key = (self._group, topic)
            self._owner[topic] = self._log.owners[key] = self._log.owners.get(key, 0) + 1
            for number in range(len(self._log.topic(topic))):
                offset, metadata = self._log.committed.get((*key, number), (0, ""))
                self._claims.append(Claim(topic, number, self._log.epochs[topic], offset, metadata))
        self._next = {claim: claim.offset for claim in self._claims}

    def claims(self):
        return [claim for claim in self._claims if not claim.lost]

    async def poll(self, limit, wait_seconds, only=()):
        found = self._read(limit, only)
        if not found and wait_seconds:
            self._log.changed.clear()
            try:
                await asyncio.wait_for(self._log.changed.wait(), wait_seconds)
            except TimeoutError:
                return []
            found = self._read(limit, only)
        return found

    async def commit(self, claim, offset, metadata):
        key = (self._group, claim.topic)
        if claim.lost or self._owner[claim.topic] != self._log.owners[key] or self._stale(claim):
            claim.lost = True
            raise OwnershipLost("another consumer has it")
        self._log.committed[(*key, claim.partition)] = (offset, metadata)

    async def ends(self):
        return {claim.partition: len(self._log.topic(claim.topic)[claim.partition]) for claim in self.claims()}

    async def close(self):
        pass

    def _stale(self, claim):
        return claim.epoch != self._log.epochs[claim.topic]

    def _read(self, limit, only):
        found = []
        for claim in self.claims():
            if only and claim not in only:
                continue
            if self._stale(claim):
                # The topic's id tells.
                claim.lost = True
                continue
            first = self._next[claim]
            records = self._log.topic(claim.topic)[claim.partition][first : first + limit - len(found)]
            for offset, (at_us, key, value, headers) in enumerate(records, first):
                found.append(Stored(claim, offset, at_us, key, value, headers))
            self._next[claim] = first + len(records)
        return found
