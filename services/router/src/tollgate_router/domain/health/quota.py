"""What the account behind a channel allows: calls at once, requests and tokens within any minute.

Counted by this process, for all credentials of the channel together. Tokens count when a reply has ended, so that what
is under way then may exceed the limit once.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from tollgate_rating.units import TOKEN_UNITS
from tollgate_resources import Limits

_MINUTE_SECONDS: Final = 60
# When a call that is under way will end is not known: look again after this.
_OPEN_CALL_SECONDS: Final = 1.0


class Quota:
    """`limits` may change while it counts. Counts are kept by the second, so a minute is up to a second longer."""

    __slots__ = ("_requests", "_seconds", "_tokens", "limits")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # Second, requests and tokens, the oldest first.
        self._seconds: deque[list[int]] = deque()
        self._requests = self._tokens = 0

    def begin(self, now: float) -> None:
        """A call goes out at `now`, in seconds."""
        self._second(now)[1] += 1
        self._requests += 1

    def spend(self, now: float, units: Mapping[str, int]) -> None:
        """A reply has ended that took these units, by their names in price books."""
        tokens = sum(quantity for unit, quantity in units.items() if _is_token(unit))
        self._second(now)[2] += tokens
        self._tokens += tokens

    def exceeded(self, now: float, open_calls: int) -> tuple[str, float] | None:
        """Returns the limit that has no room for one more call and when it may have, in seconds; else None."""
        limits = self.limits
        if limits.concurrency is not None and open_calls >= limits.concurrency:
            return f"{limits.concurrency} calls at once", now + _OPEN_CALL_SECONDS
        self._forget(now)
        if limits.requests_per_minute is not None and self._requests >= limits.requests_per_minute:
            return f"{limits.requests_per_minute} requests per minute", self._room_at(1, limits.requests_per_minute)
        if limits.tokens_per_minute is not None and self._tokens >= limits.tokens_per_minute:
            return f"{limits.tokens_per_minute} tokens per minute", self._room_at(2, limits.tokens_per_minute)
        return None

    def _second(self, now: float) -> list[int]:
        self._forget(now)
        second = int(now)
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append([second, 0, 0])
        return self._seconds[-1]

    def _forget(self, now: float) -> None:
        seconds = self._seconds
        while seconds and seconds[0][0] + 1 + _MINUTE_SECONDS <= now:
            _, requests, tokens = seconds.popleft()
            self._requests -= requests
            self._tokens -= tokens

    def _room_at(self, column: int, limit: int) -> float:
        """Returns when enough of what was counted is a minute old."""
        left, second = (self._requests, self._tokens)[column - 1], 0
        for counted in self._seconds:
            left, second = left - counted[column], counted[0]
            if left < limit:
                break
        return float(second + 1 + _MINUTE_SECONDS)


def _is_token(unit: str) -> bool:
    return unit in TOKEN_UNITS
