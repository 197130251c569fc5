"""Limits in the admission script, against a model that keeps every request by itself and counts when it is asked."""

import asyncio
import copy
import random
from collections import Counter
from datetime import UTC, datetime
from importlib import resources

import pytest
from libs.holds.tests.fakes.limits_model import AGAIN, FIRST, SLOT_TTL, TTL, Model, expected

from tollgate_holds import HoldResult, LimitSet, Operation, Scope

pytestmark = pytest.mark.integration

ORGANIZATION = "org_limits"


async def pass_time(holds, seconds):
    """Makes everything that limits keep that much older, as if the time had passed."""
    for kind in ("window", "slots"):
        for key in await holds.pipe.call("KEYS", f"{{{ORGANIZATION}}}:{kind}:*"):
            life = await holds.pipe.call("TTL", key)
            # Below a second it is 0, and -2 when it has gone meanwhile.
            assert life != -1, "what limits count must not stay for ever"
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
        timed = [at for at in (4, 7, 12) if at < len(want)]
        if len(reply) != len(want) or not all(until(reply[at], want[at]) for at in timed):
            return False
        if any(reply[at] != want[at] for at in range(len(want)) if at not in timed):
            return False
    return True


def some_sets(rng, largest):
    def scope(kind, name):
        requests, tokens, slots = rng.choice([0, 3, 9, 40]), rng.choice([0, 100, largest]), rng.choice([0, 2, 6])
        return Scope(kind, name, requests, tokens, slots, rng.choice([0, 0, 150, 400, 2**62 + 1]), "total")

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
    holding = (*FIRST, *FIRST, *AGAIN)

    def one(kinds):
        operation, second_try = rng.choice(kinds), rng.random() < 0.2
        if operation in holding:
            second_try = operation in AGAIN
        return operation, f"r{rng.randrange(names)}" + ".2" * second_try, rng.randrange(1, 90)

    plain = [one((*holding, *others[:4])) for _ in range(rng.randrange(4))]
    limited = []
    for _ in range(rng.randrange(1, 12)):
        place, tokens = rng.randrange(len(sets)), rng.randrange(1, rng.choice([60, largest]))
        if rng.random() < 0.5:
            limited.append((*one(holding), place, tokens, rng.choice([0, *seconds[-6:]])))
        else:
            second = rng.choice([0, *seconds[-6:]]) * rng.choice([1, 1, -1])
            limited.append((*one(others), place, rng.choice([-tokens, tokens, 0]), second))
    return plain, limited


async def expire(holds, names):
    """Makes holds look as if their time were up."""
    key = f"{{{ORGANIZATION}}}:holds"
    for name in names:
        record = await holds.pipe.call("HGET", key, name)
        if record is not None:
            state, _, rest = record.split(b":", 2)
            await holds.pipe.call("HSET", key, name, state + b":1:" + rest)


