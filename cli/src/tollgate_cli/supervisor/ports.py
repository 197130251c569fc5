"""Listening sockets that outlive the processes that serve them."""

import errno
import socket

BACKLOG = 2048
TRIES = 100


class NoPort(Exception):  # noqa: N818
    """No free port was found."""


def listen(port: int, *, tries: int = TRIES) -> socket.socket:
    """Returns a socket that listens on loopback at `port`, or the next free one; 0 takes any. Raises NoPort."""
    for candidate in range(port, min(port + tries, 65536)):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
        else:
            return listener
    raise NoPort(f"no port from {port} to {min(port + tries, 65536) - 1} is free")
