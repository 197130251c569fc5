"""One charge per request: which events are booked, which are dropped, and which lose to another.

| an event                                       | becomes                                            |
|------------------------------------------------|----------------------------------------------------|
| whose id was seen                              | nothing                                            |
| that is not final                              | a row without charge                               |
| final, the first of its request                | a row with its charge                              |
| final, not above the one that has the charge   | a row with charge 0, its cost booked to loss       |
| final, above the one that has the charge       | a row with its charge; the other one loses: in     |
|                                                | place when it is of the same batch, by an          |
|                                                | adjustment row when an earlier batch booked it     |

Above is: confirmed over unconfirmed over witness, then the higher try. An event by which billing books what edge
settled a try with, since that try's own event never came, is above every final of an earlier try and below all others:
edge had given the earlier one up, and whatever comes of its own try or a later one takes its place. No three finals go
round in a circle by that: edge settles a try or is its witness, and has no second try of one that was confirmed.

An event by which billing rates a final later, which had no price, replaces that final and nothing else: it is as high
as that one, counts where that one still carries the charge, and is nothing otherwise.

An event by which billing takes back a final that stands beside another one of its request is a row without charge, with
an adjustment of that final, as long as both stand; it is nothing otherwise. Two stand where an event came again, too
late to be recognised, without saying that it might have come before.

What was booked is known from rows, and rows may be lost. Finals that were compared with others are therefore kept by
the ledger, too: none of them is booked again, and what has to be compared with one of them whose row is gone is set
aside until the row is back.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cmp_to_key
from types import MappingProxyType
from typing import Final, NamedTuple

from tollgate_billing.domain.event import Event, outranks, repeated_id, rerated_id
from tollgate_billing.domain.recent import RecentIds

ROW_LOST: Final = (
    "a usage row of its request is lost, so that nobody knows here what was charged; `tollgate usage rebuild` writes it"
    " again, and then this can be replayed"
)


class KeptFinal(NamedTuple):
    """A final that was compared with others when it was booked, as the ledger keeps it beside its transfers.

    `stands`: nothing has taken its charge back so far.
    """

    event_id: bytes
    request_id: str
    offset: int
    started_at_us: int
    stands: bool


# By request: the ids of such finals, and whether each stands.
KeptFinals = Mapping[str, Mapping[bytes, bool]]


# Where in the log an event was: epoch, topic, partition, offset.
LogPlace = tuple[str, str, int, int]


@dataclass(frozen=True, slots=True)
class Booked:
    """An event that an earlier batch has booked. `row` is its row in the usage store."""

    event_id: bytes
    request_id: str
    final: bool
    # It lost when it was booked, or an adjustment took its charge back since.
    superseded: bool
    rank: tuple[int, int]
    row: Mapping[str, object]
    place: LogPlace = ("", "", 0, 0)


@dataclass(slots=True)
class Judged:
    """An event that becomes a row. `lost`: at charge 0. `corrects`: whose charge is taken back by an adjustment."""

    event: Event
    exceptional: bool
    lost: bool = False
    corrects: Booked | None = None

    @property
    def charge_pico(self) -> int:
        fields = self.event.fields
        return 0 if self.lost or not fields.final else fields.charge_pico


def looked_up(events: Iterable[Event], open_requests: AbstractSet[str]) -> frozenset[str]:
    """Returns the requests whose earlier events matter for these."""
    names = {event.fields.request_id for event in events if event.exceptional}
    if open_requests:
        names.update(event.fields.request_id for event in events if event.fields.request_id in open_requests)
    return frozenset(names)


def without_row(finals: KeptFinals, rows: AbstractSet[bytes]) -> set[str]:
    """Returns the requests of which a final stands that is none of the events that have rows."""
    return {request for request, of in finals.items() if any(of[event_id] for event_id in of.keys() - rows)}


def set_aside(events: Iterable[Event], history: Mapping[str, Sequence[Booked]], finals: KeptFinals) -> list[Event]:
    """Returns the new finals of requests of which a final stands that has no row: nobody can compare them now."""
    rows = {one.event_id for booked in history.values() for one in booked}
    if not (lost := without_row(finals, rows)):
        return []
    known = rows.union(*finals.values())
    return [event for event in events if event.final and event.request_id in lost and event.event_id not in known]


def judge(
    events: Sequence[Event],
    recent: RecentIds,
    looked: frozenset[str],
    history: Mapping[str, Sequence[Booked]],
    finals: KeptFinals = MappingProxyType({}),
) -> tuple[list[Judged], int]:
    """Returns what is booked, in the log's order, and how many events were dropped."""
    kept: list[Judged] = []
    known = {one.event_id for booked in history.values() for one in booked}.union(*finals.values())
    best: dict[str, Judged | Booked] = {
        request: standing[0] for request, booked in history.items() if (standing := standing_finals(booked))
    }
    dropped = 0
    ids = {event.fields.event_id for event in events}
    # As good as always all are new, which is seen at once.
    fresh = len(ids) == len(events) and known.isdisjoint(ids) and recent.has_none(ids)
    if fresh and not looked:
        return [Judged(event, exceptional=False) for event in events], 0
    # What is rated later comes after all that may have replaced it.
    for event in sorted(events, key=lambda one: one.rerated):
        event_id = event.fields.event_id
        if not fresh and (event_id in known or recent.has(event_id, event.at_us)):
            dropped += 1
            continue
        if event.rerated and not _stands(best.get(event.request_id), event_id):
            dropped += 1
            continue
        second = second_finals(history.get(event.request_id, ())).get(event_id) if event.repeated else None
        if event.repeated and second is None:
            dropped += 1
            continue
        known.add(event_id)
        judged = Judged(event, event.fields.request_id in looked, lost=event.repeated, corrects=second)
        kept.append(judged)
        if judged.exceptional and event.final and not event.repeated:
            _compare(judged, best)
    # Fields are kept by column in the log's order.
    kept.sort(key=lambda one: one.event.offset)
    return kept, dropped