@pytest.mark.parametrize("largest", [150, 10**12])
@pytest.mark.parametrize("seed", range(6))
async def test_limited_batches_do_what_their_operations_do_one_after_another(holds, seed, largest):
    rng = random.Random(seed * 1000 + largest)
    sets, model = some_sets(rng, largest), Model(4000)
    await holds.rebuild(ORGANIZATION, model.wallet)
    results, seconds = Counter(), []
    for number in range(60):
        plain, limited = some_batch(rng, 60, sets, seconds, largest)
        replies, before, after = await send(holds, plain, limited, sets)
        for now in range(before // 1000, after // 1000 + 1):
            tried = copy.deepcopy(model)
            wanted = expected(tried, plain, limited, sets, now)
            if same(replies, wanted, before, after):
                break
        else:
            pytest.fail(f"{plain}\n{limited}\n{replies}\n{wanted}\n{sets}")
        model = tried
        seconds.append(now)
        results.update(reply[0] if isinstance(reply, list) else reply for reply in replies)
        if rng.random() < 0.3:
            effects = [
                (f"r{rng.randrange(60)}" + rng.choice(["", ".2"]), rng.randrange(200)) for _ in range(rng.randrange(5))
            ]
            await holds.book(ORGANIZATION, "t/0", f"b{number}", effects)
            for effect in effects:
                model.book(*effect)
        if rng.random() < 0.2:
            held = sorted(name for name, (state, _) in model.records.items() if state == "held")
            late = rng.sample(held, min(len(held), 3))
            await expire(holds, late)
            swept = await holds.sweep(ORGANIZATION, tombstone_seconds=TTL, overdue_seconds=TTL)
            assert swept.released == len(late)
            for name in late:
                model.release(name)
        balance = await holds.balance(ORGANIZATION)
        assert balance.wallet == model.wallet
        assert balance.held == sum(amount for state, amount in model.records.values() if state == "held")
        assert balance.settled == sum(amount for state, amount in model.records.values() if state == "settled")
        for (kind, name), left in model.left.items():
            assert int(await holds.pipe.call("HGET", f"{{{ORGANIZATION}}}:budget:{kind}:{name}", "left")) == left
        passing = rng.choice([0, 0, 0, 1, 1, 7, 29, 45, 59, 60, 61, 130])
        if passing:
            await pass_time(holds, passing)
            model.pass_time(passing)
            seconds = [second - passing for second in seconds]
    assert {HoldResult.DONE, HoldResult.TOO_LATE} <= set(results)


async def test_days_and_months_of_budgets_are_those_of_utc(holds):
    prelude = (resources.files("tollgate_holds") / "scripts" / "budgets.lua").read_text(encoding="utf-8")
    rng = random.Random(3)
    border = int(datetime(2028, 2, 29, tzinfo=UTC).timestamp())
    seconds = [0, border - 1, border, border + 86_399, border + 86_400, *(rng.randrange(2**33) for _ in range(500))]
    script = (
        prelude
        + """
        local out = {}
        for i = 1, #ARGV do
          local second = tonumber(ARGV[i])
          out[i] = {window_at('d', second), window_at('m', second), window_at('a', second)}
        end
        return out"""
    )
    found = await holds.pipe.call("EVAL", script, 0, *seconds)
    for second, windows in zip(seconds, found, strict=True):
        moment = datetime.fromtimestamp(second, UTC)
        assert [one.decode() for one in windows] == [moment.strftime("%Y-%m-%d"), moment.strftime("%Y-%m"), "all"]


async def within_a_day(holds, story):
    """Tells a story, and again where midnight came in its middle, by the server's clock."""
    while True:
        began = int((await holds.pipe.call("TIME"))[0]) // 86_400
        try:
            return await story()
        except AssertionError:
            if int((await holds.pipe.call("TIME"))[0]) // 86_400 == began:
                raise
            await holds.pipe.call("FLUSHALL")


@pytest.mark.parametrize("window", ["day", "month"])
async def test_a_new_window_gives_the_whole_budget_and_forgets_what_the_last_one_took(holds, window):
    sets = [LimitSet(ORGANIZATION, (Scope("key", "k", budget_pico=100, budget_window=window),))]
    key = f"{{{ORGANIZATION}}}:budget:key:k"

    async def hold(name, amount):
        reply, *_ = await send(holds, [], [(Operation.HOLD_POSTPAID, name, amount, 0, 0, 0)], sets)
        return reply[0][0]

    async def story():
        assert [await hold("r1", 70), await hold("r2", 40)] == [HoldResult.DONE, HoldResult.OVER_BUDGET]
        # As if that had been in the last window.
        await holds.pipe.call("HSET", key, "id", "2001-01")
        await holds.pipe.call("HSET", f"{{{ORGANIZATION}}}:holds", "r1", f"H:{2**33}:key:k@2001-01:70")
        assert await hold("r3", 90) == HoldResult.DONE
        await holds.settle(ORGANIZATION, "r1", 5)
        assert await holds.pipe.call("HGET", key, "left") == b"10"
        await holds.settle(ORGANIZATION, "r3", 20)
        assert await holds.pipe.call("HGET", key, "left") == b"80"

    await within_a_day(holds, story)


async def test_what_a_budget_took_before_it_began_counts_once_however_often_it_is_told(holds):
    sets = [LimitSet(ORGANIZATION, (Scope("project", "p", budget_pico=100), Scope("key", "k", requests=9)))]
    key = f"{{{ORGANIZATION}}}:budget:project:p"

    async def tell(window, amount):
        reply, *_ = await send(holds, [], [(Operation.USE, window, amount, 0, 1, 0)], sets)
        return reply[0]

    assert await tell("2026-11", 30) == HoldResult.TOO_LATE
    reply, *_ = await send(holds, [], [(Operation.HOLD_POSTPAID, "r1", 10, 0, 0, 0)] * 2, sets)
    assert [one[8] for one in reply] == [1, 0]
    window = (await holds.pipe.call("HGET", key, "id")).decode()
    assert await tell("2001-01", 30) == HoldResult.TOO_LATE
    assert [await tell(window, 30), await tell(window, 30)] == [HoldResult.DONE, HoldResult.TOO_LATE]
    assert await holds.pipe.call("HGET", key, "left") == b"60"
    # More of it becomes known; what comes late with less changes nothing.
    assert [await tell(window, 100), await tell(window, 99)] == [HoldResult.DONE, HoldResult.TOO_LATE]
    assert await holds.pipe.call("HGET", key, "left") == b"-10"


async def test_places_of_a_process_that_died_are_free_after_their_time(holds):
    sets = [LimitSet(ORGANIZATION, (Scope("key", "k", slots=2),))]

    async def hold(name):
        reply, *_ = await send(holds, [], [(Operation.HOLD_POSTPAID, name, 0, 0, 0, 0)], sets)
        return reply[0][0]

    assert [await hold(name) for name in ("dead", "alive", "third")] == [1, 1, HoldResult.LIMITED]
    await pass_time(holds, SLOT_TTL - 5)
    await send(holds, [], [(Operation.RENEW, "alive", 0, 0, 0, 0)], sets)
    assert await hold("third") == HoldResult.LIMITED
    await pass_time(holds, 7)
    assert [await hold("third"), await hold("fourth")] == [HoldResult.DONE, HoldResult.LIMITED]


async def test_a_second_try_is_counted_where_the_first_one_was(holds):
    sets = [LimitSet(ORGANIZATION, (Scope("key", "k", 1, 100, 1, 100, "total"),))]
    await holds.rebuild(ORGANIZATION, 90)

    async def ask(operation, name, amount=90, tokens=60, second=0):
        reply, *_ = await send(holds, [], [(operation, name, amount, 0, tokens, second)], sets)
        return reply[0]

    async def counted():
        window = await holds.pipe.call("HMGET", f"{{{ORGANIZATION}}}:window:key:k", "r", "t")
        return *map(int, window), await holds.pipe.call("ZCARD", f"{{{ORGANIZATION}}}:slots:key:k")

    first = await ask(Operation.HOLD, "r1")
    assert first[0] == HoldResult.DONE
    second = await ask(Operation.HOLD_AGAIN, "r1.2", second=first[1])
    # Full as all limits are, it is let in, and told the second that the first one was counted in.
    assert second[:2] == first[:2]
    assert await counted() == (1, 60, 1)
    assert await ask(Operation.SETTLE, "r1.2", 20, -30, second[1]) == HoldResult.DONE
    assert await counted() == (1, 30, 0)
    await holds.book(ORGANIZATION, "t/0", "b1", [("r1", 0), ("r1.2", 20)])
    assert await holds.pipe.call("HGET", f"{{{ORGANIZATION}}}:budget:key:k", "left") == b"80"


async def test_a_second_try_whose_first_one_was_booked_is_counted_once(holds):
    sets = [LimitSet(ORGANIZATION, (Scope("key", "k", 1, 100, 1),))]
    first, *_ = await send(holds, [], [(Operation.HOLD_POSTPAID, "r1", 5, 0, 60, 0)], sets)
    await holds.book(ORGANIZATION, "t/0", "b1", [("r1", 0)])
    second, *_ = await send(holds, [], [(Operation.HOLD_AGAIN_POSTPAID, "r1.2", 5, 0, 60, first[0][1])], sets)
    assert second[0][0] == HoldResult.DONE
    window = await holds.pipe.call("HMGET", f"{{{ORGANIZATION}}}:window:key:k", "r", "t")
    assert [int(one) for one in window] == [1, 60]
    assert await holds.pipe.call("ZRANGE", f"{{{ORGANIZATION}}}:slots:key:k", 0, -1) == [b"r1.2"]
