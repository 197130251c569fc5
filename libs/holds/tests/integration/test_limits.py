"""Limits in the admission script, against a model that keeps every request by itself and counts when it is asked."""

import asyncio
import copy
import random
from collections import Counter

import pytest

from tollgate_holds import HoldResult, Holds, LimitSet, Operation, Scope

pytestmark = pytest.mark.integration

ORGANIZATION = "org_limits"
WINDOW = 60
TTL, SLOT_TTL = 300, 40
REQUESTS, TOKENS, SLOTS = 1, 2, 3


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


class Model:
    """Every request that was let in, with its second and tokens, by scope; and the records of holds."""

    def __init__(self, wallet):
        self.wallet = wallet
        self.records = {}
        self.requests, self.tokens, self.slots = {}, {}, {}
        self.newest = Counter()

    def pass_time(self, seconds):
        for counts in (*self.requests.values(), *self.tokens.values()):
            moved = {second - seconds: count for second, count in counts.items()}
            counts.clear()
            counts.update(moved)
        for slots in self.slots.values():
            for name in slots:
                slots[name] -= seconds
        for scope in self.newest:
            self.newest[scope] -= seconds

    def counts(self, kind, scope):
        return (self.requests if kind == REQUESTS else self.tokens).setdefault((scope.kind, scope.id), Counter())

    def used(self, kind, scope, now):
        return sum(count for second, count in self.counts(kind, scope).items() if second > now - WINDOW)

    def open(self, scope, now):
        slots = self.slots.setdefault((scope.kind, scope.id), {})
        return [name for name, expiry in slots.items() if expiry >= now]

    def wait(self, kind, scope, need, limit, now):
        """Returns the second at which there is room: `now` when there is, None when there never is."""
        if need > limit:
            return None
        return next(at for at in range(now, now + WINDOW + 1) if self.used(kind, scope, at) + need <= limit)

    def refusal(self, scopes, tokens, now):
        found = []
        for place, scope in enumerate(scopes, 1):
            for kind, need, limit in ((REQUESTS, 1, scope.requests), (TOKENS, tokens, scope.tokens)):
                at = self.wait(kind, scope, need, limit, now) if limit else now
                if at != now:
                    found.append((kind, place, self.used(kind, scope, now), at))
            if scope.slots and len(self.open(scope, now)) >= scope.slots:
                found.append((SLOTS, place, len(self.open(scope, now)), 0))
        # For ever is longest; of two that are as long, the first.
        return max(found, key=lambda one: float("inf") if one[3] is None else one[3], default=None)

    def narrowest(self, kind, scopes, now):
        """Returns (place, rest, second of reset); place 0 when nothing is limited."""
        best = (0, 0, 0)
        for place, scope in enumerate(scopes, 1):
            limit = scope.requests if kind == REQUESTS else scope.tokens
            if limit:
                used = self.used(kind, scope, now)
                rest = max(limit - used, 0)
                if not best[0] or rest < best[1]:
                    best = (place, rest, self.newest[scope.kind, scope.id] + WINDOW if used else 0)
        return best

    def hold(self, operation, name, amount, gate, now):
        """Returns (result, whether it was counted, refusal)."""
        refusal = self.refusal(*gate, now) if gate else None
        record = self.records.get(name)
        if record is not None:
            return HoldResult.DONE, False, None
        if refusal is not None:
            return HoldResult.LIMITED, False, refusal
        if operation is Operation.HOLD and amount > self.wallet:
            return HoldResult.INSUFFICIENT, False, None
        self.wallet -= amount
        self.records[name] = ("held", amount)
        if gate:
            scopes, tokens = gate
            for scope in scopes:
                if scope.requests or scope.tokens:
                    self.newest[scope.kind, scope.id] = now
                if scope.requests:
                    self.counts(REQUESTS, scope)[now] += 1
                if scope.tokens:
                    self.counts(TOKENS, scope)[now] += tokens
                if scope.slots:
                    self.slots.setdefault((scope.kind, scope.id), {})[name] = now + SLOT_TTL
        return HoldResult.DONE, True, None

    def other(self, operation, name, amount, gate, now):
        state, held = self.records.get(name, ("", 0))
        result = HoldResult.DONE
        match operation, state:
            case Operation.END, _:
                pass
            case Operation.SETTLE, "held":
                self.wallet += held - amount
                self.records[name] = ("settled", amount)
            case Operation.FORGET, "held":
                self.wallet += held
                del self.records[name]
            case Operation.RENEW, "held":
                pass
            case Operation.SETTLE, "settled":
                result = HoldResult.DONE if held == amount else HoldResult.DIFFERS
            case _:
                result = HoldResult.TOO_LATE
        if gate:
            self.finish(operation, name, state, *gate, now)
        return result

    def finish(self, operation, name, state, scopes, tokens, second, now):
        sure = second > 0 or state == "held"
        corrects = operation in {Operation.SETTLE, Operation.FORGET} and state != "settled" and sure
        second = abs(second)
        for scope in scopes:
            if corrects and now - WINDOW < second <= self.newest[scope.kind, scope.id]:
                if scope.requests and operation is Operation.FORGET:
                    counts = self.counts(REQUESTS, scope)
                    counts[second] = max(counts[second] - 1, 0)
                if scope.tokens:
                    counts = self.counts(TOKENS, scope)
                    counts[second] = max(counts[second] + tokens, 0)
            slots = self.slots.setdefault((scope.kind, scope.id), {})
            if scope.slots and operation is Operation.RENEW:
                if state == "held":
                    slots[name] = now + SLOT_TTL
            elif scope.slots:
                slots.pop(name, None)


def expected(model, plain, limited, sets, now):
    """Returns what a batch replies, with seconds in place of milliseconds that are left, and makes the model do it."""
    replies = []
    for operation, name, amount in plain:
        done = model.hold if operation in {Operation.HOLD, Operation.HOLD_POSTPAID} else model.other
        found = done(operation, name, amount, None, now)
        replies.append(found[0] if isinstance(found, tuple) else found)
    for operation, name, amount, place, tokens, second in limited:
        scopes = sets[place].scopes
        if operation not in {Operation.HOLD, Operation.HOLD_POSTPAID}:
            replies.append(model.other(operation, name, amount, (scopes, tokens, second), now))
            continue
        result, counted, refusal = model.hold(operation, name, amount, (scopes, tokens), now)
        narrow = (*model.narrowest(REQUESTS, scopes, now), *model.narrowest(TOKENS, scopes, now))
        replies.append([result, now if counted else 0, *narrow, *(refusal or ())])
    return replies


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
