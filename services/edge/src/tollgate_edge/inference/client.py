"""What an exchange needs of the connection that its reply goes to."""

from typing import Protocol


class Client(Protocol):
    """`peer` is the address of the other end, empty where it has none."""

    peer: str

    def write(self, data: bytes) -> None:
        """Sends bytes; a vanished client is ignored."""
        ...

    def finish(self, *, keep: bool) -> None:
        """The reply is complete; the connection is kept for the next request or closed."""
        ...

    @property
    def write_paused(self) -> bool:
        """The client reads more slowly than we write."""
        ...
