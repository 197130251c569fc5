"""What the account of a channel allows, by a clock that stands where the test says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from services.router.tests.fakes.versions import channel, first, route, snapshot, walk

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_resources import Limits
from tollgate_router.domain.explain import explain
from tollgate_router.domain.health.quota import Quota
from tollgate_router.domain.health.registry import Health

pytestmark = pytest.mark.unit


def taken(found, now):
    """Returns the channel that a request goes to, with its call under way, and how it ends."""
    way = walk(found)
    target = first(way, now)
    if target is None:
        return None, None
    ticket = target.seat.begin(now, first=True)
    return target.channel, lambda at: target.seat.succeeded(ticket, at, 0.1)


def limited(limits, *more, health=None):
    return snapshot([channel("a", limits=limits), *more], health=health or Health())


def test_requests_of_a_minute():
    found = limited({"requests_per_minute": 2})
    assert [taken(found, now)[0] for now in (100.5, 130.0, 131.0, 160.9)] == ["a", "a", None, None]
    # The first one is a minute old, the second is not.
    assert [taken(found, now)[0] for now in (161.0, 161.5, 191.0)] == ["a", None, "a"]


def test_calls_at_once_whatever_became_of_them():
    found = limited({"concurrency": 1})
    where, done = taken(found, 1.0)
    assert (where, taken(found, 2.0)[0]) == ("a", None)
    done(3.0)
    assert taken(found, 3.0)[0] == "a"


def test_tokens_count_when_a_reply_has_ended():
    found = limited({"tokens_per_minute": 100})
    quota = found.ready["a"].health.quota
    assert taken(found, 10.0)[0] == "a"
    quota.spend(12.0, {"input": 60, "output": 40, "request": 1, "image": 3, "image:1024x1024": 5})
    assert [taken(found, now)[0] for now in (12.0, 72.9, 73.0)] == [None, None, "a"]


def test_who_has_no_room_leaves_it_to_others_and_says_so():
    found = snapshot(
        [channel("a", limits={"requests_per_minute": 1}), channel("b")], [route("able", ["a"], ["b"])], health=Health()
    )
    assert [taken(found, 5.0)[0], taken(found, 5.0)[0]] == ["a", "b"]
    way = walk(found)
    rows = {one.channel: one for one in explain(found, way, first(way, 6.0), 6.0).targets}
    assert (rows["a"].reason, rows["a"].detail, rows["a"].wait_ms) == ("full", "1 requests per minute", 60_000)
    health = found.ready["a"].health
    (seat,) = health.seats.values()
    assert seat.subject(6.0) == "channel"


def test_nobody_has_room():
    found = limited({"requests_per_minute": 1})
    assert taken(found, 5.0)[0] == "a"
    way = walk(found)
    assert first(way, 35.0) is None
    assert (way.refusal.kind, way.refusal.retry_after_ms) == (errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, 31_000)


def test_a_new_version_keeps_what_was_counted_and_may_lift_the_limit():
    health = Health()
    assert taken(limited({"requests_per_minute": 1}, health=health), 5.0)[0] == "a"
    narrow, wide = ({"requests_per_minute": limit} for limit in (1, 2))
    assert taken(limited(narrow, health=health), 6.0)[0] is None
    found = limited(wide, health=health)
    assert [taken(found, 6.0)[0], taken(found, 6.0)[0]] == ["a", None]
    assert health.held(6.0) == {("a", "full"): 1}
    assert taken(limited({}, health=health), 6.0)[0] == "a"


@given(
    st.integers(1, 4),
    st.lists(st.floats(0, 40, allow_nan=False), min_size=1, max_size=40),
)
def test_no_minute_has_more_than_the_limit_and_the_time_told_is_true(limit, gaps):
    quota, now, let = Quota(Limits(requests_per_minute=limit)), 0.0, []
    for gap in gaps:
        now += gap
        found = quota.exceeded(now, 0)
        if found is None:
            quota.begin(now)
            let.append(now)
        else:
            assert now < found[1] <= now + 61
            # Not a moment later than it must be.
            assert quota.exceeded(found[1] - 1e-6, 0) is not None
            now = found[1]
            assert quota.exceeded(now, 0) is None
    assert all(sum(start <= one < start + 60 for one in let) <= limit for start in let)
