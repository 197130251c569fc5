"""Limits in the admission script, against a model that keeps every request by itself and counts when it is asked."""

import asyncio
import copy
import random
from collections import Counter

import pytest
from libs.holds.tests.fakes.limits_model import SLOT_TTL, TTL, Model, expected

from tollgate_holds import HoldResult, Holds, LimitSet, Operation, Scope

pytestmark = pytest.mark.integration

ORGANIZATION = "org_limits"


@pytest.fixture
async def holds(redis_url):
    made = Holds(redis_url, timeout_seconds=2)
    await made.start()
    assert await made.wait_ready(10)
    await made.pipe.call("FLUSHALL")
    yield made
    await made.close()


async def pass_time(holds, seconds):
    """Makes everything that limits keep that much older, as if the time had passed."""
    for kind in ("window", "slots"):
        for key in await holds.pipe.call("KEYS", f"{{{ORGANIZATION}}}:{kind}:*"):
            life = await holds.pipe.call("TTL", key)
            assert life > 0, "what limits count must not stay for ever"
            if kind == "slots":
                members = await holds.pipe.call("ZRANGE", key, 0, -1)
                for member in members:
                    await holds.pipe.call("ZINCRBY", key, -seconds, member)
            else:
                flat = await holds.pipe.call("HGETALL", key)
                await holds.pipe.call("DEL", key)
                for name, value in zip(flat[::2], flat[1::2], strict=True):
                    if name in {b"at", b"n"}:
                        await holds.pipe.call("HSET", key, name, int(value) - seconds)
                    else:
                        second = name[1:] and int(name[1:]) - seconds
                        await holds.pipe.call("HSET", key, name[:1] + str(second or "").encode(), value)
            if life <= seconds:
                await holds.pipe.call("DEL", key)
            else:
                await holds.pipe.call("EXPIRE", key, life - seconds)


async def send(holds, plain, limited, sets):
    """Sends a batch; returns its replies and the milliseconds of the server's clock before and after it.

    `plain` are (operation, id, amount), `limited` are (operation, id, amount, set, tokens, second).
    """
    flat = [part for operation, *rest in plain for part in (operation.value, *rest)]
    more = [part for operation, name, amount, *_ in limited for part in (operation.value, name, amount)]
    gates = [part for one in limited for part in one[3:]]
    replies = []
    done = asyncio.get_running_loop().create_future()

    def note(reply):
        replies.append(reply)
        if len(replies) == 3:
            done.set_result(None)

    packed = holds.pack_limited(ORGANIZATION, TTL, SLOT_TTL, flat, more, sets, gates)
    time = b"*1\r\n$4\r\nTIME\r\n"
    for command in (time, packed, time):
        assert holds.pipe.submit(command, note)
    await done
    before, reply, after = replies
    return reply, *(int(one[0]) * 1000 + int(one[1]) // 1000 for one in (before, after))


def same(replies, wanted, before, after):
    """Compares replies; a second that is wanted is replied as the milliseconds until it begins."""

    def until(found, second):
        if second in {0, None}:
            return found == (0 if second == 0 else -1)
        return second * 1000 - after <= found <= second * 1000 - before

    for reply, want in zip(replies, wanted, strict=True):
        if not isinstance(want, list):
            if reply != want:
                return False
            continue
        timed = [at for at in (4, 7, 11) if at < len(want)]
        if len(reply) != len(want) or not all(until(reply[at], want[at]) for at in timed):
            return False
        if any(reply[at] != want[at] for at in range(len(want)) if at not in timed):
            return False
    return True


def some_sets(rng, largest):
    def scope(kind, name):
        requests, tokens, slots = rng.choice([0, 3, 9, 40]), rng.choice([0, 100, largest]), rng.choice([0, 2, 6])
        return Scope(kind, name, requests, tokens, slots)

    organization, projects = scope("organization", "o"), [scope("project", f"p{number}") for number in range(2)]
    sets = []
    for number in range(3):
        scopes = (scope("key", f"k{number}"), projects[number % 2], organization)
        sets.append(LimitSet(ORGANIZATION, scopes[: rng.randrange(1, 4)]))
    # The same key as another process of edge still knows it, with limits that were changed.
    sets.append(LimitSet(ORGANIZATION, (scope("key", "k0"), projects[0], organization)))
    return sets


def some_batch(rng, names, sets, seconds, largest):
    others = (Operation.SETTLE, Operation.SETTLE, Operation.FORGET, Operation.RENEW, Operation.END)
    holding = (Operation.HOLD, Operation.HOLD_POSTPAID)

    def one(kinds):
        return rng.choice(kinds), f"r{rng.randrange(names)}", rng.randrange(1, 90)

    plain = [one((*holding, *others[:4])) for _ in range(rng.randrange(4))]
    limited = []
    for _ in range(rng.randrange(1, 12)):
        place, tokens = rng.randrange(len(sets)), rng.randrange(1, rng.choice([60, largest]))
        if rng.random() < 0.5:
            limited.append((*one(holding), place, tokens, 0))
        else:
            second = rng.choice([0, *seconds[-6:]]) * rng.choice([1, 1, -1])
            limited.append((*one(others), place, rng.choice([-tokens, tokens, 0]), second))
    return plain, limited


@pytest.mark.parametrize("largest", [150, 10**12])
@pytest.mark.parametrize("seed", range(6))
async def test_limited_batches_do_what_their_operations_do_one_after_another(holds, seed, largest):
    rng = random.Random(seed * 1000 + largest)
    sets, model = some_sets(rng, largest), Model(4000)
    await holds.rebuild(ORGANIZATION, model.wallet)
    results, seconds = Counter(), []
    for _ in range(60):
        plain, limited = some_batch(rng, 60, sets, seconds, largest)
        replies, before, after = await send(holds, plain, limited, sets)
        for now in (before // 1000, after // 1000):
            tried = copy.deepcopy(model)
            wanted = expected(tried, plain, limited, sets, now)
            if same(replies, wanted, before, after):
                break
        else:
            pytest.fail(f"{plain}\n{limited}\n{replies}\n{wanted}\n{sets}")
        model = tried
        seconds.append(now)
        results.update(reply[0] if isinstance(reply, list) else reply for reply in replies)
        balance = await holds.balance(ORGANIZATION)
        assert balance.wallet == model.wallet
        passing = rng.choice([0, 0, 0, 1, 1, 7, 29, 45, 59, 60, 61, 130])
        if passing:
            await pass_time(holds, passing)
            model.pass_time(passing)
            seconds = [second - passing for second in seconds]
    assert {HoldResult.DONE, HoldResult.LIMITED, HoldResult.TOO_LATE} <= set(results)
