"""What a budget took before Redis began to count it."""

import asyncio

import pytest
from services.edge.tests.fakes.services import FakeBilling

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.errors import public_error
from tollgate_edge.use_cases.recall_budgets import RecallBudgets
from tollgate_holds import LimitSet, Scope
from tollgate_kit.clock import ManualClock

pytestmark = pytest.mark.unit

# 2026-11-24T12:00:00Z.
NOW_US = 1_795_521_600_000_000
MONTH_US = 1_793_491_200_000_000


def scope(kind, window="month"):
    return Scope(kind, f"{kind}_1", budget_pico=10**12, budget_window=window)


LIMITS = LimitSet("org_1", (scope("key"), scope("project", "day"), scope("organization", "total")))


class Setting:
    def __init__(self):
        self.clock, self.billing, self.told = ManualClock(NOW_US), FakeBilling(), []
        self.pauses, self.slept = asyncio.Queue(), []
        self.recall = RecallBudgets(self.billing, self.clock, lambda *what: self.told.append(what), sleep=self._pause)
        self.asked = []
        self.failures = 0
        self.charge = 7
        self.billing.usage = self._usage
        self.statuses, self.looks = [], 0
        self.billing.status = self._status

    async def _status(self):
        self.looks += 1
        return billing.GetStatusResponse(**(self.statuses.pop(0) if self.statuses else {}))

    async def _pause(self, seconds):
        self.slept.append(seconds)
        await self.pauses.get()
        self.clock.advance(seconds)

    async def _usage(self, request):
        self.asked.append(request.filter)
        if self.failures:
            self.failures -= 1
            raise public_error(errors.ERROR_KIND_UNAVAILABLE)
        return billing.QueryUsageResponse(total=billing.UsageRow(charge_pico=self.charge))

    async def until(self, reached):
        async with asyncio.timeout(30):
            while not reached():  # noqa: ASYNC110 - what is waited for comes of tasks.
                await asyncio.sleep(0)

    async def done(self):
        async with asyncio.timeout(30):
            while self.recall._running:  # noqa: ASYNC110 - the tasks are its own.
                await asyncio.sleep(0)


@pytest.fixture
def setting():
    return Setting()


@pytest.mark.parametrize(
    ("place", "window", "begin_us", "who"),
    [
        (1, "2026-11", MONTH_US, {"api_key_id": "key_1"}),
        (2, "2026-11-24", NOW_US - 43_200_000_000, {"project_id": "project_1"}),
        (3, "all", 0, {}),
    ],
)
async def test_what_the_scope_spent_in_the_window_is_told(setting, place, window, begin_us, who):
    setting.recall.begin(LIMITS, place, NOW_US - 5)
    await setting.done()
    wanted = billing.UsageFilter(organization_id="org_1", from_us=begin_us, to_us=NOW_US - 5, **who)
    assert setting.asked == [wanted]
    assert setting.told == [(LIMITS, place, window, 7)]


async def test_nothing_spent_is_nothing_to_tell(setting):
    setting.charge = 0
    setting.recall.begin(LIMITS, 1, NOW_US)
    await setting.done()
    assert (len(setting.asked), setting.told) == (1, [])


async def test_one_question_at_a_time_for_each_scope(setting):
    for _ in range(3):
        setting.recall.begin(LIMITS, 1, NOW_US)
    setting.recall.begin(LIMITS, 2, NOW_US)
    await setting.done()
    assert len(setting.asked) == 2


async def test_billing_is_asked_until_it_answers_or_the_window_is_over(setting):
    setting.failures = 2
    setting.recall.begin(LIMITS, 1, NOW_US)
    for _ in range(2):
        setting.pauses.put_nowait(None)
    await setting.done()
    assert len(setting.asked) == 3
    assert setting.told == [(LIMITS, 1, "2026-11", 7)]
    setting.failures = 100
    setting.recall.begin(LIMITS, 2, NOW_US)
    setting.pauses.put_nowait(None)
    while len(setting.asked) < 5:  # noqa: ASYNC110 - the question is asked in a task.
        await asyncio.sleep(0)
    setting.clock.advance(86_400)
    setting.pauses.put_nowait(None)
    await setting.done()
    assert len(setting.told) == 1


async def test_what_is_booked_of_a_backlog_later_is_told_with_what_was(setting):
    started_us = NOW_US - 60_000_000
    setting.statuses = [
        {"lag_events": 9, "lag_ms": 90_000},
        # Nothing of what waits was read yet.
        {"lag_events": 9},
        # Ten seconds lie between two looks.
        {"lag_events": 5, "lag_ms": 81_000},
        {"lag_events": 5, "lag_ms": 89_000},
    ]
    setting.recall.begin(LIMITS, 1, started_us)
    while not setting.told:  # noqa: ASYNC110 - the question is asked in a task.
        await asyncio.sleep(0)
    setting.charge = 30
    for _ in range(3):
        setting.pauses.put_nowait(None)
    await setting.done()
    assert setting.told == [(LIMITS, 1, "2026-11", 7), (LIMITS, 1, "2026-11", 30)]
    # What costs the engine something is asked twice, however long it takes.
    assert (len(setting.asked), setting.pauses.qsize(), setting.statuses) == (2, 0, [])


