"""A circuit breaker for one upstream model of one channel.

closed → open after failures in a row, or when too large a share fails; open → half-open when its time is over and a
request is let through as a probe; then closed again, or open for twice as long.
"""

import enum
from typing import Final

from tollgate_router.domain.health.policy import HealthPolicy

_NEVER: Final = 0.0


class BreakerState(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """`until` is the moment before which nothing is sent, 0 while closed; `cause` the error kind that opened it.

    `changes` counts its changes of state: a call that began before the last one says nothing about the state in force.
    """

    __slots__ = (
        "_consecutive", "_failed", "_openings", "_policy", "_since", "_succeeded", "cause", "changes", "state", "until",
    )  # fmt: skip

    def __init__(self, policy: HealthPolicy) -> None:
        self._policy = policy
        self.state = BreakerState.CLOSED
        self.until = _NEVER
        self.cause = 0
        self.changes = 0
        self._openings = 0
        self._consecutive = 0
        self._failed = 0
        self._succeeded = 0
        self._since = 0.0

    def probe(self, now: float) -> bool:
        """A request goes out: when the breaker's time is over it is the probe. Returns whether the state changed."""
        if self.state is BreakerState.CLOSED:
            return False
        self.state = BreakerState.HALF_OPEN
        self.until = now + self._policy.probe_patience
        self.changes += 1
        return True

    def withdraw(self, now: float) -> bool:
        """The probe ended without telling anything: the next request may be one. Returns whether that changed it."""
        if self.state is not BreakerState.HALF_OPEN:
            return False
        self.state, self.until = BreakerState.OPEN, now
        self.changes += 1
        return True

    def succeeded(self) -> bool:
        """A call was answered. Returns whether the state changed."""
        self._succeeded += 1
        self._consecutive = 0
        if self.state is BreakerState.CLOSED:
            return False
        self.state, self.until, self.cause = BreakerState.CLOSED, _NEVER, 0
        self._openings = self._failed = self._succeeded = 0
        self.changes += 1
        return True

    def failed(self, now: float, cause: int) -> bool:
        """A call failed in a way that speaks against the upstream. Returns whether the state changed."""
        if self.state is not BreakerState.CLOSED:
            return self._open(now, cause)
        if not self._failed or now - self._since > self._policy.window:
            # The window begins with a failure, so that a success has no clock to look at.
            self._since, self._failed, self._succeeded = now, 0, 0
        self._failed += 1
        self._consecutive += 1
        policy = self._policy
        share = self._failed >= policy.ratio_failures and self._failed >= policy.failure_ratio * (
            self._failed + self._succeeded
        )
        if share or self._consecutive >= policy.consecutive_failures:
            return self._open(now, cause)
        return False

    def close(self) -> None:
        """Forgets everything, by an operator's word or that of an active probe."""
        self.state, self.until, self.cause = BreakerState.CLOSED, _NEVER, 0
        self._openings = self._consecutive = self._failed = self._succeeded = 0
        self.changes += 1

    def _open(self, now: float, cause: int) -> bool:
        policy = self._policy
        self.state, self.cause = BreakerState.OPEN, cause
        self.until = now + min(policy.open_last, policy.open_first * 2.0 ** min(self._openings, 30))
        self._openings += 1
        self._consecutive = self._failed = self._succeeded = 0
        self.changes += 1
        return True
