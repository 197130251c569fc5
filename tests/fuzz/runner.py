"""Searches for a case that a target does not stand, and makes it as small as it can."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Protocol

from tests.fuzz.cases import Case
from tests.fuzz.shrink import shrink


class Target(Protocol):
    """Something that reads bytes from outside, and what must hold whatever they are."""

    cost: ClassVar[int]
    """How many cases of the quickest target take as long as one of this: it tries so many times fewer."""

    def draw(self, source: Random) -> Case:
        """Returns a case; the same one for the same source."""
        ...

    def check(self, case: Case) -> None:
        """Raises, whatever it is, when the case shows a fault; AssertionError when a property does not hold."""
        ...

    def close(self) -> None:
        """Stops what the target started."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that fails: the `number`-th that was drawn, made small, and what it raises."""

    number: int
    case: Case
    error: Exception

    @property
    def words(self) -> str:
        """What was raised, and the last places it went through."""
        return "".join(traceback.format_exception(self.error, limit=-6)).strip()


@contextmanager
def opened(make: type[Target]) -> Iterator[Target]:
    """Makes a target and closes it."""
    target = make()
    try:
        yield target
    finally:
        target.close()


def search(target: Target, examples: int, seed: int) -> Finding | None:
    """Tries cases, `examples` for a cost of 1; returns the first one that fails, made small, or None.

    Bounded by count, never by time.
    """
    for number in range(max(1, examples // target.cost)):
        case = target.draw(Random(f"{seed}/{number}"))
        error = failure(target, case)
        if error is not None:
            return made_small(target, number, case, error)
    return None


def made_small(target: Target, number: int, case: Case, error: Exception) -> Finding:
    """Returns a case that fails as small as it can be while it shows the same fault."""
    same = _place(error)

    def fails(smaller: Case) -> bool:
        found = failure(target, smaller)
        return found is not None and _place(found) == same

    case = shrink(case, fails)
    return Finding(number, case, failure(target, case) or error)


def failure(target: Target, case: Case) -> Exception | None:
    """Returns what the case raises, or None."""
    try:
        target.check(case)
    except Exception as error:  # noqa: BLE001 - any error is what is looked for.
        return error
    return None


def _place(error: Exception) -> tuple[object, ...]:
    """Tells faults apart: the kind of error and the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return type(error), last.filename, last.lineno
