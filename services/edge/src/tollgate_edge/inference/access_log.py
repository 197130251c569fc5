"""One line of JSON for a request, written when it has ended: who asked for what, where it went, and what it cost.

No line holds a secret, a URL or anything of a body. Lines gather for a moment and leave in one write.
"""

import asyncio
import logging
import os
import random
from collections.abc import Callable
from typing import Final, Literal

import msgspec

log = logging.getLogger(__name__)

Mode = Literal["off", "sampled", "on"]

_GATHER_SECONDS: Final = 0.2
_GATHER_BYTES: Final = 64 * 1024


class AccessLine(msgspec.Struct, kw_only=True):
    """The fields of a line, in their order. What is not known is empty, 0 or null. Times in milliseconds."""

    # RFC 3339, of the request's end.
    ts: str
    type: str = "access"
    request_id: str
    trace_id: str = ""
    organization_id: str = ""
    project_id: str = ""
    api_key_id: str = ""
    operation: str = ""
    # As the caller wrote it.
    model: str = ""
    stream: bool = False
    # Of the last attempt.
    channel: str = ""
    # Tries at routers, and upstream calls of the last one.
    tries: int = 0
    attempts: int = 0
    # 499: the caller went away before the reply began.
    status: int = 0
    # Name of an Outcome: ok, refused, upstream_cut and so on.
    outcome: str = ""
    # Code of the error that the caller was told, in the reply or at the end of a stream.
    error: str = ""
    request_bytes: int = 0
    response_bytes: int = 0
    # From the last byte of the request: to the router's stream, to the first and to the last byte of the reply.
    queue_ms: float | None = None
    first_byte_ms: float | None = None
    total_ms: float = 0.0
    # What the caller pays, in pico-units of its currency; null where only billing will know.
    charge_pico: int | None = 0
    # Lines before this one that were left out, since there were too many in a second.
    dropped: int = 0


class AccessLog:
    """Decides which requests become a line, and writes them. `write` gets whole lines."""

    def __init__(
        self,
        mode: Mode,
        *,
        sample_ratio: float,
        lines_per_second: int,
        random_source: random.Random,
        write: Callable[[bytes], None],
    ) -> None:
        self._all = mode == "on"
        # The share of requests without a reason of their own; 0 asks for no random number.
        self._share = sample_ratio if mode == "sampled" else 0.0
        self._sampled = mode == "sampled"
        self._most = lines_per_second
        self._random = random_source
        self._write = write
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._second = 0
        self._in_second = 0
        self._left_out = 0
        self.written = 0
        self.dropped = 0

    def wants(self, *, failed: bool, kept: bool) -> bool:
        """Tells whether a request becomes a line; `kept`: its trace is kept, so it is a slow or a retried one, too."""
        return (
            failed
            or self._all
            or (self._sampled and (kept or (self._share > 0 and self._random.random() < self._share)))
        )

    def add(self, line: AccessLine, now: float) -> None:
        """Takes a line, unless there were too many in this second of the loop's clock."""
        second = int(now)
        if second != self._second:
            self._second, self._in_second = second, 0
        if self._in_second >= self._most:
            self.dropped += 1
            self._left_out += 1
            return
        self._in_second += 1
        line.dropped, self._left_out = self._left_out, 0
        encoded = self._encode(line) + b"\n"
        self._lines.append(encoded)
        self._size += len(encoded)
        self.written += 1
        if self._size >= _GATHER_BYTES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHER_SECONDS, self.flush)

    def flush(self) -> None:
        """Writes what has gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines, self._size = self._lines, [], 0
        if lines:
            self._write(b"".join(lines))


class StandardOutput:
    """Writes to a descriptor until that fails, and says so once: requests go on without their lines."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._failed = False

    def __call__(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            if not self._failed:
                log.error("the access log cannot be written", extra={"fields": {"error": str(error)}})  # noqa: TRY400 - the words say it all.
            self._failed = True
        else:
            self._failed = False


def new_access_log(
    mode: Mode, sample_ratio: float, lines_per_second: int, write: Callable[[bytes], None] | None = None
) -> AccessLog:
    """Returns an access log on standard output, or on what takes whole lines."""
    return AccessLog(
        mode,
        sample_ratio=sample_ratio,
        lines_per_second=lines_per_second,
        random_source=random.Random(),  # noqa: S311 - picks samples, keeps no secret.
        write=write or StandardOutput(),
    )
