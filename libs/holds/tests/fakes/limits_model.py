"""A model of what limits do: it keeps every request by itself and counts when it is asked."""

from collections import Counter

from tollgate_holds import HoldResult, Operation

WINDOW = 60
TTL, SLOT_TTL = 300, 40
REQUESTS, TOKENS, SLOTS, BUDGET = 1, 2, 3, 4
# What places a hold, and what does it in place of the hold of a first try.
FIRST = (Operation.HOLD, Operation.HOLD_POSTPAID)
AGAIN = {Operation.HOLD_AGAIN: Operation.HOLD, Operation.HOLD_AGAIN_POSTPAID: Operation.HOLD_POSTPAID}


class Model:
    """Every request that was let in, with its second and tokens, by scope; and the records of holds."""

    def __init__(self, wallet):
        self.wallet = wallet
        self.records = {}
        self.requests, self.tokens, self.slots = {}, {}, {}
        self.newest = Counter()
        self.caps, self.left, self.spenders, self.fresh = {}, {}, {}, set()

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
        """Returns (result, the second that it was counted in or 0, refusal)."""
        refusal = self.refusal(*gate, now) if gate else None
        record = self.records.get(name)
        if record is not None:
            return (HoldResult.TOO_LATE if record[0] == "released" else HoldResult.DONE), 0, None
        if refusal is not None:
            return HoldResult.LIMITED, 0, refusal
        if operation is Operation.HOLD and amount > self.wallet:
            return HoldResult.INSUFFICIENT, 0, None
        scopes, tokens = gate or ((), 0)
        for place, scope in enumerate(scopes, 1):
            if scope.budget_pico and self.budget(scope) < amount:
                return HoldResult.OVER_BUDGET, 0, (BUDGET, place, 0, 0)
        self.wallet -= amount
        self.records[name] = ("held", amount)
        self.spenders[name] = [(scope.kind, scope.id) for scope in scopes if scope.budget_pico]
        self.spend(name, amount)
        if gate:
            for scope in scopes:
                if scope.requests or scope.tokens:
                    self.newest[scope.kind, scope.id] = now
                if scope.requests:
                    self.counts(REQUESTS, scope)[now] += 1
                if scope.tokens:
                    self.counts(TOKENS, scope)[now] += tokens
                if scope.slots:
                    self.slots.setdefault((scope.kind, scope.id), {})[name] = now + SLOT_TTL
        return HoldResult.DONE, now, None

    def hold_again(self, operation, name, amount, gate, now):
        """Holds for the second try of a request what the first one holds; returns as `hold` does."""
        before, (scopes, tokens, second) = name.removesuffix(".2"), gate or ((), 0, 0)
        if name not in self.records:
            if self.records.get(before, ("", 0))[0] == "held":
                self.records[name], self.spenders[name] = self.records.pop(before), self.spenders.pop(before)
                for scope in scopes:
                    if scope.slots:
                        slots = self.slots.setdefault((scope.kind, scope.id), {})
                        slots.pop(before, None)
                        slots[name] = now + SLOT_TTL
                return HoldResult.DONE, second, None
            if gate:
                self.finish(Operation.FORGET, before, "", scopes, -tokens, second, now)
        return self.hold(AGAIN[operation], name, amount, gate[:2] if gate else None, now)

    def budget(self, scope):
        """Returns what is left of a budget, whose size may have changed since."""
        at = (scope.kind, scope.id)
        if at not in self.left:
            self.fresh.add(at)
        self.left[at] = self.left.get(at, 0) + scope.budget_pico - self.caps.get(at, 0)
        self.caps[at] = scope.budget_pico
        return self.left[at]

    def begun(self, scopes):
        """Returns a bit for each scope whose budget began since it was last asked."""
        found = sum(1 << place for place, scope in enumerate(scopes) if (scope.kind, scope.id) in self.fresh)
        self.fresh.clear()
        return found

    def spend(self, name, amount):
        """Takes from the budgets that the record of `name` has; gives back when it is negative."""
        for at in self.spenders[name]:
            self.left[at] -= amount

    def other(self, operation, name, amount, gate, now):
        state, held = self.records.get(name, ("", 0))
        result = HoldResult.DONE
        match operation, state:
            case Operation.END, _:
                pass
            case Operation.SETTLE, "held":
                self.wallet += held - amount
                self.spend(name, amount - held)
                self.records[name] = ("settled", amount)
            case Operation.FORGET, "held":
                self.wallet += held
                self.spend(name, -held)
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

    def book(self, name, charge):
        """Books what a request costs, whatever became of its hold."""
        state, taken = self.records.pop(name, ("", 0))
        taken = 0 if state == "released" else taken
        self.wallet += taken - charge
        if state:
            self.spend(name, charge - taken)

    def release(self, name):
        """Gives back a hold whose time is up."""
        self.wallet += self.records[name][1]
        self.spend(name, -self.records[name][1])
        self.records[name] = ("released", 0)

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
        found = _held(model, operation, name, amount, None, now)
        replies.append(found[0] if found else model.other(operation, name, amount, None, now))
    for operation, name, amount, place, tokens, second in limited:
        scopes = sets[place].scopes
        found = _held(model, operation, name, amount, (scopes, tokens, second), now)
        if not found:
            replies.append(model.other(operation, name, amount, (scopes, tokens, second), now))
            continue
        result, counted, refusal = found
        narrow = (*model.narrowest(REQUESTS, scopes, now), *model.narrowest(TOKENS, scopes, now))
        replies.append([result, counted, *narrow, model.begun(scopes), *(refusal or ())])
    return replies


def _held(model, operation, name, amount, gate, now):
    """Returns what became of a hold; None where the operation is another."""
    if operation in AGAIN:
        return model.hold_again(operation, name, amount, gate, now)
    return model.hold(operation, name, amount, gate and gate[:2], now) if operation in FIRST else None
