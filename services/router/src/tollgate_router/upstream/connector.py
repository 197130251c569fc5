"""Opening connections: a name, an address that may be reached, a proxy perhaps, TLS perhaps."""

import asyncio
import socket
import ssl
from collections.abc import Callable

from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.reaching import Proxy
from tollgate_router.domain.target import Origin
from tollgate_router.upstream.connection import Connection
from tollgate_router.upstream.names import CannotConnect, Names
from tollgate_router.upstream.racing import open_first, race
from tollgate_router.upstream.tls import TlsContexts
from tollgate_router.upstream.tunnel import open_tunnel

__all__ = ["CannotConnect", "Connector"]

Make = Callable[[socket.socket], Connection]


class Connector:
    """Knows how to reach an origin. `delay_seconds` is how long an address may keep silent before the next is tried."""

    def __init__(self, names: Names, contexts: TlsContexts, *, delay_seconds: float) -> None:
        self._names = names
        self._contexts = contexts
        self._delay_seconds = delay_seconds

    async def connect(self, origin: Origin, make: Make, seconds: float) -> Connection:
        """Returns an open connection within `seconds`. Raises CannotConnect."""
        try:
            async with asyncio.timeout(seconds):
                if origin.scheme == "http":
                    link = await self._reach(origin)
                    _, connection = await asyncio.get_running_loop().create_connection(lambda: make(link), sock=link)
                    return connection
                return await self._connect_tls(origin, make)
        except TimeoutError:
            raise CannotConnect(FailureKind.CONNECT_TIMEOUT, f"{origin.authority} did not answer in time") from None

    async def _connect_tls(self, origin: Origin, make: Make) -> Connection:
        try:
            context = self._contexts.of(origin.tls)
        except (OSError, ssl.SSLError) as error:
            raise CannotConnect(FailureKind.TLS, f"the channel's certificates: {error}") from error
        link = await self._reach(origin)
        try:
            # From here on the loop owns the descriptor, and closes it whatever happens: closing it here as well could
            # close another connection that was given the same number.
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: make(link), sock=link, ssl=context, server_hostname=origin.tls.server_name or origin.host
            )
        except ssl.SSLError as error:
            raise CannotConnect(FailureKind.TLS, str(error)) from error
        except TimeoutError:
            raise
        except OSError as error:
            raise CannotConnect(FailureKind.TLS, f"the handshake broke off: {error}") from error
        return connection

    async def _reach(self, origin: Origin) -> socket.socket:
        """Returns a socket whose other end is the origin."""
        proxy = origin.proxy
        if proxy is None:
            addresses = await self._names.addresses(origin.host, origin.port, private_network=origin.private_network)
            return await open_first(addresses, origin.port, self._delay_seconds)
        if proxy.resolves:
            hosts = [origin.host]
            self._names.judge(origin.host, origin.port, private_network=origin.private_network)
        else:
            # The guard holds behind the proxy as well: it is handed addresses that were judged, not the name.
            hosts = await self._names.addresses(origin.host, origin.port, private_network=origin.private_network)
        addresses = await self._names.addresses(proxy.host, proxy.port, private_network=proxy.private_network)

        async def tunnel(host: str) -> socket.socket:
            return await self._tunnel(proxy, addresses, f"[{host}]" if ":" in host else host, origin.port)

        # Which families reach the origin is known to the proxy alone.
        return await race(hosts, tunnel, self._delay_seconds)

    async def _tunnel(self, proxy: Proxy, addresses: list[str], host: str, port: int) -> socket.socket:
        try:
            link = await open_first(addresses, proxy.port, self._delay_seconds)
        except CannotConnect as error:
            # That is so for every address of the origin.
            raise CannotConnect(error.kind, f"the proxy: {error.detail}") from error
        try:
            # The port is named even where it is the scheme's own: this authority has no scheme.
            await open_tunnel(link, f"{host}:{port}", proxy.authorization)
        except BaseException:
            link.close()
            raise
        return link

    async def close(self) -> None:
        """Stops what is being looked up."""
        await self._names.close()
