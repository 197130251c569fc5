"""One small HTTP request over TCP or a Unix socket, with the standard library only."""

import json
import socket
from typing import Any


def get_json(address: str, path: str, headers: tuple[str, ...] = (), seconds: float = 2.0) -> tuple[int, Any]:
    """Returns status and decoded body (None when it is no JSON) of `GET path` at `host:port` or `unix:PATH`.

    Raises OSError when nobody answers.
    """
    with _connect(address, seconds) as connection:
        head = "".join(f"{line}\r\n" for line in (f"GET {path} HTTP/1.0", "Host: localhost", *headers))
        connection.sendall(head.encode() + b"\r\n")
        answer = b""
        while more := connection.recv(65536):
            answer += more
    first, _, body = answer.partition(b"\r\n\r\n")
    words = first.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise ConnectionError(f"{address} does not speak HTTP")
    try:
        return int(words[1]), json.loads(body)
    except ValueError:
        return int(words[1]), None


def ping_redis(path: str, seconds: float = 2.0) -> bool:
    """Tells whether a Redis server answers PING at a Unix socket. Raises OSError when nobody listens."""
    with _connect(f"unix:{path}", seconds) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")


def _connect(address: str, seconds: float) -> socket.socket:
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host, int(port)), seconds)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    try:
        connection.connect(address.removeprefix("unix:"))
    except OSError:
        connection.close()
        raise
    return connection
