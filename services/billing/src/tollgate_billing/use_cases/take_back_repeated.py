"""Takes back what requests were charged twice, through the log, each once.

Nothing is noted about what was sent: what was taken back stands no more, and an event that is sent twice has the same
id. So whoever is killed in the middle asks again.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tollgate_billing.domain.event import DAY_US, MAX_EVENT_DAYS
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Booked, second_finals
from tollgate_billing.domain.repeated import repeated_event
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.letter_ports import UsageTopic
from tollgate_billing.ports import UsageBooks, UsageStore
from tollgate_kit.clock import Clock

# Late duplicates are rare; where there are more, the next call finds the others.
MAX_REQUESTS: Final = 10_000
# Of what began so long ago nothing is booked any more.
TOO_OLD: Final = "too_old"
_TOPIC: Final = "usage.recorded.v1"
_PAGE: Final = 500
# Before all rows there are, of any log.
_NO_BATCH: Final = Bounds("", "", 0, 0, 0)


@dataclass(slots=True)
class TakenBack:
    """Finals that stand beside another one of their request. `left_out` counts by reason; `more`: there are others."""

    seconds: list[Booked] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    more: bool = False


class TakeBackRepeated:
    def __init__(self, books: UsageBooks, store: UsageStore, topic: UsageTopic, clock: Clock) -> None:
        self._books = books
        self._store = store
        self._topic = topic
        self._clock = clock

    async def __call__(self, from_us: int, to_us: int, organization_id: str, *, apply: bool) -> TakenBack:
        """Returns what requests were charged beside their one charge; with `apply` it is taken back.

        Of requests of which a row was booked in this time, in microseconds. Raises InvalidQuery or Unavailable.
        """
        if not 0 <= from_us < to_us:
            raise InvalidQuery("the time that is asked for begins before it ends")
        requests = await self._books.repeated(from_us, to_us, MAX_REQUESTS + 1, organization_id)
        found = TakenBack(more=len(requests) > MAX_REQUESTS)
        names = [one.request_id for one in requests[:MAX_REQUESTS]]
        for first in range(0, len(names), _PAGE):
            history = await self._store.history({*names[first : first + _PAGE]}, _NO_BATCH)
            records = self._records([booked for _, booked in sorted(history.items())], found)
            if apply and records:
                await self._topic.send(_TOPIC, records)
                found.sent += len(records)
        return found

    def _records(self, requests: Sequence[Sequence[Booked]], found: TakenBack) -> list[tuple[bytes, bytes]]:
        oldest_us = self._clock.now_us() - (MAX_EVENT_DAYS - 1) * DAY_US
        records = []
        for booked in requests:
            for event_id, second in second_finals(booked).items():
                event = repeated_event(event_id, second)
                if event.started_at_us < oldest_us:
                    found.left_out[TOO_OLD] += 1
                    continue
                found.seconds.append(second)
                records.append((second.request_id.encode(), event.SerializeToString()))
        return records
