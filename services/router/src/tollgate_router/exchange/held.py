"""What requests hold: long bodies, and replies on their way in, whole ones or what is not whole of a stream."""

from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_router.domain.sending import Filter, Sending
from tollgate_router.domain.upstream_errors import UpstreamProblem

# Of one reply, held without being counted: a whole reply is seldom longer, and no stream in ordinary times.
UNCOUNTED_BYTES: Final = 256 * 1024
# A list of small pieces takes many times their bytes.
_MOST_PIECES: Final = 64
_MAX_ERROR_BYTES: Final = 64 * 1024
_TOO_LARGE: Final = UpstreamProblem(errors.ERROR_KIND_UPSTREAM_PROTOCOL, "The provider's answer is too large.")
# Another target's answer would take as much room, and nothing is wrong with this one.
_NO_ROOM: Final = UpstreamProblem(
    errors.ERROR_KIND_UNAVAILABLE,
    "The gateway holds too many long answers that are not whole yet. Try again in a moment.",
    retry_after_ms=1000,
    blameless=True,
)


class Memory:
    """What all requests of a process hold of one kind. `bytes` is the sum, `refused` how often there was no room."""

    __slots__ = ("_most", "bytes", "refused")

    def __init__(self, most: int) -> None:
        self._most = most
        self.bytes = 0
        self.refused = 0

    def change(self, before: int, now: int) -> bool:
        """Counts `now` bytes in place of `before`; returns whether there is room for them, else counts nothing."""
        if now > before and self.bytes + now - before > self._most:
            self.refused += 1
            return False
        self.bytes += now - before
        return True


class Memories:
    """One per process. `most_each` is the largest reply."""

    __slots__ = ("bodies", "most_each", "replies")

    def __init__(self, *, bodies: int, replies: int, most_each: int) -> None:
        self.bodies = Memory(bodies)
        self.replies = Memory(replies)
        self.most_each = most_each


class Held:
    """The part of a request that knows what it holds. A reply counts in the memory of all from `UNCOUNTED_BYTES` on."""

    __slots__ = ("_body_counted", "_counted", "_memories", "_reply", "_reply_size")

    def __init__(self, memories: Memories) -> None:
        self._memories = memories
        self._reply: list[bytes | bytearray] = []
        self._reply_size = self._counted = self._body_counted = 0

    def _hold_body(self, size: int) -> bool:
        """Takes room for a long body; returns whether there is any."""
        found = self._memories.bodies.change(self._body_counted, size)
        if found:
            self._body_counted = size
        return found

    def _gather(self, data: bytes, status: int) -> UpstreamProblem | None:
        """Adds a piece of a reply that is wanted whole; returns why it is too much. Of an error its beginning is kept.

        The first piece, which mostly is all, is not copied.
        """
        size = self._reply_size
        if status != 200 and size >= _MAX_ERROR_BYTES:
            return None
        self._reply_size = size = size + len(data)
        parts = self._reply
        if parts and type(parts[0]) is bytearray:
            parts[0] += data
        elif not parts or (size <= UNCOUNTED_BYTES and len(parts) < _MOST_PIECES):
            parts.append(data)
        else:
            parts[:] = [bytearray().join((*parts, data))]
        return self._count(size) if size > UNCOUNTED_BYTES else None

    def _hold_back(self, found: Filter, asked: Sending, size: int) -> UpstreamProblem | None:
        """Counts what a stream's filter holds: `size` bytes that came, 0 when something left, and what it keeps.

        Returns why that is too much.
        """
        idle = not size or found.done or found.problem is not None
        self._reply_size = 0 if idle else self._reply_size + size
        held = self._reply_size + (asked.kept() if asked.kept is not None else 0)
        return self._count(held) if held > UNCOUNTED_BYTES or self._counted else None

    def _count(self, held: int) -> UpstreamProblem | None:
        if held > self._memories.most_each:
            return _TOO_LARGE
        if not self._memories.replies.change(self._counted, held):
            return _NO_ROOM
        self._counted = held
        return None

    def _forget_reply(self) -> None:
        self._reply, self._reply_size = [], 0
        if self._counted:
            self._memories.replies.change(self._counted, 0)
            self._counted = 0

    def _forget_all(self) -> None:
        self._forget_reply()
        if self._body_counted:
            self._memories.bodies.change(self._body_counted, 0)
            self._body_counted = 0