def standing_finals(booked: Iterable[Booked]) -> list[Booked]:
    """Returns the finals of a request that carry a charge, the best one first; more than one is one too many.

    Rows of one event and place were inserted again, and are one: the ledger has booked it once.
    """
    first_of: dict[tuple[bytes, object], Booked] = {}
    for one in booked:
        if one.final and not one.superseded:
            first_of.setdefault((one.event_id, one.place), one)
    return sorted(first_of.values(), key=cmp_to_key(_order))


def _order(one: Booked, other: Booked) -> int:
    return outranks(other.rank, one.rank) - outranks(one.rank, other.rank)


def second_finals(booked: Sequence[Booked]) -> dict[bytes, Booked]:
    """Returns the finals that stand beside a better or an earlier one, by the id of the event that takes each back.

    Where an event has rows of several places, its own adjustment would not say of which one: there the event that takes
    one back stands for it.
    """
    places = Counter(event_id for event_id, _ in {(one.event_id, one.place) for one in booked})
    found: dict[bytes, Booked] = {}
    for one in standing_finals(booked)[1:]:
        taken_back = repeated_id(one.event_id, one.place)
        found[taken_back] = replace(one, event_id=taken_back) if places[one.event_id] > 1 else one
    return found


def _stands(other: Judged | Booked | None, event_id: bytes) -> bool:
    """Tells whether the final that this event rates later carries the charge."""
    return isinstance(other, Booked) and rerated_id(other.event_id) == event_id


def _compare(judged: Judged, best: dict[str, Judged | Booked]) -> None:
    request = judged.event.request_id
    other = best.get(request)
    if other is None:
        best[request] = judged
        return
    rank = other.rank if isinstance(other, Booked) else other.event.rank
    if not outranks(judged.event.rank, rank) and not judged.event.rerated:
        judged.lost = True
        return
    if isinstance(other, Booked):
        judged.corrects = other
    else:
        other.lost = True
        judged.corrects, other.corrects = other.corrects, None
    best[request] = judged
