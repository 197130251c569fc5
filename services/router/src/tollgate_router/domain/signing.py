"""Proof of who asks, where that is more than a fixed header: made for each request, or fetched and renewed."""

from collections.abc import Callable
from typing import Protocol

Body = bytes | tuple[bytes | memoryview, ...]


class Signer(Protocol):
    """What a credential of a cloud is used by."""

    def proof(self, method: bytes, authority: str, path: bytes, body: Body, now_us: int) -> bytes | None:
        """Returns header lines, each ending in CRLF; None while there are none: see `wait`.

        `path` is as it is sent, with its query; `now_us` is microseconds since the epoch.
        """
        ...

    def wait(self, then: Callable[[str], None]) -> Callable[[], None]:
        """Calls `then` once, when there is proof, or with what is wrong. Returns what gives up waiting."""
        ...

    def rejected(self) -> None:
        """The provider did not accept the last proof."""
        ...
