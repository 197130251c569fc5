"""The usage store in memory: a block once per token, as long as the window remembers it."""

from collections import OrderedDict

from services.billing.tests.fakes.crash import Fuse, guarded

from tollgate_billing.domain.recent import RecentIds
from tollgate_billing.domain.rollups import ROLLUPS
from tollgate_billing.domain.rows import booked_of
from tollgate_billing.errors import UsageStoreUnavailable


class FakeUsageStore:
    def __init__(self, window=100, fuse=None):
        self.fuse = fuse or Fuse()
        self.window = window
        self.usage, self.mismatches, self.poison = [], [], []
        # The rows that each rollup is the sum of.
        self.rolled = {name: [] for name in ROLLUPS}
        # Rows that were taken away since they were there again, until the sums are without them.
        self.copies = []
        self._tokens = {"usage": OrderedDict(), "mismatches": OrderedDict(), "poison": OrderedDict()}
        self.away = False
        self.inserts = 0

    @guarded
    async def recent_ids(self, source, since_us):
        return RecentIds(
            (row["event_id"].bytes, row["logged_at"])
            for row in self.usage
            if _of(row, source)
            and row["src_offset"] < source.low
            and row["logged_at"] >= since_us
            and row["kind"] == "usage"
        )

    @guarded
    async def history(self, requests, before):
        found = [
            row
            for row in self.usage
            if row["request_id"] in requests and not (_of(row, before) and row["src_offset"] >= before.low)
        ]
        return booked_of(sorted(found, key=lambda row: (row["logged_at"], row["src_offset"], row["src_index"])))

    @guarded
    async def present(self, bounds):
        return {
            (row["src_offset"], row["src_index"])
            for row in self.usage
            if _of(row, bounds) and bounds.low <= row["src_offset"] < bounds.high
        }

    @guarded
    async def remembers(self, bounds):
        return bounds.batch in self._tokens["usage"]

    def make_ready(self, rows):
        pass

    @guarded
    async def insert_usage(self, rows, token, check=None):
        if check is not None and not self.away:
            check()
        self._insert("usage", rows, token)

    @guarded
    async def insert_mismatches(self, rows, token):
        self._insert("mismatches", rows, token)

    @guarded
    async def insert_poison(self, rows, token):
        self._insert("poison", rows, token)

    def _insert(self, table, rows, token):
        if self.away:
            raise UsageStoreUnavailable("away")
        self.inserts += 1
        tokens = self._tokens[table]
        if token in tokens:
            return
        tokens[token] = True
        while len(tokens) > self.window:
            tokens.popitem(last=False)
        getattr(self, table).extend(rows)
        if table == "usage":
            for rolled in self.rolled.values():
                rolled.extend(rows)


def _of(row, bounds):
    return (row["src_epoch"], row["src_topic"], row["src_partition"]) == (
        bounds.epoch,
        bounds.topic,
        bounds.partition,
    )
