"""Which target of a level answers. None that was tried, none that is held back; then as the route's strategy says.

A healthy target costs one comparison. Levels may hold a thousand targets: a choice draws a few of them, and looks at
all only when the few are not to be had, so its cost does not grow with the number of channels.
"""

import random
from bisect import bisect_right
from collections.abc import Collection, Container, Sequence
from itertools import accumulate
from math import inf, log
from typing import Final

from tollgate_router.domain.affinity import mix
from tollgate_router.domain.health.seat import Seat
from tollgate_router.domain.target import Target, Wording

# Draws before all targets of a level are looked at.
_DRAWS: Final = 4
# Levels up to this size are compared whole, of larger ones a sample is.
_COMPARED: Final = 32
_SAMPLE: Final = 8
# Latencies that are apart by less than this count as equal, so that load is shared among the fast.
_TOLERANCE: Final = 1.2
_UNIT: Final = 2.0**-53


class Level:
    """Targets that are tried before those of the next level. `number` counts from 1; 0 is a canary's.

    A target of weight 0 is never chosen. Which is cheapest is decided when a snapshot is made: such a level becomes
    several, the cheapest first.
    """

    __slots__ = ("_bounds", "number", "strategy", "targets")

    def __init__(self, targets: Sequence[Target], *, number: int = 1, strategy: str = "weighted") -> None:
        self.targets = tuple(target for target in targets if target.weight > 0)
        self.number = number
        self.strategy = strategy
        self._bounds = tuple(accumulate(target.weight for target in self.targets))

    def choose(
        self, tried: Collection[Seat], now: float, source: random.Random, session: int | None = None
    ) -> Target | None:
        """Returns a target that may be sent to at `now` (seconds), or None. `session` binds requests to one target."""
        targets = self.targets
        if len(targets) == 1:
            target = targets[0]
            return target if _is_free(target.seat, tried, now) else None
        if session is not None:
            return self._bound(tried, now, session)
        if self.strategy == "least_busy":
            return _least_busy(self._compared(tried, now, source), source)
        if self.strategy == "lowest_latency":
            return _fastest(self._compared(tried, now, source), now, source)
        return self._weighted(tried, now, source)

    def without(self, unable: Container[Wording]) -> "Level":
        """Returns the level without the targets that cannot be told what is asked."""
        kept = [target for target in self.targets if target.wording not in unable]
        return self if len(kept) == len(self.targets) else Level(kept, number=self.number, strategy=self.strategy)

    def available(self, tried: Collection[Seat], now: float) -> list[Target]:
        """Returns every target that may be sent to; looks at all of them."""
        # In an outage that is most of them, at every request: none that is held back costs a call.
        return [target for target in self.targets if target.seat.until <= now and _is_free(target.seat, tried, now)]

    def _weighted(self, tried: Collection[Seat], now: float, source: random.Random) -> Target | None:
        targets, bounds = self.targets, self._bounds
        if not bounds:
            return None
        # What is drawn and not to be had is drawn again: the others keep their shares.
        for _ in range(_DRAWS):
            target = targets[bisect_right(bounds, int(source.random() * bounds[-1]))]
            if _is_free(target.seat, tried, now):
                return target
        return _draw(self.available(tried, now), source)

    def _compared(self, tried: Collection[Seat], now: float, source: random.Random) -> list[Target]:
        """Returns what a comparison looks at: all that is available, or of many a sample by weight."""
        if len(self.targets) <= _COMPARED:
            return self.available(tried, now)
        drawn = dict.fromkeys(self._weighted(tried, now, source) for _ in range(_SAMPLE))
        return [target for target in drawn if target is not None]

    def _bound(self, tried: Collection[Seat], now: float, session: int) -> Target | None:
        """Returns the target that this session belongs to; while that is away, always the same other one.

        Each target throws a dice of its own for the session and the lowest wins, so a target that comes or goes moves
        only its own share. Of many targets the session's number draws instead: all shares move when one comes or goes.
        """
        if len(self.targets) > _COMPARED:
            for attempt in range(2 * _DRAWS):
                ticket = (mix(session + attempt) >> 11) * _UNIT * self._bounds[-1]
                target = self.targets[bisect_right(self._bounds, int(ticket))]
                if _is_free(target.seat, tried, now):
                    return target
        best, lowest = None, inf
        for target in self.available(tried, now):
            score = -log(((mix(session ^ target.seat.salt) >> 11) + 1) * _UNIT) / target.weight
            if score < lowest:
                best, lowest = target, score
        return best


def _is_free(seat: Seat, tried: Collection[Seat], now: float) -> bool:
    """Nothing holds it back, and its account has room as far as limits are known."""
    return seat.until <= now and seat not in tried and (seat.channel.quota is None or seat.channel.full(now) is None)


def _draw(targets: Sequence[Target], source: random.Random) -> Target | None:
    if len(targets) < 2:
        return targets[0] if targets else None
    bounds = list(accumulate(target.weight for target in targets))
    return targets[bisect_right(bounds, int(source.random() * bounds[-1]))]


def _least_busy(targets: Sequence[Target], source: random.Random) -> Target | None:
    """Returns the target with the fewest calls under way for its weight."""
    loads = [target.seat.key.open / target.weight for target in targets]
    least = min(loads, default=0.0)
    return _draw([target for target, load in zip(targets, loads, strict=True) if load == least], source)


def _fastest(targets: Sequence[Target], now: float, source: random.Random) -> Target | None:
    """Returns one of the fastest targets. One that was never measured is asked first, once at a time."""
    unknown = [target for target in targets if not target.seat.latency and not target.seat.open]
    if unknown:
        return _draw(unknown, source)
    known = [(target.seat.latency_at(now), target) for target in targets if target.seat.latency]
    if not known:
        return _draw(targets, source)
    limit = min(latency for latency, _ in known) * _TOLERANCE
    return _draw([target for latency, target in known if latency <= limit], source)
