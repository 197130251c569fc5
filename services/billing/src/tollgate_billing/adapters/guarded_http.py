"""POSTs to addresses that others chose: resolved here, judged, and connected to as judged; no redirect is followed."""

import asyncio
import contextlib
import http.client
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from tollgate_resources.egress import refusal
from tollgate_resources.ports import Ports

_MOST_ANSWER_BYTES: Final = 64 * 1024
_MOST_ADDRESSES: Final = 4
_CONNECT_SECONDS: Final = 5.0


class NotSent(Exception):  # noqa: N818 - what it is.
    """There was no answer; the message says why, without the URL, which may be a secret."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`retry_after_seconds` is 0 where none was asked for."""

    status: int
    body: bytes
    retry_after_seconds: int


class _Line:
    """The connection of one call, which another thread may cut."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._gone = False

    def take(self, made: socket.socket) -> socket.socket:
        """Keeps the connection and returns it. Raises OSError when it comes too late."""
        self._socket = made
        if self._gone:
            made.close()
            raise TimeoutError
        return made

    def cut(self) -> None:
        """Ends whatever waits for the connection."""
        self._gone = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class GuardedHttp:
    """`private_network` lets it reach loopback and private addresses, and use plain HTTP."""

    def __init__(
        self,
        ports: Ports,
        *,
        private_network: bool,
        timeout_seconds: float = 15.0,
        total_seconds: float = 40.0,
        threads: int = 8,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._ports = ports
        self._private_network = private_network
        self._timeout = timeout_seconds
        self._total = total_seconds
        self._tls = tls or ssl.create_default_context()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="notify")

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Returns the answer, whatever its status. Raises NotSent, also for one that drips in for too long."""
        line = _Line()
        try:
            async with asyncio.timeout(self._total):
                answer: Answer = await self.run(lambda: self._post(url, body, headers, line))
        except TimeoutError:
            # Its thread is still reading; without a connection it ends.
            line.cut()
            raise NotSent(f"no whole answer within {self._total:g} s") from None
        return answer

    async def run(self, work: Any) -> Any:
        """Returns what `work` returns, which ran in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Lets what runs end."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _post(self, url: str, body: bytes, headers: Mapping[str, str], line: _Line) -> Answer:
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        if not secure and not self._private_network:
            raise NotSent(
                "only https:// addresses are posted to; TOLLGATE_BILLING_NOTIFY_PRIVATE_NETWORK allows http://"
            )
        port = parts.port or (443 if secure else 80)
        refused = self._ports.refusal(port, private_network=self._private_network)
        if refused is not None:
            raise NotSent(refused)
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        try:
            connection.sock = line.take(self._connect(host, port, secure=secure))
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            named = {"content-type": "application/json; charset=utf-8", "user-agent": "tollgate"} | dict(headers)
            connection.request("POST", target, body, named)
            reply = connection.getresponse()
            after = reply.getheader("retry-after", "")
            seconds = int(after) if after.isascii() and after.isdecimal() and len(after) < 7 else 0
            return Answer(reply.status, reply.read(_MOST_ANSWER_BYTES), seconds)
        except (OSError, http.client.error) as error:
            raise NotSent(f"{host}: {type(error).__name__} {error}"[:300]) from None
        finally:
            connection.close()

    def _connect(self, host: str, port: int, *, secure: bool) -> socket.socket:
        """Returns a connection to an address that was judged. Raises NotSent or OSError."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        reasons = {one: refusal(one, private_network=self._private_network) for one in addresses}
        allowed = [one for one, reason in reasons.items() if reason is None][:_MOST_ADDRESSES]
        if not allowed:
            raise NotSent(f"{host} may not be reached: {'; '.join(filter(None, reasons.values()))}"[:300])
        last: OSError = OSError("no address answers")
        for address in allowed:
            try:
                plain = socket.create_connection((address, port), _CONNECT_SECONDS)
                plain.settimeout(self._timeout)
            except OSError as error:
                last = error
                continue
            return self._tls.wrap_socket(plain, server_hostname=host) if secure else plain
        raise last
