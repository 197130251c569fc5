"""What is known of one channel as a whole: an operator's word, active probes, its credentials and its models."""

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from math import inf

from tollgate_resources import Limits
from tollgate_router.domain.health.breaker import Breaker
from tollgate_router.domain.health.budget import RetryBudget
from tollgate_router.domain.health.policy import HealthPolicy
from tollgate_router.domain.health.quota import Quota
from tollgate_router.domain.health.seat import KeyHealth, ModelHealth, Seat
from tollgate_router.domain.health.states import Change, Hindrance, Mode, Obstacle
from tollgate_router.domain.upstream_errors import Bench


class ChannelHealth:
    """`until` is infinite while an operator holds the channel back or active probes fail, else 0."""

    __slots__ = (
        "_key_ids", "_probe_failures", "budget", "extra_attempts", "keys", "mode", "mode_reason", "models", "name",
        "notify", "policy", "probe_problem", "quota", "seats", "until",
    )  # fmt: skip

    def __init__(self, name: str, policy: HealthPolicy, notify: Callable[[Change], None]) -> None:
        self.name = name
        self.policy = policy
        self.notify = notify
        self.budget = RetryBudget(policy.retry_ratio, policy.retry_floor)
        self.until = 0.0
        self.mode = Mode.ENABLED
        self.mode_reason = ""
        self.probe_problem = ""
        # By the reason of the failure that caused them, as fallback models are named by.
        self.extra_attempts: Counter[str] = Counter()
        # None where the configuration names no limit.
        self.quota: Quota | None = None
        self.keys: dict[str, KeyHealth] = {}
        self.models: dict[str, ModelHealth] = {}
        self.seats: dict[tuple[str, str], Seat] = {}
        self._probe_failures = 0
        self._key_ids: frozenset[str] = frozenset()

    def seat(self, key_id: str, upstream_model: str) -> Seat:
        """Returns the seat; it is the same object for as long as the configuration holds it."""
        found = self.seats.get((key_id, upstream_model))
        if found is None:
            key = self.key(key_id)
            model = self.models.get(upstream_model)
            if model is None:
                model = self.models[upstream_model] = ModelHealth(upstream_model, Breaker(self.policy))
            found = self.seats[key_id, upstream_model] = Seat(self, key, model)
        return found

    def limit(self, limits: Limits) -> None:
        """The configuration says what the account allows. What was counted is kept as long as anything is limited."""
        if limits == Limits():
            self.quota = None
        elif self.quota is None:
            self.quota = Quota(limits)
        else:
            self.quota.limits = limits

    def full(self, now: float) -> Hindrance | None:
        """Returns which limit of the account has no room for one more call, or None."""
        if self.quota is None:
            return None
        found = self.quota.exceeded(now, sum(key.open for key in self.keys.values()))
        return None if found is None else Hindrance(Obstacle.FULL, *found)

    def number_keys(self, key_ids: Sequence[str]) -> None:
        """The configuration names these credentials in this order."""
        self._key_ids = frozenset(key_ids)
        for number, key_id in enumerate(key_ids):
            self.key(key_id).number = number

    def key(self, key_id: str) -> KeyHealth:
        """Returns what is known of a credential."""
        key = self.keys.get(key_id)
        if key is None:
            key = self.keys[key_id] = KeyHealth(key_id)
        return key

    def retain(self, upstream_models: AbstractSet[str]) -> None:
        """Forgets the models and credentials that the configuration holds no more."""
        gone = {seat for seat in self.seats.values() if not self._holds(seat, upstream_models)}
        if not gone:
            return
        self.seats = {name: seat for name, seat in self.seats.items() if seat not in gone}
        for key in self.keys.values():
            key.seats = [seat for seat in key.seats if seat not in gone]
        for model in self.models.values():
            model.seats = [seat for seat in model.seats if seat not in gone]
        self.keys = {name: key for name, key in self.keys.items() if name in self._key_ids}
        self.models = {name: model for name, model in self.models.items() if model.seats}

    def dissolve(self) -> None:
        """The configuration holds the channel no more. Calls under way still end at their seats.

        Without the ways back from here memory is free at once: what a version holds is kept from the collector.
        """
        for key in self.keys.values():
            key.seats = []
        for model in self.models.values():
            model.seats = []
        self.seats, self.keys, self.models = {}, {}, {}

    def _holds(self, seat: Seat, upstream_models: AbstractSet[str]) -> bool:
        return seat.model.name in upstream_models and seat.key.identity in self._key_ids

    def set_mode(self, mode: Mode, reason: str) -> None:
        """An operator's word. Enabling also forgets benches, breakers, rests and failed probes."""
        self.mode, self.mode_reason = mode, reason
        if mode is Mode.ENABLED:
            self.forgive()
        self._hold()

    def forgive(self) -> None:
        """Forgets everything that holds the channel back, but for an operator's word."""
        self.probe_problem, self._probe_failures = "", 0
        for key in self.keys.values():
            key.clear()
        for model in self.models.values():
            model.breaker.close()
        for seat in self.seats.values():
            seat.rest_until = 0.0
        self._hold()

    def refuse_key(self, key: KeyHealth, now: float, bench: Bench) -> None:
        """The provider refused a credential."""
        seconds = key.refuse(now, bench, self.policy)
        self.notify(Change(self.name, f"key {key.number}", "benched", bench.value, seconds))
        for seat in key.seats:
            seat.refresh()

    def restore_key(self, key: KeyHealth) -> None:
        """The provider accepts a credential again."""
        self.notify(Change(self.name, f"key {key.number}", "restored", ""))
        key.clear()
        for seat in key.seats:
            seat.refresh()

    def close_breaker(self, upstream_model: str) -> None:
        """The provider answered for this model."""
        model = self.models.get(upstream_model)
        if model is not None and model.breaker.until:
            model.breaker.close()
            self.notify(Change(self.name, upstream_model, "closed", ""))
            for seat in model.seats:
                seat.refresh()

    def probed(self, problem: str) -> None:
        """An active probe of the channel as a whole has ended; `problem` is empty when it was answered."""
        self._probe_failures = self._probe_failures + 1 if problem else 0
        failing = self._probe_failures >= self.policy.probe_failures
        changed = failing != bool(self.probe_problem)
        self.probe_problem = problem if failing else ""
        if changed:
            self.notify(Change(self.name, "channel", "probe fails" if failing else "probe answered", problem))
            self._hold()

    def _hold(self) -> None:
        self.until = inf if self.mode is not Mode.ENABLED or self.probe_problem else 0.0
        for seat in self.seats.values():
            seat.refresh()


def loose_seat() -> Seat:
    """Returns a seat of a channel of its own, for a target outside of any configuration."""
    return ChannelHealth("", HealthPolicy(), lambda _: None).seat("", "")
