"""Limits that a process keeps by itself, against the model that the script is compared with."""

import random

import pytest
from libs.holds.tests.fakes.limits_model import Model, expected

from tollgate_holds import HoldResult, LimitSet, Operation, Scope
from tollgate_holds.local import LocalLimits

pytestmark = pytest.mark.unit

ORGANIZATION = "org_local"


def until(wanted, now_ms):
    """Turns a second that is wanted into the milliseconds until it."""
    return -1 if wanted is None else wanted * 1000 - now_ms if wanted else 0


def in_milliseconds(wanted, now_ms):
    return [until(value, now_ms) if at in {4, 7, 12} else value for at, value in enumerate(wanted)]


@pytest.mark.parametrize("seed", range(30))
def test_local_limits_do_what_the_model_does(seed):
    rng = random.Random(seed)
    limits, model = LocalLimits(), Model(10**15)
    scopes = [
        Scope(kind, kind, rng.choice([0, 3, 9]), rng.choice([0, 100, 10**12]), rng.choice([0, 2, 6]))
        for kind in ("key", "project", "organization")
    ]
    sets = [LimitSet(ORGANIZATION, tuple(scopes[first:])) for first in range(3)]
    now_ms, running, results = 10**9, {}, set()
    for number in range(300):
        now_ms += rng.choice([0, 1, 400, 999, 5_000, 30_000, 61_000])
        place, tokens = rng.randrange(3), rng.randrange(1, 90)
        if rng.random() < 0.6 or not running:
            name = f"r{number}"
            reply = limits.hold(sets[place], name, tokens, now_ms)
            batch = [(Operation.HOLD_POSTPAID, name, 0, place, tokens, 0)]
            (wanted,) = expected(model, [], batch, sets, now_ms // 1000)
            assert reply == in_milliseconds(wanted, now_ms)
            results.add(reply[0])
            if reply[0] == HoldResult.DONE:
                running[name] = (place, tokens, reply[1])
        else:
            name = rng.choice(list(running))
            place, tokens, second = running.pop(name)
            operation = rng.choice([Operation.SETTLE, Operation.FORGET, Operation.END])
            change = {Operation.SETTLE: rng.randrange(-tokens, 50), Operation.FORGET: -tokens}.get(operation, 0)
            expected(model, [], [(operation, name, 0, place, change, second)], sets, now_ms // 1000)
            requests = -1 if operation is Operation.FORGET else 0
            limits.finish(sets[place], name, second, tokens=change, requests=requests)
        # Slots of a process live as long as it does: there is nothing to expire.
        for slots in model.slots.values():
            for name in slots:
                slots[name] = now_ms
    assert HoldResult.DONE in results


def test_the_scope_that_was_idle_longest_is_forgotten_when_there_are_too_many():
    limits = LocalLimits(max_scopes=2)
    sets = [LimitSet(ORGANIZATION, (Scope("key", f"k{number}", requests=1),)) for number in range(3)]
    found = [limits.hold(sets[number], "r", 1, 0)[0] for number in (0, 1, 0, 2, 0, 1)]
    done, limited = HoldResult.DONE, HoldResult.LIMITED
    assert found == [done, done, limited, done, limited, done]
    limits.clear()
    assert limits.hold(sets[0], "r", 1, 0)[0] == done
