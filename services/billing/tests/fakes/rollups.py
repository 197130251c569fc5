"""The rollups of the usage store in memory."""

from collections import Counter

from services.billing.tests.fakes.crash import Fuse, guarded

from tollgate_billing.domain.books import Amounts
from tollgate_billing.domain.rollups import DAY_US, HOUR_US, ROLLUPS, SumDifference, floor
from tollgate_billing.domain.rows import to_pico
from tollgate_billing.ports import BatchRow

NAMES = {
    "minute": ("organization_id", "project_id", "model", "provider", "channel", "currency"),
    "hour": ("organization_id", "project_id", "api_key_id", "model", "provider", "channel", "currency"),
    "day": ("organization_id", "project_id", "api_key_id", "model", "provider", "currency"),
}
PLACE = ("src_epoch", "src_topic", "src_partition", "src_offset", "src_index", "event_id")
MONEY = ("charge", "cost", "loss")


class FakeRollups:
    def __init__(self, store, fuse=None):
        self.fuse = fuse or Fuse()
        self._store = store

    @guarded
    async def hours(self, from_us, to_us):
        found = {
            floor(row["started_at"], HOUR_US)
            for row in self._store.usage
            if from_us <= row["ingested_at"] < to_us or from_us <= row["started_at"] < to_us
        }
        for name, rows in self._store.rolled.items():
            buckets = {floor(row["started_at"], ROLLUPS[name].bucket_us) for row in rows}
            begin = floor(from_us, DAY_US if name == "day" else HOUR_US)
            found |= {floor(at, HOUR_US) for at in buckets if begin <= at < to_us}
        return sorted(found)

    @guarded
    async def rows_of_hours(self, hours):
        found = Counter(floor(row["started_at"], HOUR_US) for row in self._store.usage)
        return {hour: found[hour] for hour in hours if hour in found}

    async def kept_from(self, rollup):
        return 0

    @guarded
    async def differences(self, rollup, from_us, to_us, most, *, between_inserts=False, organizations=()):
        both = (self._store.usage, self._store.rolled[rollup.name])
        raw, kept = (_sums(rollup, rows, from_us, to_us) for rows in both)
        nothing = dict.fromkeys(("rows", *MONEY), 0)
        return [
            SumDifference(rollup, key[0], dict(key[1]), kept.get(key, nothing), raw.get(key, nothing))
            for key in sorted({*raw, *kept})
            if raw.get(key, nothing) != kept.get(key, nothing)
            and (not organizations or dict(key[1])["organization_id"] in organizations)
        ][:most]

    @guarded
    async def rows_of(self, difference):
        key = (difference.bucket_us, tuple(difference.names.items()))
        rows = [row for row in self._store.usage if _key(difference.rollup, row) == key]
        return [BatchRow(row["request_id"], Amounts(*(to_pico(row[name]) for name in MONEY))) for row in rows]

    @guarded
    async def refill(self, rollup, from_us, to_us, *, lacking):
        lines = {one.key for one in await self.differences(rollup, from_us, to_us, 10**6) if one.lacking or not lacking}
        self._make_again(rollup, lines)

    @guarded
    async def without_copies(self, rollup, from_us, to_us):
        copies = Counter((rollup.name, *_key(rollup, row)) for row in self._store.copies)
        found = await self.differences(rollup, from_us, to_us, 10**6)
        lines = {one.key for one in found if one.found["rows"] - one.expected["rows"] == copies[one.key]}
        self._make_again(rollup, lines)
        return len(lines)

    def _make_again(self, rollup, lines):
        rolled = self._store.rolled[rollup.name]
        rolled[:] = [row for row in rolled if (rollup.name, *_key(rollup, row)) not in lines]
        rolled += [row for row in self._store.usage if (rollup.name, *_key(rollup, row)) in lines]


class FakeCopies:
    def __init__(self, store, fuse=None):
        self.fuse = fuse or Fuse()
        self._store = store

    @guarded
    async def found(self, from_us, to_us):
        return dict(Counter(row["batch"] for row in self._copies(from_us, to_us)))

    @guarded
    async def drop(self, from_us, to_us):
        copies = self._copies(from_us, to_us)
        self._store.copies += copies
        gone = {id(row) for row in copies}
        self._store.usage[:] = [row for row in self._store.usage if id(row) not in gone]

    @guarded
    async def days(self):
        return sorted({floor(row["started_at"], DAY_US) for row in self._store.copies})

    @guarded
    async def forget(self):
        self._store.copies.clear()

    def _copies(self, from_us, to_us):
        seen, copies = set(), []
        for row in sorted(self._store.usage, key=lambda row: row["ingested_at"]):
            place = tuple(row[name] for name in PLACE)
            if from_us <= row["logged_at"] < to_us and place in seen:
                copies.append(row)
            seen.add(place)
        return copies


def _key(rollup, row):
    return floor(row["started_at"], rollup.bucket_us), tuple((name, row[name]) for name in NAMES[rollup.name])


def _sums(rollup, rows, from_us, to_us):
    found = {}
    for row in rows:
        key = _key(rollup, row)
        if from_us <= key[0] < to_us:
            entry = found.setdefault(key, dict.fromkeys(("rows", *MONEY), 0))
            entry["rows"] += 1
            for name in MONEY:
                entry[name] += to_pico(row[name])
    return found
