"""Budgets from booked rows to notices, on a clock that is moved, with SQLite and PostgreSQL behind the ports."""

import asyncio
from datetime import UTC, datetime

import pytest
from services.billing.tests.fakes.ledger import FakeLedger
from services.billing.tests.fakes.spending import FakeSpending
from services.billing.tests.fakes.usage_store import FakeUsageStore

from tollgate_billing.adapters.sql_anomalies import SqlAnomalies
from tollgate_billing.adapters.sql_budgets import SqlBudgets
from tollgate_billing.adapters.sql_notices import SqlDestinations, SqlOutbox
from tollgate_billing.domain.budgets import DAY_US, HOUR_US, Budget, Threshold
from tollgate_billing.domain.delivery import Destination
from tollgate_billing.domain.notices import paragraph, title
from tollgate_billing.domain.rows import to_decimal
from tollgate_billing.errors import NameTaken, NotFound, UsageStoreUnavailable
from tollgate_billing.use_cases.keep_budgets import KeepBudgets
from tollgate_billing.use_cases.watch_anomalies import WatchAnomalies
from tollgate_billing.use_cases.watch_budgets import WatchBudgets
from tollgate_kit.clock import ManualClock
from tollgate_kit.ids import RandomIds
from tollgate_kit.sql import Database
from tollgate_sealing.envelopes import Envelopes, KeyRing

pytestmark = pytest.mark.integration

START = int(datetime(2026, 11, 29, 7, tzinfo=UTC).timestamp()) * 1_000_000
HALF, BLOCK = Threshold(50, "notify"), Threshold(100, "block")


class Desk:
    """Everything about budgets on one database, with rows of usage that tests add."""

    def __init__(self, database):
        self.database, self.clock, self.ids = database, ManualClock(START), RandomIds()
        self.store, keys = FakeUsageStore(), Envelopes(KeyRing((b"k" * 32,)))
        self.spending, self.ledger = FakeSpending(self.store), FakeLedger()
        self.budgets, self.outbox = SqlBudgets(database, self.ids), SqlOutbox(database, keys)
        self.destinations = SqlDestinations(database, keys)
        self.watch = self.new_watch()
        self.keep = KeepBudgets(
            self.budgets, self.spending, self.watch, self.ledger, self.clock, lambda: self.ids.new("bud")
        )
        self.anomalies = WatchAnomalies(SqlAnomalies(database, self.ids), self.spending, self.clock)

    def new_watch(self):
        return WatchBudgets(self.budgets, self.spending, self.ledger, self.clock)

    async def create(self, thresholds=(HALF, BLOCK), amount=100, name="b", scope="organization", scope_id="", **more):
        values = {"period": "day", "days": 0, "time_zone": "UTC"} | more
        values |= {"amount_pico": amount, "currency": "USD", "thresholds": thresholds}
        return await self.keep.create(Budget("", "org", name, scope, scope_id, **values))

    def spend(self, amount, at_us=None, **more):
        """Adds a row and says that it was booked, as booking does."""
        row = {
            "organization_id": "org",
            "project_id": "proj",
            "api_key_id": "key",
            "model": "m",
            "tags": "search,web",
            "member": "ada",
            "client_network": "",
            "prompt_hash": 0,
            "kind": "usage",
            "final": True,
            "superseded": False,
            "outcome": "ok",
            "currency": "USD",
            "started_at": self.clock.now_us() if at_us is None else at_us,
        }
        self.store.usage.append(row | {"charge": to_decimal(amount)} | more)
        self.watch.booked([row["organization_id"]])

    async def held(self):
        return [(one.budget.name, one.state.action) for one in await self.budgets.holding(self.clock.now_us())]

    async def notices(self):
        return [
            (one.content["budget"], one.content["percent"], one.content["window"])
            for one in reversed(await self.outbox.list(100, ""))
        ]


