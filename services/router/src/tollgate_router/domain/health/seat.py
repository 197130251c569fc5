"""What a choice reads and a call's end writes: one credential of one channel, asked for one upstream model.

A seat combines what is known of the channel, of the credential and of the model there into one moment, `until`: 0 while
all is well, so that a healthy target costs a choice one comparison.
"""

from math import inf
from typing import TYPE_CHECKING, Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_router.domain.affinity import hash_of
from tollgate_router.domain.health.breaker import Breaker, BreakerState
from tollgate_router.domain.health.policy import HealthPolicy
from tollgate_router.domain.health.states import Change, Hindrance, Mode, Obstacle
from tollgate_router.domain.upstream_errors import Bench, UpstreamProblem, kind_name

if TYPE_CHECKING:
    from tollgate_router.domain.health.channel import ChannelHealth

# What speaks against the upstream itself; any other answer shows that it is there and takes our credential.
_ILL: Final = frozenset(
    {
        errors.ERROR_KIND_MODEL_NOT_FOUND,
        errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
        errors.ERROR_KIND_UPSTREAM_TIMEOUT,
        errors.ERROR_KIND_UPSTREAM_PROTOCOL,
        errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS,
        errors.ERROR_KIND_UPSTREAM_CUT,
        errors.ERROR_KIND_UPSTREAM_RATE_LIMITED,
    }
)
# A limit that says when it ends is kept by resting; the upstream is well.
_RATE_LIMITED: Final = errors.ERROR_KIND_UPSTREAM_RATE_LIMITED


class KeyHealth:
    """One credential. `open` counts the calls that are under way with it, of every model.

    `identity` tells it apart across versions, `number` is its place in the one in force; `changes` counts how often it
    was benched, probed and put back.
    """

    __slots__ = ("_refusals", "bench", "changes", "identity", "number", "open", "probing", "seats", "until")

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.number = 0
        self.open = 0
        self.until = 0.0
        self.bench = Bench.NONE
        self.changes = 0
        self.probing = False
        self.seats: list[Seat] = []
        self._refusals = 0

    def refuse(self, now: float, bench: Bench, policy: HealthPolicy, *, again: bool = True) -> float:
        """The provider refused it; returns for how long it rests. `again`: longer than the time before."""
        self._refusals += again
        seconds = min(policy.bench_last, policy.bench_first * 2.0 ** min(self._refusals - 1, 30))
        self.bench, self.probing, self.until = bench, False, now + seconds
        self.changes += 1
        return seconds

    def probe(self, now: float, policy: HealthPolicy) -> None:
        """A request goes out as the probe of a benched credential."""
        self.probing, self.until = True, now + policy.probe_patience
        self.changes += 1

    def withdraw(self, now: float) -> None:
        """The probe ended without telling anything."""
        self.probing, self.until = False, now
        self.changes += 1

    def clear(self) -> None:
        """It is accepted again."""
        self.bench, self.probing, self.until, self._refusals = Bench.NONE, False, 0.0, 0
        self.changes += 1


class ModelHealth:
    """One upstream model of the channel, with the breaker that all its credentials share."""

    __slots__ = ("breaker", "name", "seats")

    def __init__(self, name: str, breaker: Breaker) -> None:
        self.name = name
        self.breaker = breaker
        self.seats: list[Seat] = []


