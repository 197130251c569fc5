"""Refused requests on their way to the request log: best effort, within limits, and in nobody's way.

A second has room for so many rows, of one caller for a quarter of them, so that a storm hides nobody else; what is
beyond is counted, and the next row says how many were left out. Rows gather until `flush`, and what the event log does
not take is tried again until there are too many of them.
"""

from typing import Any, Final

from tollgate.events.v1 import refused_pb2 as events
from tollgate_edge.errors import PublicError
from tollgate_edge.inference.room import Room
from tollgate_kit.event_log import EventLogUnavailable, EventProducer, Record

TOPIC: Final = "request.refused.v1"
_MOST_WAITING: Final = 5_000
_MOST_TOGETHER: Final = 400
_LONGEST_MESSAGE: Final = 500
_LONGEST_NAME: Final = 256


class RefusedLog:
    """One per process; `rows_per_second` 0 writes nothing."""

    def __init__(self, producer: EventProducer, rows_per_second: int) -> None:
        self._producer = producer
        self._room = Room(rows_per_second)
        self._left_out = 0
        self._waiting: list[events.RequestRefused] = []
        self.written = 0
        self.dropped = 0
        self.failures = 0

    def room(self, caller: str, now: float) -> bool:
        """Tells whether a refusal of this caller becomes a row; one that does not is counted. `now` in seconds."""
        if not self._room.most:
            return False
        if len(self._waiting) < _MOST_WAITING and self._room.take(caller, now):
            return True
        self.dropped += 1
        self._left_out += 1
        return False

    def add(self, row: events.RequestRefused) -> None:
        """Takes a row that there was room for; texts are cut where they are too long."""
        row.left_out, self._left_out = self._left_out, 0
        for name, longest in (("message", _LONGEST_MESSAGE), ("model", _LONGEST_NAME)):
            text = getattr(row, name)
            if len(text) > longest:
                setattr(row, name, text[:longest])
        self._waiting.append(row)

    async def flush(self) -> None:
        """Sends what has gathered; what the event log refuses stays for the next time."""
        while self._waiting:
            batch = self._waiting[:_MOST_TOGETHER]
            value = events.RequestsRefused(requests=batch).SerializeToString()
            try:
                await self._producer.send(TOPIC, [Record(batch[0].request_id.encode(), value)])
            except EventLogUnavailable:
                self.failures += 1
                return
            del self._waiting[: len(batch)]
            self.written += len(batch)


def told(error: PublicError) -> dict[str, Any]:
    """Returns the fields of a row that say what the caller was told."""
    return {"status": error.status, "code": error.code[:100], "message": error.message}
