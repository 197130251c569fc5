"""The filter that a chat stream of Azure passes on its way to a caller of OpenAI's dialect.

What Azure's content filter adds has no place in a chunk as clients read it: a first chunk without a choice that judges
the prompt, and chunks whose choice has a judgement and no delta. They are left out; the rest passes as it came.
"""

from typing import Any, Final

import msgspec

from tollgate_router.domain.chat_stream import ChatStream

_MARKS: Final = (b'"prompt_filter_results"', b'"content_filter_offsets"')
_BROKEN: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


class _Chunk(msgspec.Struct):
    choices: list[dict[str, msgspec.Raw]] | None = None
    usage: Any = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


class AzureStream(ChatStream):
    """One reply; everything that is asked of it but for the bytes that go on is its parent's."""

    __slots__ = ()

    def feed(self, data: bytes) -> bytes:
        """Takes what one read held; returns what may go to the caller now."""
        return _as_chunks(super().feed(data))

    def finish(self) -> bytes:
        """The provider has ended; returns what is left."""
        return _as_chunks(super().finish())


def _as_chunks(ready: bytes) -> bytes:
    if not any(mark in ready for mark in _MARKS):
        return ready
    frames = ready.replace(b"\r\n", b"\n").split(b"\n\n")
    return b"".join(frame + b"\n\n" for frame in frames if frame and not _only_judges(frame))


def _only_judges(frame: bytes) -> bool:
    if not any(mark in frame for mark in _MARKS) or not frame.startswith(b"data:"):
        return False
    try:
        chunk = _CHUNK.decode(frame[5:])
    except _BROKEN:
        return False
    if not chunk.choices:
        return chunk.usage is None
    return all("delta" not in choice for choice in chunk.choices)
