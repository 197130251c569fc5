"""Holds and wallets in Redis. Here are the values, which need no I/O; the client is `holds.Holds`."""

from tollgate_holds.limits import BUDGET_WINDOWS, MAX_BUDGET_PICO, MAX_LIMIT, LimitSet, Scope
from tollgate_holds.outcomes import (
    Balance,
    Booking,
    BookState,
    HoldInfo,
    HoldResult,
    Operation,
    Swept,
    hold_id_of,
    request_of,
)

__all__ = [
    "BUDGET_WINDOWS",
    "MAX_BUDGET_PICO",
    "MAX_LIMIT",
    "Balance",
    "BookState",
    "Booking",
    "HoldInfo",
    "HoldResult",
    "LimitSet",
    "Operation",
    "Scope",
    "Swept",
    "hold_id_of",
    "request_of",
]
