"""What gathers for one organization until the next call to Redis."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from tollgate_edge.inference.guarding import Breakable
from tollgate_edge.inference.limits import Ticket
from tollgate_holds import HoldResult, LimitSet, Operation

Flat = list[bytes | str | int]
T = TypeVar("T")
# By whether it is paid ahead, and whether another try of the request holds already.
_HOLD: Final = {
    (True, False): Operation.HOLD.value,
    (False, False): Operation.HOLD_POSTPAID.value,
    (True, True): Operation.HOLD_AGAIN.value,
    (False, True): Operation.HOLD_AGAIN_POSTPAID.value,
}
_POSTPAID: Final = (Operation.HOLD_POSTPAID.value, Operation.HOLD_AGAIN_POSTPAID.value)


class Admitted(Breakable, Protocol):
    """A request that waits for its hold, until `admission_deadline` of the loop's clock.

    `tries` counts those that began: where one did, the hold is to take the place of that one's.
    """

    hold_id: str
    tries: int
    admission_deadline: float
    started_us: int
    ticket: Ticket | None

    def admitted(self, result: HoldResult | None) -> None:
        """Called once: the result, or None when Redis could not be asked in time."""
        ...


@dataclass(slots=True)
class Limited:
    """Operations within limits. `gates` has three numbers for each: index of its limits in `sets`, tokens, second."""

    sets: list[LimitSet] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    holds: Flat = field(default_factory=list)
    hold_gates: list[int] = field(default_factory=list)
    waiting: list[Admitted] = field(default_factory=list)
    others: Flat = field(default_factory=list)
    other_gates: list[int] = field(default_factory=list)

    def hold(self, request: Admitted, ticket: Ticket, amount_pico: int, *, prepaid: bool) -> None:
        """Adds a hold."""
        self.holds += (_HOLD[prepaid, request.tries > 0], request.hold_id, amount_pico)
        self.hold_gates += (self._place(ticket.limits), ticket.tokens, ticket.second)
        self.waiting.append(request)

    def other(self, operation: bytes, hold_id: str, amount: int, ticket: Ticket, tokens: int) -> None:
        """Adds a settle or its like."""
        self.others += (operation, hold_id, amount)
        self.other_gates += (self._place(ticket.limits), tokens, ticket.second)

    def use_budget(self, limits: LimitSet, place: int, window: str, amount: int) -> None:
        """Adds what a budget took before."""
        self.others += (b"u", window, amount)
        self.other_gates += (self._place(limits), place, 0)

    def put_before(self, older: "Limited", most: int) -> None:
        """Puts operations that have to be sent again before these; of their settles at most so many parts."""
        places = [self._place(limits) for limits in older.sets]
        holds, others = older.hold_gates, older.other_gates[:most]
        for at in range(0, len(holds), 3):
            holds[at] = places[holds[at]]
        for at in range(0, len(others), 3):
            others[at] = places[others[at]]
            # What was corrected already, if it was, must not be corrected again.
            others[at + 2] = -abs(others[at + 2])
        self.holds[:0], self.hold_gates[:0], self.waiting[:0] = older.holds, holds, older.waiting
        self.others[:0], self.other_gates[:0] = older.others[:most], others

    def keep(self, places: list[int]) -> None:
        """Keeps the holds at these places only."""
        self.holds = _parts(self.holds, places)
        self.hold_gates = _parts(self.hold_gates, places)
        self.waiting = [self.waiting[place] for place in places]

    def _place(self, limits: LimitSet) -> int:
        """Returns the index of these limits, by identity: those of a key are made once and cached with it."""
        place = self.places.get(id(limits))
        if place is None:
            place = self.places[id(limits)] = len(self.sets)
            self.sets.append(limits)
        return place


@dataclass(slots=True, eq=False)
class Batch:
    """Operations of one organization that go out together; `waiting` are the holds, in the order of `operations`."""

    operations: Flat = field(default_factory=list)
    waiting: list[Admitted] = field(default_factory=list)
    others: Flat = field(default_factory=list)
    limited: Limited | None = None

    def hold(self, request: Admitted, amount_pico: int) -> None:
        """Adds a hold without limits."""
        self.operations += (_HOLD[True, request.tries > 0], request.hold_id, amount_pico)
        self.waiting.append(request)

    def take_all(self) -> list[Admitted]:
        """Takes out all who wait: whoever answers them, or has them wait elsewhere, does so once."""
        found, self.waiting = self.waiting, []
        if self.limited is not None:
            found, self.limited.waiting = found + self.limited.waiting, []
        return found

    def put_before(self, older: "Batch", most: int) -> None:
        """Puts operations that have to be sent again before these; of their settles at most so many parts."""
        self.operations[:0], self.waiting[:0] = older.operations, older.waiting
        self.others[:0] = older.others[:most]
        if older.limited is not None:
            if self.limited is None:
                self.limited = Limited()
            self.limited.put_before(older.limited, most)

    def take_late(self, now: float) -> list[Admitted]:
        """Takes out the holds of requests whose time to wait is over."""
        late, kept = _split(self.waiting, now)
        if late:
            self.operations = _parts(self.operations, kept)
            self.waiting = [self.waiting[place] for place in kept]
        if self.limited is not None:
            more, kept = _split(self.limited.waiting, now)
            if more:
                self.limited.keep(kept)
                late += more
        return late

    def replace_late(
        self, now: float, instead: Callable[[Admitted], Admitted]
    ) -> tuple[list[Admitted], list[tuple[Admitted, int]]]:
        """Puts others in the places of requests whose time to wait is over: the replies are still to come.

        Returns those who were replaced: the ones that need Redis, and those who pay later, each with its amount.
        """
        bound, later, limited = [], [], self.limited
        for place, request in enumerate(self.waiting):
            if request.admission_deadline < now:
                self.waiting[place] = instead(request)
                bound.append(request)
        for place, request in enumerate(limited.waiting if limited is not None else ()):
            if limited is not None and request.admission_deadline < now:
                limited.waiting[place] = instead(request)
                if limited.holds[place * 3] in _POSTPAID:
                    later.append((request, int(limited.holds[place * 3 + 2])))
                else:
                    bound.append(request)
        return bound, later

    def take_postpaid(self) -> list[tuple[Admitted, int]]:
        """Takes out the holds of those who pay later, each with its amount."""
        limited = self.limited
        if limited is None:
            return []
        found = [
            (request, int(limited.holds[place * 3 + 2]))
            for place, request in enumerate(limited.waiting)
            if limited.holds[place * 3] in _POSTPAID
        ]
        if found:
            limited.keep([place for place in range(len(limited.waiting)) if limited.holds[place * 3] not in _POSTPAID])
        return found


def one_by_one(waiting: list[Admitted]) -> Iterator[Admitted]:
    """Yields all who wait, in order. Each is taken out when the next one is asked for.

    Where an error ends that, those whom nobody has answered are there still, in the reverse order.
    """
    waiting.reverse()
    while waiting:
        yield waiting[-1]
        waiting.pop()


def _split(waiting: list[Admitted], now: float) -> tuple[list[Admitted], list[int]]:
    """Returns the late ones, and the places of the others."""
    late = [request for request in waiting if request.admission_deadline < now]
    return late, [place for place, request in enumerate(waiting) if request.admission_deadline >= now] if late else []


def _parts(flat: list[T], places: list[int]) -> list[T]:
    return [part for place in places for part in flat[place * 3 : place * 3 + 3]]
