"""What is sent to a provider for one request, and what its reply passes on the way to the caller."""

import re
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from tollgate_router.domain.upstream_errors import UpstreamProblem
from tollgate_router.domain.usage import ReplyUsage

_UNSHOWN: Final = re.compile(r"[^A-Za-z0-9_.\-]")
_MOST_SHOWN: Final = 32
_MOST_SHOWN_LETTERS: Final = 64


class Filter(Protocol):
    """What a streamed reply passes on its way to the caller."""

    @property
    def problem(self) -> UpstreamProblem | None:
        """It was an error, or nothing that can be read; nothing more is returned then."""
        ...

    @property
    def done(self) -> bool:
        """All was said."""
        ...

    @property
    def usage(self) -> ReplyUsage | None:
        """The last usage that was reported."""
        ...

    @property
    def complete(self) -> bool:
        """It ended as it should."""
        ...

    @property
    def frames(self) -> int:
        """About how many frames went through: the stand-in for output tokens where usage is missing."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Takes what one read held; returns what may go to the caller now."""
        ...

    def finish(self) -> bytes:
        """The provider has ended; returns what is left."""
        ...


# A whole reply, as it goes to the caller, and what it used where it says so.
WholeReader = Callable[[bytes], "tuple[ReplyUsage | None, bytes] | UpstreamProblem"]


class Sending(msgspec.Struct, frozen=True):
    """`filter` is None for a reply that comes whole; `dropped` names what the provider's wire has no place for."""

    path: bytes
    body: bytes | tuple[bytes | memoryview, ...]
    filter: Filter | None
    read: WholeReader
    headers: tuple[tuple[bytes, bytes], ...] = ()
    dropped: tuple[str, ...] = ()
    typed: Callable[[bytes], bytes] | None = None
    """Takes the type of the provider's reply and returns the caller's; None where that is known without."""
    content_type: bytes = b""
    """Of a body that is no JSON."""
    bodies: tuple[bytes, ...] = ()
    """Of several calls instead of one, whose replies are joined: see `exchange.several`."""
    begun: ReplyUsage | None = None
    """What a whole reply is charged of which the caller does not wait for the end; None where its size tells that."""
    kept: Callable[[], int] | None = None
    """How many bytes of what has left the filter keeps, to say them again at the end; None where it keeps none."""


def shown_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns names as a header can carry them: callers invent some, of any letters, length and number."""
    plain = [_UNSHOWN.sub("_", name[:_MOST_SHOWN_LETTERS]) or "_" for name in names[:_MOST_SHOWN]]
    return (*plain, "...") if len(names) > _MOST_SHOWN else tuple(plain)
