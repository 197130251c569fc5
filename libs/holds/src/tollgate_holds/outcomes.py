"""What can be asked of holds and what is answered: values only."""

import enum
from dataclasses import dataclass


class Operation(enum.Enum):
    HOLD = b"h"
    SETTLE = b"s"
    # The request never reached a router: the record goes and nothing will be booked.
    FORGET = b"f"
    RENEW = b"r"
    # A hold of those who pay later: the wallet follows, whatever is in it.
    HOLD_POSTPAID = b"p"
    # A request ended without a cost: its slots are free, and its record stays for billing.
    END = b"e"
    # What a budget took before Redis began to count it.
    USE = b"u"
    # A hold of a request's second try, under `hold_id_of`, in place of what the first one holds.
    HOLD_AGAIN = b"H"
    HOLD_AGAIN_POSTPAID = b"P"


def hold_id_of(request_id: str, number_of_try: int) -> str:
    """Returns the id of what a try of a request holds: that of the request, for a later one with its number.

    Each try has a hold of its own, since what becomes known of a first one must not end what a second one holds.
    """
    return request_id if number_of_try < 2 else f"{request_id}.{number_of_try}"


def request_of(hold_id: str) -> str:
    """Returns the id of the request that holds this; it has two tries at most."""
    return hold_id.removesuffix(".2")


class HoldResult(enum.IntEnum):
    INSUFFICIENT = 0
    DONE = 1
    NO_WALLET = 2
    # The record was released or is gone.
    TOO_LATE = 3
    # Settled before, at another cost.
    DIFFERS = 4
    # A limit has no room.
    LIMITED = 5
    # Redis is away, and what may be spent without it is used up; no script says this.
    UNVERIFIED = 6
    # A budget has too little left.
    OVER_BUDGET = 7


class BookState(enum.IntEnum):
    REPEATED = 0
    APPLIED = 1
    NO_WALLET = 2


@dataclass(frozen=True, slots=True)
class Booking:
    """What a batch did: `corrected` counts holds that edge had settled at another cost than the charge."""

    state: BookState
    corrected: int


@dataclass(frozen=True, slots=True)
class Balance:
    """All in pico-units; `wallet` is None while the key is missing."""

    wallet: int | None
    held: int
    settled: int


@dataclass(frozen=True, slots=True)
class HoldInfo:
    """A record. `state` is held, settled or released; `second` is when it expires, was settled, or is forgotten.

    `budgets` are the scopes whose budgets it moves, as kind and id.
    """

    hold_id: str
    state: str
    second: int
    amount_pico: int
    budgets: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did. `overdue` names settled holds that nobody booked in time."""

    released: int
    forgotten: int
    overdue: tuple[str, ...]
