"""When the next write of a stream is due. No test waits for a time: a pause is either none or an hour."""

import asyncio

import pytest

from tollgate_kit.pacing import Pace

pytestmark = pytest.mark.unit

HOUR = 3600.0
# Less than the loop's timers can tell.
INSTANT = 0.0003


async def test_the_first_write_is_due_at_once():
    pace = Pace(HOUR, HOUR)
    assert not pace.due.is_set()
    pace.waits(False)
    assert pace.due.is_set()


async def test_what_is_not_urgent_waits_and_what_is_cuts_the_wait_short():
    pace = written(Pace(0, HOUR))
    pace.waits(False)
    assert not pace.due.is_set()
    pace.waits(True)
    assert pace.due.is_set()


async def test_nothing_is_due_while_a_write_is_under_way():
    pace = Pace(0, 0)
    pace.leaves()
    pace.waits(True)
    assert not pace.due.is_set()
    pace.left()
    assert not pace.due.is_set()
    pace.waits(True)
    assert pace.due.is_set()


async def test_a_wait_that_no_timer_can_tell_is_none():
    pace = written(Pace(INSTANT, HOUR))
    pace.waits(True)
    assert pace.due.is_set()


async def test_a_busy_stream_waits_twice_as_long_and_a_timer_ends_it_in_one_turn():
    pace = Pace(INSTANT, HOUR)
    pace.leaves()
    pace.left(busy=True)
    pace.waits(True)
    assert not pace.due.is_set()
    async with asyncio.timeout(60):
        await pace.due.wait()


def written(pace: Pace) -> Pace:
    """Returns it after a write."""
    pace.leaves()
    pace.left()
    return pace
