"""Holds and wallets in Redis: scripts, states and a small pipelined client."""

from tollgate_holds.holds import Balance, Booking, BookState, HoldResult, Holds, Operation, Swept, results_of
from tollgate_holds.pipe import RedisError, RedisPipe, RedisUnavailable

__all__ = [
    "Balance",
    "BookState",
    "Booking",
    "HoldResult",
    "Holds",
    "Operation",
    "RedisError",
    "RedisPipe",
    "RedisUnavailable",
    "Swept",
    "results_of",
]
