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
        rolled = self._store.rolled[rollup.name]
        rolled[:] = [row for row in rolled if (rollup.name, *_key(rollup, row)) not in lines]
        rolled += [row for row in self._store.usage if (rollup.name, *_key(rollup, row)) in lines]


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