async def test_a_backlog_of_others_is_told_of_once(setting):
    setting.statuses = [{"lag_events": 9, "lag_ms": 90_000}, {}]
    setting.recall.begin(LIMITS, 1, NOW_US)
    setting.pauses.put_nowait(None)
    await setting.done()
    assert setting.told == [(LIMITS, 1, "2026-11", 7)]


@pytest.mark.parametrize(
    "status",
    [
        # Just started: nothing of the log was read, and nothing counted.
        {"problem": "the event log was not read yet"},
        # What was counted before it could book no more.
        {"lag_ms": 60_000, "problem": "booking waits: usage store"},
        {"lag_ms": 60_000},
    ],
)
async def test_billing_that_has_counted_nothing_that_waits_may_be_behind(setting, status):
    setting.statuses = [status]
    setting.recall.begin(LIMITS, 1, NOW_US)
    await setting.until(lambda: setting.told)
    setting.charge = 30
    setting.pauses.put_nowait(None)
    await setting.done()
    assert setting.told == [(LIMITS, 1, "2026-11", 7), (LIMITS, 1, "2026-11", 30)]


async def test_records_that_came_after_a_budget_began_hold_up_nothing(setting):
    setting.clock.advance(90)
    setting.statuses = [{"lag_events": 3, "lag_ms": 60_000}]
    setting.recall.begin(LIMITS, 1, NOW_US)
    await setting.done()
    assert (len(setting.asked), setting.slept) == (1, [])


async def test_a_budget_that_began_anew_is_told_what_was_spent_until_then(setting):
    """Redis lost its memory twice within a backlog: the second time it forgot what it was told after the first."""
    setting.statuses = [{"lag_events": 9}] * 2
    setting.recall.begin(LIMITS, 1, NOW_US)
    await setting.until(lambda: setting.slept)
    setting.clock.advance(60)
    again_us = NOW_US + 60_000_000
    setting.recall.begin(LIMITS, 1, again_us)
    await setting.until(lambda: len(setting.slept) == 2)
    assert setting.told == [(LIMITS, 1, "2026-11", 7)] * 2
    setting.charge = 30
    setting.pauses.put_nowait(None)
    await setting.done()
    assert setting.told[2:] == [(LIMITS, 1, "2026-11", 30)]
    assert [one.to_us for one in setting.asked] == [NOW_US, again_us, again_us]


async def test_a_window_that_is_changed_meanwhile_is_recalled_in_its_stead(setting):
    setting.statuses = [{"lag_events": 9}]
    daily = LimitSet("org_1", (scope("key", "day"),))
    for count, limits in enumerate((LIMITS, daily), 1):
        setting.recall.begin(limits, 1, NOW_US)
        await setting.until(lambda count=count: len(setting.slept) == count)
    setting.charge = 30
    setting.pauses.put_nowait(None)
    await setting.done()
    assert [(window, amount) for _, _, window, amount in setting.told] == [
        ("2026-11", 7),
        ("2026-11-24", 7),
        ("2026-11-24", 30),
    ]


@pytest.mark.parametrize("charge", [0, 7])
async def test_billing_that_stays_behind_is_asked_ever_less(setting, charge):
    """A partition that is stopped stays behind until somebody mends it."""
    setting.charge = charge
    setting.statuses = [{"problem": "partition 0 is stopped"}] * 300
    setting.recall.begin(LIMITS, 1, NOW_US)
    for _ in range(299):
        setting.pauses.put_nowait(None)
    # Nearly a day of it.
    await setting.until(lambda: len(setting.slept) == 300)
    assert len(setting.asked) == 1
    assert setting.slept[:5] == [10] * 5
    assert setting.slept == sorted(setting.slept)
    assert setting.slept[30:] == [300] * 270
    setting.charge = 30
    setting.pauses.put_nowait(None)
    await setting.done()
    assert (len(setting.asked), setting.told[-1]) == (2, (LIMITS, 1, "2026-11", 30))


async def test_many_budgets_wait_for_a_backlog_and_ask_together_how_far_it_is(setting):
    """After a loss of Redis every key's budget begins within moments."""
    sets = [LimitSet("org_1", (Scope("key", f"key_{number}", budget_pico=10**12),)) for number in range(2_500)]
    setting.statuses = [{"lag_events": 9, "lag_ms": 90_000}]
    for one in sets:
        setting.recall.begin(one, 1, NOW_US)
    async with asyncio.timeout(30):
        while len(setting.told) < len(sets):  # noqa: ASYNC110 - the questions are asked in tasks.
            await asyncio.sleep(0)
    assert setting.looks == 1
    setting.charge = 30
    for _ in sets:
        setting.pauses.put_nowait(None)
    await setting.done()
    assert sorted(amount for *_, amount in setting.told) == [7] * len(sets) + [30] * len(sets)


async def test_a_process_that_stops_asks_no_more(setting):
    setting.failures = 100
    setting.recall.begin(LIMITS, 3, NOW_US)
    await asyncio.sleep(0)
    await setting.recall.stop()
    await setting.done()
    assert setting.told == []
