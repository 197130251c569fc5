"""When records that cannot be used stop their partition: so many on end are no accident of one producer.

A release of routers that this billing does not understand yet, a topic that somebody else writes to: what comes after
them is most likely the same, and whoever sets all of it aside has no usage booked and nobody who looks.
"""

from collections.abc import Sequence
from typing import Final

POISON_LIMIT: Final = 100


def count_on_end(before: int, places: Sequence[int], count: int) -> tuple[int, int]:
    """Returns how many on end are poison at most, and up to the last record.

    Of `count` records those at `places`, in their order, are poison; `before` were so on end before the first.
    """
    most = last = before
    expected = 0
    for place in places:
        last = last + 1 if place == expected else 1
        most = max(most, last)
        expected = place + 1
    return most, last if expected == count else 0