class Seat:
    """`epoch` moves when its breaker or its credential changes: what began before says nothing about what is in force.

    It stands still for all else that holds requests back or lets them go: a rest, a limit, an active probe of the
    channel, an operator who drains. Calls under way then count as they end.
    """

    __slots__ = (
        "_measured", "breaker", "channel", "epoch", "key", "latency", "model", "open", "rest_until", "salt", "until",
    )  # fmt: skip

    def __init__(self, channel: "ChannelHealth", key: KeyHealth, model: ModelHealth) -> None:
        self.channel = channel
        self.key = key
        self.model = model
        self.breaker = model.breaker
        # Sessions are spread by it, in the same way in every process.
        self.salt = hash_of(channel.name.encode(), key.identity.encode(), model.name.encode())
        self.epoch = 0
        # Calls under way, of this model alone.
        self.open = 0
        self.latency = 0.0
        self._measured = 0.0
        self.rest_until = 0.0
        self.until = 0.0
        key.seats.append(self)
        model.seats.append(self)
        self.refresh()

    # A call's life.

    def begin(self, now: float, *, first: bool) -> int:
        """A call goes out; returns the ticket that its end is told with. `first`: of its request."""
        if first:
            self.channel.budget.first(now)
        self.open += 1
        self.key.open += 1
        if self.channel.quota is not None:
            self.channel.quota.begin(now)
        if self.until:
            self._probe(now)
        return self.epoch

    def succeeded(self, ticket: int, now: float, first_byte: float) -> None:
        """The call was answered; `first_byte` is how long that took, in seconds."""
        self.open -= 1
        self.key.open -= 1
        if ticket == self.epoch:
            self._prove()
        age = now - self._measured
        kept = _half(age, self.channel.policy.latency_half_life) if self._measured else 0.0
        self.latency = kept * self.latency + (1 - kept) * first_byte
        self._measured = now

    def answered(self, ticket: int) -> int:
        """A stream's first bytes have come: a probe need not wait for the last. Returns the ticket to go on with."""
        if not self.until or ticket != self.epoch:
            return ticket
        self._prove()
        return self.epoch

    def failed(self, ticket: int, now: float, problem: UpstreamProblem) -> None:
        """The call failed, or was refused."""
        self.open -= 1
        self.key.open -= 1
        if problem.retry_after_ms and problem.retryable:
            self._rest(now + problem.retry_after_ms / 1000)
        if ticket != self.epoch:
            return
        policy = self.channel.policy
        if problem.blameless:
            self._withdraw(now)
        elif problem.bench is not Bench.NONE and policy.bench_first > 0:
            self.breaker.withdraw(now)
            seconds = self.key.refuse(now, problem.bench, policy)
            self._tell(f"key {self.key.number}", "benched", problem.bench.value, seconds)
            self._refresh_all()
        elif problem.kind in _ILL and not (problem.retry_after_ms and problem.kind == _RATE_LIMITED):
            self._blame(now, problem.kind)
        else:
            self._prove()

    def abandoned(self, ticket: int, now: float) -> None:
        """The call was given up by our side, which says nothing about the other."""
        self.open -= 1
        self.key.open -= 1
        if ticket == self.epoch:
            self._withdraw(now)

    # What a choice and operators ask.

    def latency_at(self, now: float) -> float:
        """Returns the first-byte latency in seconds, less the longer it was not measured; 0 when it never was.

        So a target that was slow once is tried again some time.
        """
        if not self._measured:
            return 0.0
        return self.latency * _half(now - self._measured, self.channel.policy.latency_half_life)

    def hindrance(self, now: float) -> Hindrance | None:
        """Returns what keeps requests away, or None when one may be sent."""
        if self.until <= now:
            return self.channel.full(now)
        channel, key, breaker = self.channel, self.key, self.breaker
        if channel.mode is not Mode.ENABLED:
            obstacle = Obstacle.DRAINING if channel.mode is Mode.DRAINING else Obstacle.DISABLED
            return Hindrance(obstacle, channel.mode_reason, inf)
        if channel.probe_problem:
            return Hindrance(Obstacle.PROBE_FAILS, channel.probe_problem, inf)
        if key.until > now:
            return Hindrance(Obstacle.PROBING if key.probing else Obstacle.BENCHED, key.bench.value, self.until)
        if breaker.until > now:
            obstacle = Obstacle.PROBING if breaker.state is BreakerState.HALF_OPEN else Obstacle.BREAKER_OPEN
            return Hindrance(obstacle, kind_name(breaker.cause), self.until)
        return Hindrance(Obstacle.RESTING, "the provider asked for it", self.until)

    def subject(self, now: float) -> str:
        """Returns what of the channel `hindrance` speaks of: all of it, a credential, a model, or one for the other."""
        if self.channel.until > now or self.until <= now:
            return "channel"
        key = f"key {self.key.number}"
        if self.key.until > now:
            return key
        return self.model.name if self.breaker.until > now else f"{self.model.name} with {key}"

    def refresh(self) -> None:
        """Combines what is known anew."""
        self.until = max(self.channel.until, self.key.until, self.breaker.until, self.rest_until)
        # Neither count ever falls, so that the sum is the same only where both are.
        self.epoch = self.key.changes + self.breaker.changes

    # Changes of state; each is rare.

    def _probe(self, now: float) -> None:
        """The time of what held this seat back is over: the call that goes out now shows whether it may stay so."""
        if self.rest_until <= now:
            self.rest_until = 0.0
        if self.key.bench is not Bench.NONE:
            self.key.probe(now, self.channel.policy)
        if self.breaker.probe(now):
            self._tell(self.model.name, "half-open", "", 0.0)
        self._refresh_all()

    def _prove(self) -> None:
        """The provider is there, and takes the credential."""
        changed = self.breaker.succeeded()
        if changed:
            self._tell(self.model.name, "closed", "", 0.0)
        if self.key.bench is not Bench.NONE:
            self._tell(f"key {self.key.number}", "restored", "", 0.0)
            self.key.clear()
            changed = True
        if changed:
            self._refresh_all()

    def _blame(self, now: float, kind: int) -> None:
        changed = self.breaker.failed(now, kind)
        if changed:
            cause = kind_name(kind)
            self._tell(self.model.name, "open", cause, self.breaker.until - now)
        if self.key.probing:
            # Whether the credential is accepted again is not known yet.
            self.key.refuse(now, self.key.bench, self.channel.policy, again=False)
            changed = True
        if changed:
            self._refresh_all()

    def _withdraw(self, now: float) -> None:
        changed = self.breaker.withdraw(now)
        if self.key.probing:
            self.key.withdraw(now)
            changed = True
        if changed:
            self._refresh_all()

    def _rest(self, until: float) -> None:
        if until > self.rest_until:
            self.rest_until = until
            self.until = max(self.until, until)

    def _refresh_all(self) -> None:
        for seat in {*self.key.seats, *self.model.seats}:
            seat.refresh()

    def _tell(self, subject: str, state: str, reason: str, seconds: float) -> None:
        self.channel.notify(Change(self.channel.name, subject, state, reason, seconds))


def _half(age: float, half_life: float) -> float:
    return float(0.5 ** (age / half_life))
