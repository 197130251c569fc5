"""The circuit breaker and the retry budget, as tables over a clock that the test moves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollgate_router.domain.health.breaker import Breaker, BreakerState
from tollgate_router.domain.health.budget import RetryBudget
from tollgate_router.domain.health.policy import HealthPolicy

pytestmark = pytest.mark.unit

POLICY = HealthPolicy(
    consecutive_failures=3,
    failure_ratio=0.5,
    ratio_failures=4,
    window=10,
    open_first=5,
    open_last=40,
    probe_patience=30,
)
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
CAUSE = 40

# What happens at which second → state and `until` afterwards. f failed, s succeeded, p a request goes out, w withdrawn.
SCENARIOS = {
    "stays closed below the count": [(0, "f", CLOSED, 0), (1, "f", CLOSED, 0)],
    "opens after failures in a row": [(0, "f", CLOSED, 0), (1, "f", CLOSED, 0), (2, "f", OPEN, 7)],
    "a success breaks the row": [(0, "ffsf", CLOSED, 0)],
    "opens by share": [(0, "fsfsfs", CLOSED, 0), (1, "f", OPEN, 6)],
    "a share below half stays closed": [(0, "fssfssfssfss", CLOSED, 0)],
    "old failures are not counted": [(0, "fsfsfs", CLOSED, 0), (11, "f", CLOSED, 0)],
    "half-open lets one through": [(0, "fff", OPEN, 5), (5, "p", HALF_OPEN, 35)],
    "a good probe closes": [(0, "fff", OPEN, 5), (5, "ps", CLOSED, 0)],
    "a bad probe opens for twice as long": [(0, "fff", OPEN, 5), (5, "pf", OPEN, 15), (15, "pf", OPEN, 35)],
    "never for longer than the most": [(0, "fff", OPEN, 5), (5, "pfpfpfpfpf", OPEN, 45)],
    "closing forgets how often it was open": [(0, "fff", OPEN, 5), (5, "pf", OPEN, 15), (15, "psfff", OPEN, 20)],
    "a withdrawn probe lets the next one through": [(0, "fff", OPEN, 5), (6, "pw", OPEN, 6), (6, "ps", CLOSED, 0)],
}


@pytest.mark.parametrize("steps", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_a_breaker(steps):
    breaker = Breaker(POLICY)
    for now, events, state, until in steps:
        for event in events:
            before = breaker.state, breaker.until
            changed = {
                "f": lambda now=now: breaker.failed(now, CAUSE),
                "s": breaker.succeeded,
                "p": lambda now=now: breaker.probe(now),
                "w": lambda now=now: breaker.withdraw(now),
            }[event]()
            assert changed == ((breaker.state, breaker.until) != before or (breaker.state is OPEN and event == "f"))
        assert (breaker.state, breaker.until) == (state, until)
        assert (breaker.cause == CAUSE) == (state is not CLOSED)


def test_an_operator_closes_it():
    breaker = Breaker(POLICY)
    for _ in range(3):
        breaker.failed(0, CAUSE)
    breaker.close()
    assert (breaker.state, breaker.until) == (CLOSED, 0)
    assert not breaker.failed(1, CAUSE)


def test_extra_attempts_are_a_fifth_of_the_first_ones_over_ten_seconds():
    budget = RetryBudget(0.2, 0)
    for second in range(10):
        for _ in range(10):
            budget.first(second)
    assert [budget.take(9.9) for _ in range(21)] == [True] * 20 + [False]
    # A second later the first ten are forgotten, and the twenty extra ones are not.
    assert not budget.take(10)
    for _ in range(100):
        budget.first(18.9)
    # The hundred count, of the old ones those of the last ten seconds; the twenty extra ones are within them.
    assert [budget.take(18.95) for _ in range(3)] == [True, True, False]
    assert [budget.take(19.0) for _ in range(21)] == [True] * 18 + [False] * 3


def test_a_few_extra_attempts_are_always_allowed():
    budget = RetryBudget(0.2, 3)
    assert [budget.take(100) for _ in range(4)] == [True, True, True, False]
    assert not budget.take(109.9)
    assert budget.take(110)


class Counted:
    """The rule in its plainest form: all attempts are remembered, those of the last ten seconds counted anew."""

    def __init__(self, ratio, floor):
        self.ratio, self.floor = ratio, floor
        self.firsts, self.extras = [], []

    def within(self, moments, now):
        """By whole seconds: this one and the nine before it."""
        return sum(int(now) - 10 < int(moment) for moment in moments)

    def allowed(self, now):
        return max(self.floor, int(self.ratio * self.within(self.firsts, now)))


# Pauses in hundredths of a second, so that moments are exact, and what happens after each: f first, x extra.
SEQUENCES = st.lists(
    st.tuples(st.one_of(st.integers(0, 120), st.integers(0, 2500)), st.text("fx", min_size=1, max_size=30)), max_size=40
)


@settings(max_examples=400, deadline=None)
@given(SEQUENCES, st.sampled_from([0, 1, 2, 11]), st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.integers(0, 10**6))
def test_whatever_comes_extra_attempts_are_never_more_than_the_share_or_the_floor(sequence, floor, ratio, start):
    budget, counted, now = RetryBudget(ratio, floor), Counted(ratio, floor), start / 100
    for pause, events in sequence:
        start += pause
        now = start / 100
        for event in events:
            if event == "f":
                budget.first(now)
                counted.firsts.append(now)
            else:
                room = counted.within(counted.extras, now) < counted.allowed(now)
                # Neither more than the rule allows, nor less.
                assert budget.take(now) is room
                if room:
                    counted.extras.append(now)
    for moment in counted.extras:
        upto = [one for one in counted.extras if one <= moment]
        before = [one for one in counted.firsts if one <= moment]
        assert counted.within(upto, moment) <= max(floor, ratio * counted.within(before, moment))
