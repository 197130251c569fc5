"""The admin port of a process: /healthz, /readyz and /metrics over plain HTTP/1.1, one request per connection."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from tollgate_kit.lifecycle import Lifecycle

log = logging.getLogger(__name__)


def remove_stale(path: str) -> None:
    """Removes the socket file that a killed process left behind."""
    Path(path).unlink(missing_ok=True)


class AdminServer:
    """Serves health and metrics at `address` (`host:port` or `unix:PATH`; empty serves nothing).

    `config_digest` names the configuration version in force, empty before there is one; /readyz says it.
    """

    def __init__(
        self, address: str, lifecycle: Lifecycle, registry: CollectorRegistry, config_digest: Callable[[], str]
    ) -> None:
        self._address = address
        self._lifecycle = lifecycle
        self._registry = registry
        self._config_digest = config_digest
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begins to listen. Raises OSError when the address is taken."""
        if not self._address:
            return
        if self._address.startswith("unix:"):
            path = self._address.removeprefix("unix:")
            remove_stale(path)
            self._server = await asyncio.start_unix_server(self._answer, path)
        else:
            host, _, port = self._address.rpartition(":")
            self._server = await asyncio.start_server(self._answer, host, int(port))

    async def stop(self) -> None:
        """Closes the port."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            parts = head.split(b"\r\n", 1)[0].split(b" ")
            status, kind, body = self.route(parts[1].partition(b"?")[0] if len(parts) > 1 else b"")
            writer.write(
                b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
                % (status, kind, len(body))
            )
            writer.write(body)
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
            log.debug("admin request dropped: %s", error)
        finally:
            writer.close()

    def route(self, path: bytes) -> tuple[bytes, bytes, bytes]:
        """Returns status, content type and body of the answer to `path`."""
        if path == b"/healthz":
            return b"200 OK", b"application/json", json.dumps({"state": self._lifecycle.state.value}).encode()
        if path == b"/readyz":
            missing = self._lifecycle.missing()
            body = json.dumps(
                {
                    "ready": not missing,
                    "state": self._lifecycle.state.value,
                    "missing": missing,
                    "notes": self._lifecycle.notes(),
                    "config_digest": self._config_digest(),
                }
            ).encode()
            return (b"503 Service Unavailable" if missing else b"200 OK"), b"application/json", body
        if path == b"/metrics":
            return b"200 OK", b"text/plain; version=0.0.4; charset=utf-8", generate_latest(self._registry)
        return b"404 Not Found", b"application/json", b"{}"
