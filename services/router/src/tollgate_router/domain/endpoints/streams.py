"""Replies that pass as they come and are no chat: sound as bytes, and events with sound or with text."""

from typing import Final

import msgspec

from tollgate_router.domain.endpoints.reading import sound_usage, spoken_usage
from tollgate_router.domain.upstream_errors import UpstreamProblem, error_of, problem_of_error, unreadable
from tollgate_router.domain.usage import ReplyUsage

_MAX_FRAME_BYTES: Final = 4 << 20
_EVENTS: Final = b"text/event-stream"
_NO_SOUND: Final = (b"application/json", b"text/")
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_ENCODER: Final = msgspec.json.Encoder()


class SoundBytes:
    """Sound on its way; how much was used is known before it begins, as `usage` says."""

    def __init__(self, usage: ReplyUsage) -> None:
        self.usage: ReplyUsage | None = usage
        self.problem: UpstreamProblem | None = None
        self.frames = 0
        self._refused = bytearray()
        self._is_sound = True

    def typed(self, content_type: bytes) -> bytes:
        """Takes the type of the provider's reply and returns the caller's."""
        self._is_sound = not content_type.lower().startswith(_NO_SOUND)
        return content_type or b"application/octet-stream"

    @property
    def done(self) -> bool:
        """Only the framing says where sound ends."""
        return False

    @property
    def complete(self) -> bool:
        return self.problem is None and self.frames > 0

    def feed(self, data: bytes) -> bytes:
        """Returns what came; what is no sound is kept back."""
        if self._is_sound:
            self.frames += 1
            return data
        if len(self._refused) < _MAX_FRAME_BYTES:
            self._refused += data
        return b""

    def finish(self) -> bytes:
        """The provider has ended: an error with status 200 is one all the same."""
        if not self._is_sound or not self.frames:
            found = error_of(bytes(self._refused))
            self.problem = problem_of_error(found) if found else unreadable()
        return b""


class _Event(msgspec.Struct):
    type: str = ""
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


_EVENT: Final = msgspec.json.Decoder(_Event)


class Events:
    """Events of speech or of a transcript: they pass as they are, the last one says what was used.

    `estimate` stands in where it does not. A model that does not stream answers as a whole, in JSON: its text becomes
    the two events that every reader understands.
    """

    def __init__(self, estimate: ReplyUsage, *, spoken: bool = False) -> None:
        self._read_usage = spoken_usage if spoken else sound_usage
        self._estimate = estimate
        self._said: ReplyUsage | None = None
        self._held = bytearray()
        self._is_stream = True
        self.problem: UpstreamProblem | None = None
        self.done = False
        self.frames = 0

    def typed(self, content_type: bytes) -> bytes:
        """Takes the type of the provider's reply and returns the caller's."""
        self._is_stream = content_type.lower().startswith(_EVENTS)
        return b"text/event-stream; charset=utf-8"

    @property
    def usage(self) -> ReplyUsage | None:
        return self._said or self._estimate

    @property
    def complete(self) -> bool:
        return self.problem is None and self.done

    def feed(self, data: bytes) -> bytes:
        """Returns the events that are whole now."""
        held = self._held
        held += data
        if len(held) > _MAX_FRAME_BYTES:
            self.problem = unreadable()
            held.clear()
        if self.problem is not None or not self._is_stream:
            return b""
        cut = max(held.rfind(b"\n\n") + 2, held.rfind(b"\r\n\r\n") + 4)
        if cut < 4:
            return b""
        ready = bytes(held[:cut])
        del held[:cut]
        for line in ready.splitlines():
            if line.startswith(b"data:"):
                self._read(line[5:].strip())
        return ready if self.problem is None else b""

    def _read(self, data: bytes) -> None:
        self.frames += 1
        if data == b"[DONE]":
            self.done = True
            return
        try:
            event = _EVENT.decode(data)
        except _BROKEN:
            self.problem = unreadable()
            return
        if bytes(event.error) != b"null":
            self.problem = problem_of_error(msgspec.json.decode(event.error))
        if event.type.endswith(".done"):
            self.done = True
            self._said = self._read_usage(event.usage) or self._said

    def finish(self) -> bytes:
        """The provider has ended."""
        held, self._held = bytes(self._held), bytearray()
        if self.problem is not None:
            return b""
        if self._is_stream:
            # The last event may come without its blank line.
            self._held = bytearray(held + b"\n\n" if held.strip() else b"")
            return self.feed(b"")
        return self._written(held)

    def _written(self, body: bytes) -> bytes:
        try:
            found = msgspec.json.decode(body)
        except _BROKEN:
            found = None
        text = found.get("text") if isinstance(found, dict) else None
        if not isinstance(text, str):
            error = error_of(body)
            self.problem = problem_of_error(error) if error else unreadable()
            return b""
        assert isinstance(found, dict)
        usage = found.get("usage")
        self.frames, self.done = 1, True
        self._said = self._read_usage(_ENCODER.encode(usage))
        last = {"type": "transcript.text.done", "text": text} | ({"usage": usage} if usage else {})
        events = ({"type": "transcript.text.delta", "delta": text}, last)
        return b"".join(b"data: %b\n\n" % _ENCODER.encode(event) for event in events)
