"""Ids of the events of the last half hour of a partition: what a producer sends twice comes twice within it.

Time is the log's, never the clock's, so that a batch which is made again after a crash judges the same.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

WINDOW_US: Final = 30 * 60 * 1_000_000
_SLOT_US: Final = 5 * 60 * 1_000_000
_SLOTS: Final = WINDOW_US // _SLOT_US


class RecentIds:
    """A set of 16-byte ids in slots of five minutes."""

    def __init__(self, ids: Iterable[tuple[bytes, int]] = ()) -> None:
        self._slots: dict[int, set[bytes]] = {}
        self._newest = 0
        for event_id, at_us in ids:
            self.add(event_id, at_us)

    def __len__(self) -> int:
        return sum(len(slot) for slot in self._slots.values())

    def add(self, event_id: bytes, at_us: int) -> None:
        """Remembers the id of a record that was appended at `at_us`."""
        number = at_us // _SLOT_US
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = set()
            if number > self._newest:
                self._newest = number
                for old in [one for one in self._slots if one < number - _SLOTS - 1]:
                    del self._slots[old]
        slot.add(event_id)

    def add_all(self, ids: Sequence[bytes], at_us: Sequence[int]) -> None:
        """Remembers ids, each with when its record was appended."""
        if not ids:
            return
        self.add(ids[0], at_us[0])
        number = at_us[0] // _SLOT_US
        if min(at_us) // _SLOT_US == number == max(at_us) // _SLOT_US:
            self._slots.get(number, set()).update(ids)
            return
        for event_id, at in zip(ids, at_us, strict=True):
            self.add(event_id, at)

    def has_none(self, ids: AbstractSet[bytes]) -> bool:
        """Tells that none of these ids is remembered, whenever it came."""
        return all(slot.isdisjoint(ids) for slot in self._slots.values())

    def has(self, event_id: bytes, at_us: int) -> bool:
        """Tells whether the id came in the half hour before `at_us`, or after it."""
        oldest = at_us // _SLOT_US - _SLOTS
        return any(number >= oldest and event_id in slot for number, slot in self._slots.items())
