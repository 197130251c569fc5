"""Room for so much in a second, so that a storm of one caller costs little and hides nobody else."""

from collections import Counter
from typing import Final

_SHARE: Final = 4


class Room:
    """Has room for `most` in each second, a quarter of them for one caller; 0 has none."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._most_of_one = max(1, most // _SHARE)
        self._second = 0
        self._taken = 0
        self._of: Counter[str] = Counter()

    def take(self, caller: str, now: float) -> bool:
        """Takes a place in the second of `now`, where there is one; False where there is none."""
        second = int(now)
        if second != self._second:
            self._second, self._taken = second, 0
            self._of.clear()
        if self._taken >= self.most or self._of[caller] >= self._most_of_one:
            return False
        self._taken += 1
        self._of[caller] += 1
        return True