@pytest.fixture(params=["sqlite", "postgresql"])
async def desk(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:////{tmp_path}/ledger.sqlite"
    else:
        url = request.getfixturevalue("postgresql").new_database("ledger")
    database = Database(url, migrations="tollgate_billing:migrations")
    await database.migrate()
    made = Desk(database)
    await made.destinations.add(Destination("dst_1", "", "ops", "slack", "https://example.com/x"))
    yield made
    database.close()


async def test_a_budget_tells_blocks_and_opens_with_the_next_window(desk):
    made = await desk.create()
    assert await desk.watch.step() == 0
    desk.spend(50)
    assert await desk.watch.step() == 1
    assert await desk.held() == []
    desk.spend(50)
    assert await desk.watch.step() == 1
    assert await desk.held() == [("b", "block")]
    assert await desk.watch.step() == 0
    (state,) = [one.state for one in await desk.budgets.list("org", 10, "")]
    assert state.opens_us == int(datetime(2026, 11, 30, tzinfo=UTC).timestamp()) * 1_000_000
    desk.clock.advance(17 * 3600 - 0.000001)
    assert await desk.held() == [("b", "block")]
    # It opens by the time that it named, before anybody evaluates it again.
    desk.clock.advance(0.000001)
    assert await desk.held() == []
    assert await desk.watch.step() == 0
    (state,) = [one.state for one in await desk.budgets.list("org", 10, "")]
    assert (state.window.name, state.spent_pico, state.action) == ("2026-11-30", 0, "")
    desk.spend(120)
    assert await desk.watch.step() == 1
    assert await desk.notices() == [("b", 50, "2026-11-29"), ("b", 100, "2026-11-29"), ("b", 100, "2026-11-30")]
    assert made.id == (await desk.budgets.holding(desk.clock.now_us()))[0].budget.id


async def test_scopes_count_what_is_theirs(desk):
    for scope, scope_id in (("project", "proj"), ("key", "key"), ("model", "m"), ("tag", "web"), ("organization", "")):
        await desk.create(name=scope, scope=scope, scope_id=scope_id)
    desk.spend(100, project_id="other", api_key_id="other", model="other", tags="other")
    await desk.watch.step()
    assert await desk.held() == [("organization", "block")]
    desk.spend(100)
    await desk.watch.step()
    assert sorted(await desk.held()) == [(name, "block") for name in ("key", "model", "organization", "project", "tag")]
    assert sorted(name for name, _, _ in await desk.notices()) == ["key", "model", "organization", "project", "tag"]


async def test_an_adjustment_that_takes_a_charge_back_opens_the_budget(desk):
    await desk.create()
    desk.spend(100)
    await desk.watch.step()
    assert await desk.held() == [("b", "block")]
    desk.spend(-60, kind="adjustment")
    await desk.watch.step()
    assert await desk.held() == []


async def test_a_rolling_budget_opens_when_the_hours_leave_it(desk):
    await desk.create(period="rolling", days=2)
    desk.spend(70)
    desk.clock.advance(10 * 3600)
    desk.spend(40)
    await desk.watch.step()
    (held,) = await desk.budgets.holding(desk.clock.now_us())
    assert held.state.opens_us == START + HOUR_US + 2 * DAY_US
    desk.clock.advance(39 * 3600)
    await desk.watch.step()
    assert await desk.held() == []
    assert [percent for _, percent, _ in await desk.notices()] == [100]


async def test_two_processes_that_look_at_once_tell_once(desk):
    await desk.create()
    desk.spend(100)
    others = [desk.new_watch() for _ in range(4)]
    for one in others:
        one.booked(["org"])
    made = await asyncio.gather(*(one.step() for one in (desk.watch, *others)))
    assert sum(made) == 1
    assert len(await desk.notices()) == 1


async def test_a_process_that_starts_finds_what_its_predecessor_left(desk):
    await desk.create()
    desk.spend(100)
    # Killed before it looked: nobody says again that something was booked.
    assert await desk.new_watch().step() == 1
    assert await desk.held() == [("b", "block")]


async def test_while_usage_is_away_nothing_is_forgotten(desk):
    await desk.create()
    await desk.watch.step()
    desk.spend(100)
    desk.spending.away = True
    for _ in range(2):
        with pytest.raises(UsageStoreUnavailable):
            await desk.watch.step()
    desk.spending.away = False
    assert await desk.watch.step() == 1


async def test_only_what_may_have_changed_is_asked_for(desk):
    await desk.create()
    await desk.watch.step()
    asked = desk.spending.asked
    for _ in range(5):
        await desk.watch.step()
    desk.watch.booked(["another"])
    await desk.watch.step()
    assert desk.spending.asked == asked
    desk.clock.advance(10.1)
    await desk.watch.step()
    assert desk.spending.asked == asked + 1


async def test_a_budget_that_is_deleted_holds_and_tells_no_more(desk):
    made = await desk.create()
    desk.spend(100)
    await desk.watch.step()
    await desk.keep.delete(made.id)
    assert await desk.held() == []
    assert await desk.keep.list("", 10, "") == []
    with pytest.raises(NotFound):
        await desk.keep.delete(made.id)


async def test_a_look_that_began_before_a_budget_was_deleted_writes_nothing_of_it(desk):
    made = await desk.create()
    desk.spend(100)
    states = await desk.watch.look([await desk.budgets.get(made.id)], START)
    assert states[made.id].action == "block"
    await desk.keep.delete(made.id)
    assert await desk.budgets.save(states, {}) == 0
    assert (await desk.create()).id != made.id
    assert [one.state for one in await desk.budgets.list("", 10, "")] == [None]


async def test_what_was_deleted_is_not_looked_at(desk):
    made = await desk.create()
    await desk.keep.delete(made.id)
    assert await desk.watch.step() == 0


async def test_names_are_taken_once_and_pages_follow(desk):
    for number in range(5):
        await desk.create(name=f"b{number}")
    with pytest.raises(NameTaken, match="'b3'"):
        await desk.create(name="b3")
    first = await desk.keep.list("org", 3, "")
    rest = await desk.keep.list("org", 3, first[-1].budget.id)
    assert [one.budget.name for one in (*first, *rest)] == ["b4", "b3", "b2", "b1", "b0"]
    assert await desk.keep.list("other", 3, "") == []


async def test_a_budget_is_shown_as_it_stands_with_forecasts(desk):
    made = await desk.create(amount=1_000, period="month")
    for ago in range(24):
        desk.spend(10, at_us=START - ago * HOUR_US)
    shown = await desk.keep.show(made.id, "org")
    assert (shown.found.state.spent_pico, shown.forecast.per_day_pico) == (240, 250)
    # 760 are left, and 250 a day outlast a month that has less than two days.
    assert shown.forecast.runs_out_us == 0
    with pytest.raises(NotFound):
        await desk.keep.show(made.id, "another")


async def test_an_anomaly_is_found_and_told_once_a_day(desk):
    hour = START // HOUR_US * HOUR_US
    for ago in range(2, 14 * 24):
        desk.spend(100, at_us=hour - ago * HOUR_US)
    desk.spend(5_000, at_us=hour - HOUR_US)
    desk.clock.advance(9 * 60)
    assert await desk.anomalies.step() == 0
    desk.clock.advance(2 * 60)
    assert await desk.anomalies.step() == 1
    assert await desk.anomalies.step() == 0
    (found,) = await desk.anomalies.list("org", 10, "")
    assert (found.kind, found.api_key_id, found.project_id) == ("spend", "key", "proj")
    assert await desk.anomalies.list("another", 10, "") == []
    # After a start, and in the next hour, it is the same one.
    again = WatchAnomalies(SqlAnomalies(desk.database, desk.ids), desk.spending, desk.clock)
    assert await again.step() == 0
    desk.spend(50_000, at_us=hour)
    desk.clock.advance(3_600)
    assert await desk.anomalies.step() == 0
    (notice,) = await desk.outbox.list(10, "")
    assert (notice.about, notice.content["kind"]) == ("anomaly", "spend")
    assert notice.content["numbers"]["spent_pico"] == 5_000


async def test_a_rise_over_many_keys_is_told_of_their_project_once_a_day(desk):
    hour = START // HOUR_US * HOUR_US
    for ago in range(1, 14 * 24):
        desk.spend(100, at_us=hour - ago * HOUR_US)
    for number in range(60):
        desk.spend(10, at_us=hour - HOUR_US, api_key_id=f"new_{number}")
        desk.spend(10, at_us=hour, api_key_id=f"new_{number}")
    desk.clock.advance(11 * 60)
    assert await desk.anomalies.step() == 1
    desk.clock.advance(3_600)
    assert await desk.anomalies.step() == 0
    (found,) = await desk.anomalies.list("org", 10, "")
    assert (found.kind, found.api_key_id, found.project_id, found.subject) == ("spend", "", "proj", "")
    assert found.numbers["spent_pico"] == 700
    (notice,) = await desk.outbox.list(10, "")
    assert title([notice.content], "en") == "Project proj: unusual spending"
    assert "--project proj --group-by key" in paragraph(notice.content, "zh", "UTC")


async def test_a_new_address_and_a_loop_are_told_with_whose_key_it_is(desk):
    hour = START // HOUR_US * HOUR_US
    desk.spend(100, at_us=hour - 8 * DAY_US, client_network="10.0.0.0/24")
    desk.spend(100, at_us=hour - HOUR_US, client_network="10.0.9.0/24")
    for _ in range(50):
        desk.spend(100, at_us=hour - HOUR_US, prompt_hash=255, api_key_id="loop")
    desk.clock.advance(11 * 60)
    assert await desk.anomalies.step() == 2
    found = {one.kind: one for one in await desk.anomalies.list("org", 10, "")}
    assert (found["new_address"].subject, found["new_address"].api_key_id) == ("10.0.9.0/24", "key")
    assert (found["repeated_prompt"].subject, found["repeated_prompt"].api_key_id) == ("00000000000000ff", "loop")
    texts = [
        paragraph(one.content, language, "UTC") for one in await desk.outbox.list(10, "") for language in ("en", "zh")
    ]
    assert len(texts) == 4
    assert all("ada" in text for text in texts)
    assert sum("10.0.9.0/24" in text and "10.0.0.0/24" in text for text in texts) == 2
    assert sum("--requests-per-minute" in text for text in texts) == 2


async def test_a_nightly_batch_is_told_in_its_first_night_and_the_same_load_at_another_hour_at_once(desk):
    """Five weeks, hour by hour, on a clock that is moved."""
    begin = START // DAY_US * DAY_US
    desk.clock.advance((begin + DAY_US - START) / 1e6 + 11 * 60)
    told = {}
    for hour in range(24, 36 * 24):
        at_us = begin + hour * HOUR_US
        night = hour % 24 == 2 and hour >= 10 * 24
        # On the last day the batch runs at noon, too.
        noon = hour == 35 * 24 + 12
        # Two rows an hour would be as good as one: what counts is the sum.
        desk.spend(5_000 if night or noon else 100, at_us=at_us)
        desk.clock.advance(3_600)
        if hour % 24 in {2, 12, 13} and await desk.anomalies.step():
            told[hour] = (await desk.anomalies.list("org", 1, ""))[0]
    first, noon = 10 * 24 + 2, 35 * 24 + 12
    assert sorted(told) == [first, noon]
    assert {one.kind for one in told.values()} == {"spend"}
    text = paragraph(_content(await desk.outbox.list(10, ""), noon, begin), "en", "UTC")
    assert "at this hour of the week it spent at most 0.0000000001 in the 4 weeks before" in text


def _content(notices, hour, begin):
    return next(one.content for one in notices if one.content["hour_us"] == begin + hour * HOUR_US)
