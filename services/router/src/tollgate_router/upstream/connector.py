"""Opening connections: name resolution, egress guard, TCP, TLS."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tollgate_kit.egress import refusal
from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.target import Origin
from tollgate_router.upstream.connection import Connection

_MAX_ADDRESSES: Final = 4


class CannotConnect(Exception):  # noqa: N818
    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Connector:
    """Knows how to reach an origin. `ca_file` holds certificates trusted besides the system's own."""

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None

    async def connect(self, origin: Origin, make: Callable[[], Connection], seconds: float) -> Connection:
        """Returns an open connection within `seconds`. Raises CannotConnect."""
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._resolve(origin)
                return await self._first_open(origin, addresses, make, seconds)
        except TimeoutError:
            raise CannotConnect(FailureKind.CONNECT_TIMEOUT, f"{origin.authority} did not answer in time") from None

    async def _resolve(self, origin: Origin) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(origin.host, origin.port, type=1)
        except (OSError, UnicodeError) as error:
            raise CannotConnect(FailureKind.REFUSED, f"{origin.host} does not resolve: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        refused = [refusal(address, private_network=origin.private_network) for address in addresses]
        allowed = [address for address, reason in zip(addresses, refused, strict=True) if reason is None]
        if not allowed:
            raise CannotConnect(FailureKind.DENIED, "; ".join(filter(None, refused)) or f"{origin.host} has no address")
        return allowed[:_MAX_ADDRESSES]

    async def _first_open(
        self, origin: Origin, addresses: list[str], make: Callable[[], Connection], seconds: float
    ) -> Connection:
        error: CannotConnect | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(seconds / len(addresses)):
                    return await self._open(origin, address, make)
            except TimeoutError:
                error = CannotConnect(FailureKind.CONNECT_TIMEOUT, f"{address} did not answer in time")
            except ssl.SSLError as problem:
                error = CannotConnect(FailureKind.TLS, str(problem))
            except OSError as problem:
                during_tls = origin.scheme == "https" and isinstance(
                    problem, ConnectionResetError | ConnectionAbortedError
                )
                error = CannotConnect(FailureKind.TLS if during_tls else FailureKind.REFUSED, str(problem))
        assert error is not None
        raise error

    async def _open(self, origin: Origin, address: str, make: Callable[[], Connection]) -> Connection:
        loop = asyncio.get_running_loop()
        if origin.scheme == "http":
            _, connection = await loop.create_connection(make, address, origin.port)
            return connection
        _, connection = await loop.create_connection(
            make, address, origin.port, ssl=self._tls_context(), server_hostname=origin.host
        )
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            # Verification and host names are on by default; SNI is the host name of the origin.
            context = ssl.create_default_context()
            if self._ca_file is not None:
                context.load_verify_locations(cafile=str(self._ca_file))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            self._tls = context
        return self._tls
