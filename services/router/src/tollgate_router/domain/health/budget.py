"""How many extra attempts the failures of one channel may cause, so that an outage is not answered with a storm."""

from typing import Final

_SECONDS: Final = 10


class RetryBudget:
    """Counts over the last ten seconds, by second: extra attempts are at most a share of the first ones, or a few."""

    __slots__ = ("_extra", "_extras", "_first", "_firsts", "_floor", "_ratio", "_second")

    def __init__(self, ratio: float, floor: int) -> None:
        self._ratio = ratio
        self._floor = floor
        self._firsts = [0] * _SECONDS
        self._extras = [0] * _SECONDS
        self._first = 0
        self._extra = 0
        self._second = 0

    def first(self, now: float) -> None:
        """A request makes its first attempt on the channel."""
        second = int(now)
        if second != self._second:
            self._turn(second)
        self._first += 1

    def take(self, now: float) -> bool:
        """Takes one extra attempt out of the budget; False when there is none left."""
        second = int(now)
        if second != self._second:
            self._turn(second)
        allowed = max(self._floor, int(self._ratio * (sum(self._firsts) + self._first)))
        if sum(self._extras) + self._extra >= allowed:
            return False
        self._extra += 1
        return True

    def _turn(self, second: int) -> None:
        """Files the counts of the second that is over; those older than the window are forgotten.

        The current second is counted on its own, so nine whole ones are kept beside it.
        """
        last = self._second
        self._firsts[last % _SECONDS], self._extras[last % _SECONDS] = self._first, self._extra
        for passed in range(max(last + 1, second - _SECONDS + 1), second + 1):
            self._firsts[passed % _SECONDS] = self._extras[passed % _SECONDS] = 0
        self._second, self._first, self._extra = second, 0, 0
