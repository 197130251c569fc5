"""Holds and wallets in Redis: scripts, states and a small pipelined client."""

from tollgate_holds.holds import (
    Balance,
    Booking,
    BookState,
    HoldInfo,
    HoldResult,
    Holds,
    Operation,
    Swept,
    results_of,
    verdicts_of,
)
from tollgate_holds.limits import BUDGET_WINDOWS, MAX_BUDGET_PICO, MAX_LIMIT, LimitSet, Scope
from tollgate_holds.local import LocalLimits
from tollgate_holds.pipe import RedisError, RedisPipe, RedisUnavailable

__all__ = [
    "BUDGET_WINDOWS",
    "MAX_BUDGET_PICO",
    "MAX_LIMIT",
    "Balance",
    "BookState",
    "Booking",
    "HoldInfo",
    "HoldResult",
    "Holds",
    "LimitSet",
    "LocalLimits",
    "Operation",
    "RedisError",
    "RedisPipe",
    "RedisUnavailable",
    "Scope",
    "Swept",
    "results_of",
    "verdicts_of",
]
