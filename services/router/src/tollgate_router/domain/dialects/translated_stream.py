"""A streamed reply on its way from a provider's wire into the caller's dialect."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import structs

from tollgate_router.domain.dialects.citations import Places
from tollgate_router.domain.dialects.google_signature import marked
from tollgate_router.domain.dialects.neutral import (
    STOP,
    Began,
    CallArguments,
    CallBegan,
    Citation,
    Event,
    Finished,
    Signature,
    TextDelta,
    text_length,
    with_calls,
)
from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.domain.usage import ReplyUsage

if TYPE_CHECKING:
    from tollgate_router.domain.dialects.translate import Translation

_NAMELESS: Final = Began("", "")


class StreamTranslation:
    """One such reply; only what is not whole is held back, and how it ended. `ended`: its end was written."""

    def __init__(self, translation: "Translation") -> None:
        self._translation = translation
        self._reader = translation.reader()
        self._writer = translation.writer()
        self._repeats = translation.repeats
        # Of the two wires one may tell places by bytes.
        self._places = Places() if translation.reads_in_bytes != translation.writes_in_bytes else None
        self._events = 0
        self._kept = 0
        self._began = False
        self._called = False
        # Nothing may stand behind the reason, and some say more: it goes out last.
        self._finish: Finished | None = None
        self.ended = False

    @property
    def problem(self) -> UpstreamProblem | None:
        return self._reader.problem

    @property
    def usage(self) -> ReplyUsage | None:
        return self._reader.usage

    @property
    def done(self) -> bool:
        return self._reader.done or self.ended

    @property
    def complete(self) -> bool:
        return self.problem is None and (self._reader.done or self._reader.finished)

    @property
    def frames(self) -> int:
        return self._events

    def kept(self) -> int:
        """Returns how much text of what came is held here: arguments of calls, and what the last event repeats."""
        return self._kept + (0 if self._places is None else self._places.kept)

    def feed(self, data: bytes) -> bytes:
        """Takes what one read held; returns what may go to the caller now."""
        written = b"" if self.ended else self._write(self._reader.feed(data))
        return written + self._end() if self._reader.done else written

    def finish(self) -> bytes:
        """The provider has ended: a stream that gave its reason ends well in the caller's dialect, too."""
        written = b"" if self.ended else self._write(self._reader.finish())
        return written + self._end() if self.complete else written

    def _write(self, events: Iterable[Event]) -> bytes:
        found = [self._renamed(event) for event in self._begun(events)]
        if self._places is not None:
            found = [self._placed(event, self._places) for event in found]
        self._events += len(found)
        for event in found:
            if isinstance(event, CallArguments):
                self._kept += len(event.json)
            elif self._repeats:
                self._kept += text_length(event)
        return self._writer.write(found)

    def _begun(self, events: Iterable[Event]) -> Iterable[Event]:
        """Yields one beginning before all else, whether the provider says none or several; the reason waits."""
        for event in events:
            if isinstance(event, Finished):
                self._finish = event
                continue
            if not self._began and not isinstance(event, Began):
                yield _NAMELESS
            self._called = self._called or isinstance(event, CallBegan)
            if isinstance(event, CallBegan) and event.signature and self._translation.signs_thoughts:
                yield Signature(marked(event.signature))
            if not self._began or not isinstance(event, Began):
                self._began = True
                yield event

    def _end(self) -> bytes:
        if self.ended or self.problem is not None:
            return b""
        self.ended = True
        finish = self._finish or Finished(STOP)
        finish = with_calls(finish) if self._called else finish
        last = (finish,) if self._began else (_NAMELESS, finish)
        return self._writer.write(last) + self._writer.end(self.usage)

    def _placed(self, event: Event, places: Places) -> Event:
        if isinstance(event, TextDelta):
            places.add(event.text)
        elif isinstance(event, Citation):
            return places.in_letters(event) if self._translation.reads_in_bytes else places.in_bytes(event)
        return event

    def _renamed(self, event: Event) -> Event:
        return (
            structs.replace(event, name=self._translation.renamed(event.name))
            if isinstance(event, CallBegan)
            else event
        )
