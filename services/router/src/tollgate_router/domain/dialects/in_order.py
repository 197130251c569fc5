"""Events in the order of dialects whose parts stand one behind the other.

While a call is not whole, what does not belong to it waits; then the pieces of each waiting call come together.
"""

from collections.abc import Iterable
from io import StringIO
from typing import Final

from tollgate_router.domain.dialects.members import parse_json
from tollgate_router.domain.dialects.neutral import CallArguments, CallBegan, Event, Finished

_NONE: Final = -1


class InOrder:
    """One streamed reply."""

    def __init__(self) -> None:
        self._call = _NONE
        self._arguments = StringIO()
        self._waiting: list[Event] = []

    def take(self, event: Event) -> Iterable[Event]:
        """Yields what may be said now."""
        if isinstance(event, Finished):
            yield event
        elif self._call != _NONE and not (isinstance(event, CallArguments) and event.number == self._call):
            self._waiting.append(event)
            if _is_whole(self._arguments.getvalue()):
                yield from self._release()
        elif isinstance(event, CallBegan):
            self._call, self._arguments = event.number, StringIO()
            yield event
        elif not isinstance(event, CallArguments):
            yield event
        elif event.number == self._call:
            self._arguments.write(event.json)
            yield event

    def rest(self) -> Iterable[Event]:
        """Yields what still waits at the end."""
        while self._waiting:
            yield from self._release()

    def _release(self) -> Iterable[Event]:
        """The call that was open is over."""
        self._call = _NONE
        waited, self._waiting = sorted(self._waiting, key=_call_number), []
        for event in waited:
            yield from self.take(event)


def _call_number(event: Event) -> int:
    return event.number if isinstance(event, CallBegan | CallArguments) else _NONE


def _is_whole(arguments: str) -> bool:
    if not arguments:
        return False
    try:
        parse_json(arguments)
    except ValueError:
        return False
    return True
