"""Limits kept in this process, by the rules of `admit.lua` and with its replies; for while Redis is away.

Budgets are not kept here: what may be spent without Redis is capped as a whole.
"""

from collections import deque
from typing import Final

from tollgate_holds.limits import LimitSet, Scope

_DONE: Final = 1
_LIMITED: Final = 5
_WINDOW: Final = 60
_REQUESTS, _TOKENS, _SLOTS = 1, 2, 3


class _Window:
    """What one scope has counted: `counts` are [second, requests, tokens], oldest first."""

    __slots__ = ("counts", "open", "requests", "tokens")

    def __init__(self) -> None:
        self.counts: deque[list[int]] = deque()
        self.requests = self.tokens = 0
        self.open: set[str] = set()

    def advance(self, second: int) -> None:
        """Forgets what is no longer among the last 60 seconds."""
        while self.counts and self.counts[0][0] <= second - _WINDOW:
            _, requests, tokens = self.counts.popleft()
            self.requests -= requests
            self.tokens -= tokens

    def count(self, second: int, requests: int, tokens: int) -> None:
        """Counts in this second, which is not before any other."""
        if not self.counts or self.counts[-1][0] != second:
            self.counts.append([second, 0, 0])
        self.counts[-1][_REQUESTS] += requests
        self.counts[-1][_TOKENS] += tokens
        self.requests += requests
        self.tokens += tokens

    def correct(self, second: int, requests: int, tokens: int) -> None:
        """Corrects what was counted in a second, unless that is forgotten; nothing falls below 0."""
        for count in self.counts:
            if count[0] == second:
                requests, tokens = max(requests, -count[_REQUESTS]), max(tokens, -count[_TOKENS])
                count[_REQUESTS] += requests
                count[_TOKENS] += tokens
                self.requests += requests
                self.tokens += tokens

    def wait_ms(self, unit: int, need: int, limit: int, now_ms: int) -> int:
        """Returns the milliseconds until `need` more fit: 0 now, -1 never."""
        over = (self.requests if unit == _REQUESTS else self.tokens) + need - limit
        if not limit or over <= 0:
            return 0
        if need > limit:
            return -1
        for count in self.counts:
            over -= count[unit]
            if over <= 0:
                return (count[0] + _WINDOW) * 1000 - now_ms
        raise AssertionError("the counts are less than their sum")


class LocalLimits:
    """Times are milliseconds of any clock that does not go back. Beyond `max_scopes` the idlest one is forgotten."""

    def __init__(self, max_scopes: int = 100_000) -> None:
        self._max_scopes = max_scopes
        self._windows: dict[tuple[str, str], _Window] = {}

    def hold(self, limits: LimitSet, request_id: str, tokens: int, now_ms: int) -> list[int]:
        """Returns what the script replies to a hold: admitted and counted, or refused by a limit."""
        second = now_ms // 1000
        windows = [self._window(scope, second) for scope in limits.scopes]
        refusal = self._refusal(limits, windows, tokens, now_ms)
        if refusal:
            return [_LIMITED, 0, *self._narrowest(limits, windows, now_ms), 0, *refusal]
        for scope, window in zip(limits.scopes, windows, strict=True):
            if scope.requests or scope.tokens:
                window.count(second, 1 if scope.requests else 0, tokens if scope.tokens else 0)
            if scope.slots:
                window.open.add(request_id)
        return [_DONE, second, *self._narrowest(limits, windows, now_ms), 0]

    def finish(self, limits: LimitSet, request_id: str, second: int, *, tokens: int = 0, requests: int = 0) -> None:
        """Gives the slots of a request back, and corrects what was counted for it in `second`."""
        for scope in limits.scopes:
            window = self._windows.get((scope.kind, scope.id))
            if window is not None:
                window.open.discard(request_id)
                window.correct(second, requests if scope.requests else 0, tokens if scope.tokens else 0)

    def clear(self) -> None:
        """Forgets everything."""
        self._windows.clear()

    def _window(self, scope: Scope, second: int) -> _Window:
        # The one that was used last stands last.
        window = self._windows.pop((scope.kind, scope.id), None) or _Window()
        self._windows[scope.kind, scope.id] = window
        while len(self._windows) > self._max_scopes:
            del self._windows[next(iter(self._windows))]
        window.advance(second)
        return window

    @staticmethod
    def _refusal(limits: LimitSet, windows: list[_Window], tokens: int, now_ms: int) -> tuple[int, ...]:
        """Returns the limit without room that takes longest to have some: kind, scope, used, milliseconds."""
        found: list[tuple[int, ...]] = []
        for place, (scope, window) in enumerate(zip(limits.scopes, windows, strict=True), 1):
            if wait := window.wait_ms(_REQUESTS, 1, scope.requests, now_ms):
                found.append((_REQUESTS, place, window.requests, wait))
            if wait := window.wait_ms(_TOKENS, tokens, scope.tokens, now_ms):
                found.append((_TOKENS, place, window.tokens, wait))
            if scope.slots and len(window.open) >= scope.slots:
                found.append((_SLOTS, place, len(window.open), 0))
        return max(found, key=lambda one: float("inf") if one[3] < 0 else one[3], default=())

    @staticmethod
    def _narrowest(limits: LimitSet, windows: list[_Window], now_ms: int) -> tuple[int, ...]:
        """Returns scope, rest and milliseconds to reset of requests, and of tokens."""
        narrow = [(0, 0, 0), (0, 0, 0)]
        for place, (scope, window) in enumerate(zip(limits.scopes, windows, strict=True), 1):
            pairs = ((scope.requests, window.requests), (scope.tokens, window.tokens))
            for unit, (limit, used) in enumerate(pairs):
                rest = max(limit - used, 0)
                if limit and (not narrow[unit][0] or rest < narrow[unit][1]):
                    reset = (window.counts[-1][0] + _WINDOW) * 1000 - now_ms if used else 0
                    narrow[unit] = (place, rest, reset)
        return (*narrow[0], *narrow[1])
