"""What budgets ask the usage store: chDB and the HTTP interface against plain rows in Python."""

import random
import uuid
from dataclasses import replace

import pytest
from services.billing.tests.fakes.events import NOW_US
from services.billing.tests.fakes.month import book, random_events
from services.billing.tests.fakes.spending import FakeSpending
from services.billing.tests.fakes.usage_store import FakeUsageStore

from tollgate_billing.adapters.usage_spending import ClickHouseSpending
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.control_ports import Part, Spend
from tollgate_billing.domain.budgets import HOUR_US, Budget, window_at

pytestmark = pytest.mark.integration

ZONES = ("UTC", "Asia/Kolkata", "America/New_York", "Pacific/Chatham")


@pytest.fixture(params=["chdb", "http"])
async def both(request, open_clickhouse):
    """A month of usage in the engine and in plain rows."""
    clickhouse, _ = await open_clickhouse(request.param)
    tag, store = uuid.uuid4().hex[:8], FakeUsageStore(window=10_000)
    events = random_events(7, 600, NOW_US, tag)
    await book(events, store, [ClickHouseUsageStore(clickhouse)], uuid.uuid4().hex, size=50, now_us=NOW_US)
    assert any(row["kind"] == "adjustment" for row in store.usage)
    yield tag, ClickHouseSpending(clickhouse), FakeSpending(store)
    await clickhouse.close()


def parts(tag):
    for name in "abc":
        organization = f"{tag}-org-{name}"
        yield Part(organization, "organization", "")
        yield from (Part(organization, scope, value) for scope, value in SCOPES)
    # What a caller can name is no SQL.
    yield Part(f"{tag}-org-a", "tag", "red') OR ('1'='1")
    yield Part(f"{tag}-org-a' OR 1=1 --", "model", "m' OR '1'='1")


SCOPES = (
    *(("project", "p1"), ("key", "k3"), ("model", "n"), ("model", "nobody")),
    *(("member", "ada"), ("member", "adam"), ("member", "")),
    *(("tag", "red"), ("tag", "blue"), ("tag", "")),
)


async def test_sums_are_those_of_the_rows_whatever_the_window_cuts(both):
    tag, real, fake = both
    rng, asked = random.Random(3), []
    for part in parts(tag):
        for period in ("day", "week", "month", "total", "rolling"):
            days = 3 if period == "rolling" else 0
            budget = Budget("b", "o", "n", "organization", "", period, days, rng.choice(ZONES), 1, "USD", ())
            window = window_at(budget, NOW_US - rng.randrange(20 * 24 * HOUR_US))
            asked.append(Spend(part, window.begin_us, window.end_us))
        begin = NOW_US - rng.randrange(3 * HOUR_US)
        # Within one hour, over a full hour's edge, and without length.
        asked += [Spend(part, begin, begin + length) for length in (1, HOUR_US // 3, HOUR_US, 2 * HOUR_US + 7)]
    expected = await fake.spent(asked)
    assert sum(value != 0 for value in expected) > 40
    assert await real.spent(asked) == expected
    assert await real.spent([]) == []


async def test_pace_and_hours_are_those_of_the_rows(both):
    tag, real, fake = both
    for part in parts(tag):
        for now in (NOW_US, NOW_US - 3 * HOUR_US, NOW_US + 40 * HOUR_US):
            assert await real.pace(part, now) == await fake.pace(part, now)
        spend = Spend(part, NOW_US - 50 * HOUR_US - 77, 0)
        assert await real.hours(spend) == await fake.hours(spend)


async def test_hours_of_keys_and_projects_are_those_of_the_rows(both):
    tag, real, fake = both
    hour = NOW_US // HOUR_US * HOUR_US
    for ago in (0, 1, 30):
        until = hour + HOUR_US - ago * HOUR_US
        for name in ("key_hours", "project_hours"):
            found = await getattr(real, name)(until - 200 * HOUR_US, until, until - HOUR_US)
            expected = await getattr(fake, name)(until - 200 * HOUR_US, until, until - HOUR_US)
            ours = [one for one in found if one.organization_id.startswith(tag)]
            assert sorted(ours, key=str) == sorted(expected, key=str)
            assert ago != 1 or expected


async def test_networks_repeats_and_members_of_keys_are_those_of_the_rows(both):
    tag, real, fake = both
    hour, seen = NOW_US // HOUR_US * HOUR_US, []
    for ago in range(30):
        begin, until = hour - ago * HOUR_US, hour - (ago - 1) * HOUR_US
        for name, *more in (("key_networks", begin), ("repeats", begin, 2)):
            window = (until - 200 * HOUR_US, until, *more)
            found = [one for one in await getattr(real, name)(*window) if one.organization_id.startswith(tag)]
            expected = await getattr(fake, name)(*window)
            # A key has one project but in these rows, where any of them will do.
            assert [replace(one, project_id="") for one in found] == [replace(one, project_id="") for one in expected]
            seen += [(name, one) for one in found]
    assert len({name for name, _ in seen}) == 2
    keys = [(f"{tag}-org-{name}", "k1") for name in "ab"]
    assert await real.members(keys[:1], 0, NOW_US) == await fake.members(keys[:1], 0, NOW_US)
    assert await real.members([("x') OR ('1'='1", "k1")], 0, NOW_US) == {}
