"""An event log in memory: records, one position per partition, and an owner that changes with each consumer."""

from services.billing.tests.fakes.crash import Fuse, guarded

from tollgate_kit.event_log import Claim, OwnershipLost, Stored

TOPIC = "usage.recorded.v1"


class FakeLog:
    """What outlives processes."""

    def __init__(self, partitions=1, epoch="epoch"):
        self.epoch = epoch
        self.records = {number: [] for number in range(partitions)}
        self.committed = dict.fromkeys(range(partitions), (0, ""))
        self.owner = 0
        self.commits = []

    def append(self, value, at_us, partition=0, key=b""):
        """Returns the offset."""
        self.records[partition].append((at_us, key, value))
        return len(self.records[partition]) - 1


class FakeConsumer:
    def __init__(self, log, fuse=None):
        self.fuse = fuse or Fuse()
        self.log = log
        self._claims = []
        self._next = {}
        self._owner = 0

    @guarded
    async def start(self):
        self.log.owner += 1
        self._owner = self.log.owner
        self._claims = [
            Claim(TOPIC, number, self.log.epoch, offset, metadata)
            for number, (offset, metadata) in self.log.committed.items()
        ]
        self._next = {claim.partition: claim.offset for claim in self._claims}

    def claims(self):
        return [claim for claim in self._claims if not claim.lost]

    @guarded
    async def poll(self, limit, wait_seconds, only=()):
        found = []
        for claim in self.claims():
            if only and claim not in only:
                continue
            first = self._next[claim.partition]
            for offset, (at_us, key, value) in enumerate(
                self.log.records[claim.partition][first : first + limit], first
            ):
                found.append(Stored(claim, offset, at_us, key, value))
                self._next[claim.partition] = offset + 1
        return found

    @guarded
    async def commit(self, claim, offset, metadata):
        if claim.lost or self._owner != self.log.owner:
            claim.lost = True
            raise OwnershipLost("another consumer")
        self.log.committed[claim.partition] = (offset, metadata)
        self.log.commits.append((claim.partition, offset, metadata))

    @guarded
    async def ends(self):
        return {number: len(records) for number, records in self.log.records.items()}

    async def close(self):
        pass
