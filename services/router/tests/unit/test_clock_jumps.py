"""The wall clock is set while a request runs, or is another one than edge's: the request is charged all the same."""

import pytest
from services.router.tests.fakes.exchange import Router
from services.router.tests.fakes.versions import channel, snapshot

from tollgate.exchange.v1 import exchange_pb2 as wire

pytestmark = pytest.mark.unit

REPLY = b'{"choices":[{"index":0}],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
UINT32_MAX = 2**32 - 1
HOUR_US = 3600 * 10**6


@pytest.fixture
def router(tmp_path):
    return Router(tmp_path, snapshot([channel("a")]))


def answered(router):
    """Answers the request that is open; returns its event and what edge is told."""
    router.upstream.calls[-1].reply(body=REPLY)
    (event,) = router.events
    return event, router.end()


@pytest.mark.parametrize("jump_us", [2**32 - 1, 2**32, 2**32 + 1, 30 * 24 * HOUR_US])
def test_a_request_that_took_longer_than_timings_can_say_is_recorded(router, jump_us):
    """71.6 minutes: a clock that is set forward, or a provider that may take as long."""
    router.open(started_at_us=router.clock.now_us())
    router.clock.advance(jump_us / 1e6)
    event, end = answered(router)
    assert (end.outcome, end.unrecorded, end.usage.output_tokens) == (wire.OUTCOME_OK, False, 2)
    assert (event.timings.total_us, event.timings.first_byte_us) == (UINT32_MAX, UINT32_MAX)
    assert event.ended_at_us - event.started_at_us == jump_us
    assert (event.final, event.usage.input_tokens, event.usage.output_tokens) == (True, 3, 2)


@pytest.mark.parametrize("ahead_us", [1, HOUR_US, 5 * HOUR_US])
def test_no_request_ends_before_it_began_by_the_clock_of_its_edge(router, ahead_us):
    """Billing takes no event that ended an hour before its start, and no replay would change that."""
    started = router.clock.now_us() + ahead_us
    router.open(started_at_us=started)
    router.clock.advance(0.25)
    event, end = answered(router)
    assert end.outcome == wire.OUTCOME_OK
    assert (event.started_at_us, event.ended_at_us) == (started, max(started, router.clock.now_us()))
    assert event.timings.total_us == 250_000


def test_a_clock_that_is_set_back_while_a_request_runs(router):
    started = router.clock.now_us()
    router.open(started_at_us=started)
    router.clock.advance(-2 * 3600)
    event, _ = answered(router)
    assert (event.started_at_us, event.ended_at_us, event.timings.total_us) == (started, started, 0)
