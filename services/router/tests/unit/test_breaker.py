"""The circuit breaker and the retry budget, as tables over a clock that the test moves."""

import pytest

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


@pytest.mark.parametrize("pause", [0.1, 1, 3, 9, 10, 11, 1000])
def test_never_more_than_the_share_in_any_window(pause):
    budget, ratio, floor = RetryBudget(0.2, 2), 0.2, 2
    firsts, extras = [], []
    for step in range(300):
        now = step * pause
        for _ in range(7):
            budget.first(now)
            firsts.append(now)
            if budget.take(now):
                extras.append(now)
        window = [moment for moment in firsts if int(moment) > int(now) - 10]
        taken = [moment for moment in extras if int(moment) > int(now) - 10]
        assert len(taken) <= max(floor, ratio * len(window))
    assert len(extras) > 0
