"""Makes a case that fails as small as it can: leaves out parts of its bytes and lists, and lowers its numbers."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.fuzz.cases import Case

ATTEMPTS = 2000


def shrink(case: Case, fails: Callable[[Case], bool], attempts: int = ATTEMPTS) -> Case:
    """Returns the smallest case found with at most `attempts` tries that still `fails`; `case` itself does."""
    left = attempts
    progress = True
    while progress and left > 0:
        progress = False
        for name in case:
            for smaller in _smaller(case[name]):
                if left <= 0:
                    break
                left -= 1
                if fails({**case, name: smaller}):
                    case = {**case, name: smaller}
                    progress = True
                    break
    return case


def _smaller(value: Any) -> Iterator[Any]:
    """Yields simpler values, those that leave out most first."""
    if isinstance(value, bytes | str | list):
        yield from _shorter(value)
    if isinstance(value, list):
        for place, item in enumerate(value):
            for simpler in _smaller(item):
                yield [*value[:place], simpler, *value[place + 1 :]]
    elif isinstance(value, bytes):
        for place, byte in enumerate(value):
            if byte not in b"a\r\n":
                yield value[:place] + b"a" + value[place + 1 :]
    elif isinstance(value, bool):
        if value:
            yield False
    elif isinstance(value, int) and value > 0:
        yield from (0, value // 2, value - 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            for simpler in _smaller(item):
                yield {**value, name: simpler}


def _shorter(value: Any) -> Iterator[Any]:
    size = len(value)
    while size:
        for start in range(0, len(value), size):
            yield value[:start] + value[start + size :]
        size //= 2
