"""HTTP to addresses that others can influence: resolved here, each address judged, and connected to as judged."""

import asyncio
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import httpcore
import httpx

from tollgate_resources.egress import refusal
from tollgate_resources.ports import Ports

_MAX_ADDRESSES: Final = 4


class EgressDenied(httpcore.ConnectError):
    """The address may not be reached from here; nothing was sent."""


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, ports: Ports, *, private_network: bool) -> None:
        self._ports = ports
        self._private_network = private_network
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore names it.
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        refused = self._ports.refusal(port, private_network=self._private_network)
        if refused is not None:
            raise EgressDenied(refused)
        error: Exception = EgressDenied(f"{host} has no address")
        for address in await self._resolve(host, port, timeout):
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
        raise error

    async def _resolve(self, host: str, port: int, seconds: float | None) -> list[str]:
        try:
            async with asyncio.timeout(seconds):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host} does not resolve in time") from None
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} does not resolve: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        refused = [refusal(address, private_network=self._private_network) for address in addresses]
        allowed = [address for address, reason in zip(addresses, refused, strict=True) if reason is None]
        if not allowed:
            raise EgressDenied("; ".join(filter(None, refused)) or f"{host} has no address")
        return allowed[:_MAX_ADDRESSES]

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx' own transport over connections that the guard has opened, each used once.

    A connection kept open may have been closed by the other side just then, which would make a clean refusal ambiguous.
    """

    def __init__(self, tls: ssl.SSLContext, ports: Ports, *, private_network: bool) -> None:
        super().__init__(verify=tls, trust_env=False)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_keepalive_connections=0,
            network_backend=_GuardedBackend(ports, private_network=private_network),
        )


class EgressClients:
    """Two clients: one for public addresses only, one for channels that may reach private ones."""

    def __init__(self, ports: Ports, *, ca_file: Path | None, connect_seconds: float, total_seconds: float) -> None:
        tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        # Between two bytes of an answer may lie all the time that drawing takes; the whole is limited by the caller.
        timeout = httpx.Timeout(total_seconds, connect=connect_seconds)
        self._clients = {
            private: httpx.AsyncClient(
                transport=_GuardedTransport(tls, ports, private_network=private),
                timeout=timeout,
                follow_redirects=False,
                trust_env=False,
                headers={"user-agent": "tollgate", "accept-encoding": "identity"},
            )
            for private in (False, True)
        }

    def client(self, *, private_network: bool) -> httpx.AsyncClient:
        """Returns the client for a channel."""
        return self._clients[private_network]

    async def close(self) -> None:
        """Closes what is open."""
        for client in self._clients.values():
            await client.aclose()
