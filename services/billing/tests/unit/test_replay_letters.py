"""Dead letters over fakes: what can be booked by now is sent, booked once however often, and the rest is told why."""

import pytest
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.fakes.process import World

from tollgate_billing.domain.event import decode
from tollgate_billing.errors import InvalidQuery, NotFound, Unavailable
from tollgate_billing.ports import Letter
from tollgate_billing.use_cases.replay_letters import _REPLAY, ReplayLetters, readable

pytestmark = pytest.mark.unit

HOUR_US = 3600 * 10**6


@pytest.fixture
async def world():
    """A router's clock is two hours ahead: its event is poison for now, and good later."""
    made = World()
    await made.fund()
    made.early = usage_event("early", at_us=made.clock.now_us() + 2 * HOUR_US)
    made.append(b"\xff torn")
    made.append(made.early)
    await made.settle()
    assert len(made.store.poison) == 2
    return made


async def states(world):
    found, _ = await world.process.letters.page(10, "")
    return {one.letter.offset: (one.state, one.problem) for one in found}


async def test_a_letter_is_booked_once_however_often_it_is_replayed(world):
    letters = world.process.letters
    before = await states(world)
    assert before[1][0] == "unusable"
    assert "an hour after" in before[1][1]
    world.clock.advance(2 * 3600)
    found, _ = await letters.page(10, "")
    ready = next(one for one in found if one.state == "ready")
    assert (ready.letter.value, ready.message.request_id) == (world.early.SerializeToString(), "early")
    for _ in range(3):
        sent, counts = await letters.replay([ready.id, ready.id])
        assert ([one.state for one in sent], dict(counts)) == (["sent"], {"sent": 1})
    await world.settle()
    for _ in range(2):
        again, _ = await letters.replay([ready.id])
        assert [one.state for one in again] == ["booked"]
    await world.settle()
    assert world.sums() == (world.early.charge_pico,) * 3
    (row,) = world.store.usage
    assert row["replay"]
    assert world.counters.counts["duplicates"] == 2


async def test_what_still_cannot_be_read_is_not_sent_and_says_why(world):
    world.clock.advance(2 * 3600)
    end = len(world.log.records[0])
    sent, counts = await world.process.letters.replay_all()
    assert (counts["sent"], counts["unusable"]) == (1, 1)
    torn = next(one for one in sent if one.state == "unusable")
    assert "not a UsageRecorded message" in torn.problem
    assert len(world.log.records[0]) == end + 1
    await world.settle()
    sent, counts = await world.process.letters.replay_all()
    assert ([one.id for one in sent], counts["booked"]) == ([torn.id], 1)
    assert [one.offset for one in await world.process.letters.unbooked([torn.letter])] == [0]


async def test_a_record_that_was_cut_off_is_not_made_whole_by_what_is_appended(world):
    """Its last field wants two bytes more, and `replay` has two: they must not be taken for its end."""
    value = usage_event("cut", traceparent="0123456789").SerializeToString()
    at = value.index(b"0123456789") + 10
    torn = value[: at - 2]
    world.append(torn)
    await world.settle()
    world.clock.advance(60)
    (found,) = [one for one in (await world.process.letters.page(10, ""))[0] if one.letter.value == torn]
    decode(torn + _REPLAY, 0, world.clock.now_us())
    assert found.state == "unusable"
    assert readable(torn) == ""


async def test_what_was_booked_is_known_though_it_is_too_old_by_now(world):
    letters = world.process.letters
    world.clock.advance(2 * 3600)
    await letters.replay_all()
    await world.settle()
    world.clock.advance(91 * 24 * 3600)
    assert (await states(world))[1] == ("booked", "")


async def test_pages_ids_and_outages(world):
    letters = world.process.letters
    first, cursor = await letters.page(1, "")
    second, end = await letters.page(1, cursor)
    assert ({one.letter.offset for one in first + second}, end) == ({0, 1}, "")
    assert (await letters.show(first[0].id)).letter == first[0].letter
    with pytest.raises(NotFound):
        await letters.replay([first[0].id, "1-2-3"])
    for wrong in ("", "1-2", "a-b-c", "1-2-3-4", "-1-2-3", "1-2-" + "9" * 30, "²-1-1"):
        with pytest.raises(InvalidQuery):
            await letters.show(wrong)
    for wrong in ([], [first[0].id] * 101):
        with pytest.raises(InvalidQuery):
            await letters.replay(wrong)
    world.clock.advance(2 * 3600)
    letters._topic.away = True
    with pytest.raises(Unavailable):
        await letters.replay_all()


class OneLetter:
    """A store of one letter of another topic."""

    async def letters(self, limit, before):
        return [] if before else [Letter("request.refused.v1", 0, 1, 2, b"k", b"v", "why")][:limit]

    async def booked(self, requests):
        raise AssertionError(requests)


async def test_letters_of_other_topics_stay_where_they_are(world):
    letters = ReplayLetters(OneLetter(), None, None, world.clock)
    (found,), counts = await letters.replay_all()
    assert (found.state, counts["unusable"]) == ("unusable", 1)
    assert "request.refused.v1" in found.problem
