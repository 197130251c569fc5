"""When the next write of a stream is due. No test waits for a time: a pause is either none or an hour."""

import asyncio

import pytest

from tollgate_streams.pacing import Pace

pytestmark = pytest.mark.unit

HOUR = 3600.0
# Less than the loop's timers can tell.
INSTANT = 0.0003


class Writer:
    """Counts writes, each of which begins another pause."""

    def __init__(self, short: float, long: float) -> None:
        self.writes = 0
        self.happened = asyncio.Event()
        self.pace = Pace(short, long, self.write)

    def write(self) -> None:
        self.writes += 1
        self.happened.set()
        self.pace.left()


async def turn() -> None:
    """Lets everything run that waits for nothing."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_first_write_is_due_in_the_same_turn_and_takes_along_what_else_comes_in_it():
    writer = Writer(HOUR, HOUR)
    writer.pace.waits(False)
    writer.pace.waits(True)
    assert writer.writes == 0
    await turn()
    assert writer.writes == 1


async def test_what_is_not_urgent_waits_and_what_is_cuts_the_wait_short():
    writer = Writer(0, HOUR)
    writer.pace.left()
    writer.pace.waits(False)
    await turn()
    assert writer.writes == 0
    writer.pace.waits(True)
    await turn()
    assert writer.writes == 1


async def test_a_wait_that_no_timer_can_tell_is_none():
    writer = Writer(INSTANT, HOUR)
    writer.pace.left()
    writer.pace.waits(True)
    await turn()
    assert writer.writes == 1


async def test_a_busy_stream_waits_twice_as_long_and_one_timer_ends_it():
    writer = Writer(INSTANT, HOUR)
    writer.pace.left(busy=True)
    writer.pace.waits(True)
    await turn()
    async with asyncio.timeout(60):
        await writer.happened.wait()
    assert writer.writes == 1


async def test_nothing_is_due_after_a_stop_until_something_waits_again():
    writer = Writer(0, HOUR)
    writer.pace.waits(True)
    writer.pace.stop()
    await turn()
    assert writer.writes == 0
    writer.pace.waits(True)
    await turn()
    assert writer.writes == 1
