"""Server-sent events out of bytes that may be cut anywhere."""

from typing import Final

_MAX_FRAME_BYTES: Final = 1 << 24
_ENDS: Final = (b"\n\n", b"\r\n\r\n")


class TooLong(ValueError):  # noqa: N818 - what came, not a fault of ours.
    """A frame that does not end."""


class EventReader:
    """Returns (event name, data) of each whole frame; comments, ids and frames without data are passed over."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Takes what one read held. Raises TooLong."""
        held = self._held + data if self._held else data
        if b"\r" in held:
            # A pair may be cut in two: what ends in CR waits for what follows.
            tail = b"\r" if held.endswith(b"\r") else b""
            held = held[: len(held) - len(tail)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + tail
        *frames, self._held = held.split(b"\n\n")
        if len(self._held) > _MAX_FRAME_BYTES:
            raise TooLong("a frame of the stream does not end")
        return [found for frame in frames if (found := _read(frame)) is not None]

    def finish(self) -> list[tuple[bytes, bytes]]:
        """The stream has ended: returns a last frame that no blank line followed."""
        held, self._held = self._held.replace(b"\r", b"\n"), b""
        found = _read(held)
        return [] if found is None else [found]


class WholeFrames:
    """Returns the frames that are whole, as they came: for a stream that passes untouched."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Takes what one read held; returns what stands before the last blank line. Raises TooLong."""
        if not self._held and data.endswith(_ENDS):
            return data
        held = self._held + data
        plain = held.rfind(b"\n\n")
        mixed = held.rfind(b"\r\n\r\n", max(plain - 1, 0))
        cut = mixed + 4 if mixed >= 0 else plain + 2 if plain >= 0 else 0
        self._held = held[cut:]
        if len(self._held) > _MAX_FRAME_BYTES:
            raise TooLong("a frame of the stream does not end")
        return held[:cut]

    def finish(self) -> bytes:
        """The stream has ended: returns what no blank line followed."""
        held, self._held = self._held, b""
        return held


def _read(frame: bytes) -> tuple[bytes, bytes] | None:
    name, data = b"", []
    for line in frame.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return (name, b"\n".join(data)) if data else None
