"""One request's way through its targets: where it goes first, and where next after each failure.

No target twice; a level is exhausted before the next; then the models that the route names for the reason of the
failure, in their order and each once. An extra attempt needs room in the budget of the channel that failed, except
where that is well and only its model cannot take the request.

A target whose wire has no place for what is asked is passed over as if it were not there: it is no attempt, and nothing
is wrong with it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_router.domain.candidates import Ask, Candidates, Plan
from tollgate_router.domain.choice import Level
from tollgate_router.domain.health.seat import Seat
from tollgate_router.domain.target import Target, Wording
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.errors import Refused

if TYPE_CHECKING:
    from tollgate_router.domain.sending import Sending
    from tollgate_router.domain.snapshot import Snapshot

ERROR: Final = "error"
RATE_LIMIT: Final = "rate_limit"
CONTEXT_LENGTH: Final = "context_length"
CONTENT_POLICY: Final = "content_policy"
_REASONS: Final[Mapping[int, str]] = {
    errors.ERROR_KIND_UPSTREAM_RATE_LIMITED: RATE_LIMIT,
    errors.ERROR_KIND_CONTEXT_LENGTH: CONTEXT_LENGTH,
    errors.ERROR_KIND_CONTENT_POLICY: CONTENT_POLICY,
}
# Another target of the same model would say the same, and nothing is wrong with the channel. Each model that is named
# is asked once, which is no storm; a budget would let the failures of others keep a long prompt from the larger model.
_OF_THE_MODEL: Final = frozenset({CONTEXT_LENGTH, CONTENT_POLICY})


def reason_of(problem: UpstreamProblem) -> str:
    """Returns the reason that fallback models are named by; empty when nobody else would do better."""
    return _REASONS.get(problem.kind) or (ERROR if problem.retryable else "")


@dataclass(frozen=True, slots=True)
class Step:
    """An attempt that failed: `kind` is a tollgate.errors.v1.ErrorKind."""

    target: Target
    model: str
    kind: int


class Walk:
    """`model` is the one that is asked now, `steps` what failed so far, `why` the reason of the last fallback.

    `own` are the candidates of the model that the caller named, `visited` the fallback models that were looked at.
    `tried` are the seats that were sent to, `refusal` says why there was nowhere to go at first. `at` is the moment of
    the last choice, in seconds.

    `say` writes the request for a target, or raises Refused; without it every target counts as one that can be told.
    `sending` is what it wrote for the last choice, `unable` what it refused, by what targets have in common.
    """

    __slots__ = (
        "_ask",
        "_candidates",
        "_levels",
        "_make_ask",
        "_say",
        "_session",
        "_source",
        "asked_model",
        "at",
        "model",
        "out_of_budget",
        "own",
        "refusal",
        "sending",
        "snapshot",
        "steps",
        "tried",
        "unable",
        "visited",
        "why",
    )  # fmt: skip

    def __init__(
        self,
        snapshot: "Snapshot",
        model: str,
        candidates: Candidates,
        make_ask: Callable[[], Ask],
        source: random.Random,
        say: "Callable[[Target], Sending] | None" = None,
    ) -> None:
        self.snapshot = snapshot
        self.own = self._candidates = candidates
        self._make_ask = make_ask
        self._source = source
        self._say = say
        self.sending: Sending | None = None
        self.unable: dict[Wording, Refused] = {}
        self._ask: Ask | None = None
        self._levels = candidates.base.levels
        self._session: int | None = None
        self.visited: list[str] = []
        self.asked_model = self.model = model
        self.at = 0.0
        self.out_of_budget = False
        self.refusal: UpstreamProblem | None = None
        self.tried: list[Seat] = []
        self.steps: list[Step] = []
        self.why = ""

    def first(self, now: float, dialect: int, body_bytes: int) -> Target | None:
        """Returns where the request goes first, at `now` in seconds; None, and `refusal`, when nothing is usable."""
        self.at = now
        own = self.own
        # Where targets do not differ in what they can do, nobody looks what is asked: 1.3 µs, and more of a long body.
        if own.simple and dialect in own.dialects and body_bytes <= own.roomy_bytes:
            return self._next(now) or self._instead(now)
        if self._prepare(own).too_long and (target := self._of_fallbacks(CONTEXT_LENGTH, now)) is not None:
            return target
        return self._next(now) or self._instead(now)

    def after(self, problem: UpstreamProblem, target: Target, now: float) -> Target | None:
        """Returns where to go after `target` failed; None when that is the end."""
        self.at = now
        self.steps.append(Step(target, self.model, problem.kind))
        reason = reason_of(problem)
        if not reason:
            return None
        asked, channel = (self.model, self.why), target.seat.channel
        of_the_model = reason in _OF_THE_MODEL
        following = (None if of_the_model else self._next(now)) or self._of_fallbacks(reason, now)
        if following is None:
            return None
        if not of_the_model and not channel.budget.take(now):
            self.out_of_budget = True
            self.model, self.why = asked
            return None
        channel.extra_attempts[reason] += 1
        return following

    @property
    def ask(self) -> Ask:
        """What choices look at, made when the first one does."""
        if self._ask is None:
            self._ask = self._make_ask()
        return self._ask

    def _next(self, now: float) -> Target | None:
        while (target := self._choose(now)) is not None:
            if self._can_be_told(target):
                self.tried.append(target.seat)
                return target
        return None

    def _choose(self, now: float) -> Target | None:
        for level in self._levels:
            target = level.choose(self.tried, now, self._source, self._session)
            if target is not None:
                return target
        return None

    def _can_be_told(self, target: Target) -> bool:
        """Writes the request for a target; where that cannot be, it and all that are like it are left out."""
        if self._say is None:
            return True
        try:
            self.sending = self._say(target)
        except Refused as refused:
            # All at once: of a thousand alike, each would be a translation of the body.
            self.unable[target.wording] = refused
            self._levels = tuple(level.without(self.unable) for level in self._levels)
            return False
        return True

    def _prepare(self, candidates: Candidates) -> Plan:
        """Turns to the levels of these candidates that may serve this request."""
        plan = candidates.plan(self.ask)
        session = candidates.session(self.ask)
        own_canary = plan.canary is not None and candidates.takes_canary(self.ask, session)
        self._candidates, self._session = candidates, session
        self._levels = (plan.canary, *plan.levels) if own_canary and plan.canary is not None else plan.levels
        return plan

    def _of_fallbacks(self, reason: str, now: float) -> Target | None:
        before = self._candidates, self._session, self._levels
        for name in self.own.fallbacks.get(reason, ()):
            if name in self.visited:
                continue
            self.visited.append(name)
            candidates = self.snapshot.serving(self.ask.route_group, name, self.ask.operation)
            if candidates is None or (self._prepare(candidates).too_long and reason == CONTEXT_LENGTH):
                continue
            target = self._next(now)
            if target is not None:
                self.model, self.why = name, reason
                return target
        self._candidates, self._session, self._levels = before
        return None

    def _instead(self, now: float) -> Target | None:
        """Nothing of the model's own is usable: fallback models, or the words of a refusal."""
        self.refusal = self._unsayable() or refusal(self.model, self._levels, now)
        target = self._of_fallbacks(reason_of(self.refusal), now)
        if target is not None:
            self.refusal = None
        return target

    def _unsayable(self) -> UpstreamProblem | None:
        """Returns the first word of a refusal where nobody can be told, who is held back now included; else None."""
        if not self.unable:
            return None
        while (held := next((target for level in self._levels for target in level.targets), None)) is not None:
            if self._can_be_told(held):
                return None
        first = next(iter(self.unable.values()))
        return UpstreamProblem(errors.ERROR_KIND_INVALID_REQUEST, first.message, first.param)


def refusal(model: str, levels: Sequence[Level], now: float) -> UpstreamProblem:
    """Returns why none of these targets may be sent to, and when the first one may again."""
    seats = [target.seat for level in levels for target in level.targets]
    if not seats:
        return UpstreamProblem(
            errors.ERROR_KIND_INVALID_REQUEST,
            f"No channel for '{model}' may serve a request of this region or dialect.",
        )
    # Moments are compared and nothing is made for each target: of a thousand, in an outage, at every request.
    held = [seat.until for seat in seats if seat.until > now]
    held += [found.until for seat in seats if seat.until <= now and (found := seat.channel.full(now)) is not None]
    ill = [seat for seat in seats if seat.channel.until > now or seat.key.until > now or seat.breaker.until > now]
    limited = bool(held) and not ill
    kind = errors.ERROR_KIND_UPSTREAM_RATE_LIMITED if limited else errors.ERROR_KIND_UPSTREAM_UNAVAILABLE
    until = min(held, default=now)
    wait_ms = 0 if until == inf else max(0, ceil((until - now) * 1000))
    return UpstreamProblem(kind, f"No channel for '{model}' is usable now.", retry_after_ms=wait_ms)
