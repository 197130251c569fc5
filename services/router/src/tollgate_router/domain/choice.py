"""Which target answers: levels in order, weights within a level, none of them twice."""

import random
from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate

from tollgate_router.domain.target import Target


class Level:
    """Targets that are tried before those of the next level. A target of weight 0 is never chosen."""

    __slots__ = ("_bounds", "targets")

    def __init__(self, targets: tuple[Target, ...]) -> None:
        self.targets = tuple(target for target in targets if target.weight > 0)
        self._bounds = list(accumulate(target.weight for target in self.targets))

    def choose(self, tried: Collection[Target], source: random.Random) -> Target | None:
        """Returns a target by weight among those not yet tried, or None."""
        if not tried:
            return self._weighted(self.targets, self._bounds, source)
        left = tuple(target for target in self.targets if target not in tried)
        return self._weighted(left, list(accumulate(target.weight for target in left)), source)

    @staticmethod
    def _weighted(targets: tuple[Target, ...], bounds: list[int], source: random.Random) -> Target | None:
        if len(targets) < 2:
            return targets[0] if targets else None
        ticket = source.randrange(bounds[-1])
        return next(target for target, bound in zip(targets, bounds, strict=True) if ticket < bound)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Everything that may serve one model for one route group."""

    levels: tuple[Level, ...]

    def choose(self, tried: Collection[Target], source: random.Random) -> Target | None:
        """Returns the next target: a level is exhausted before the next begins. None when all were tried."""
        if not tried and len(first := self.levels[0].targets) == 1:
            return first[0]
        for level in self.levels:
            target = level.choose(tried, source)
            if target is not None:
                return target
        return None
