"""Reads a result from the address in a provider's answer: guarded, limited in size and time, without credentials."""

import asyncio
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from tollgate_media_jobs.adapters.egress import EgressClients, EgressDenied
from tollgate_media_jobs.errors import FetchFailed, FetchRefused

_MAX_REDIRECTS: Final = 2
_MAX_URL: Final = 8192
_TEMPORARY: Final = frozenset({408, 425, 429})


class HttpFetcher:
    def __init__(self, clients: EgressClients, *, max_bytes: int, total_seconds: float) -> None:
        self._clients = clients
        self._max_bytes = max_bytes
        self._total_seconds = total_seconds

    async def fetch(self, url: str, *, private_network: bool) -> bytes:
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._follow(url, private_network=private_network)
        except TimeoutError:
            raise FetchFailed(f"a result took longer than {self._total_seconds:g} s") from None
        except httpx.ConnectError as error:
            if isinstance(error.__cause__, EgressDenied):
                raise FetchRefused(f"a result lies where nothing is fetched: {error}") from error
            raise FetchFailed(f"a result cannot be reached: {error}") from error
        except httpx.InvalidURL as error:
            raise FetchRefused(f"a result's address is none: {error}") from error
        except httpx.HTTPError as error:
            raise FetchFailed(f"a result broke off: {type(error).__name__}") from error

    async def _follow(self, url: str, *, private_network: bool) -> bytes:
        for _ in range(_MAX_REDIRECTS + 1):
            _check(url, private_network=private_network)
            data, onward = await self._read(url, private_network=private_network)
            if onward is None:
                return data
            url = urljoin(url, onward)
        raise FetchRefused(f"a result is behind more than {_MAX_REDIRECTS} redirects")

    async def _read(self, url: str, *, private_network: bool) -> tuple[bytes, str | None]:
        client = self._clients.client(private_network=private_network)
        async with client.stream("GET", url) as reply:
            if reply.is_redirect:
                return b"", reply.headers.get("location", "")
            if reply.status_code in _TEMPORARY or reply.status_code >= 500:
                raise FetchFailed(f"a result answers {reply.status_code}")
            if reply.status_code != 200:
                raise FetchRefused(f"a result answers {reply.status_code}")
            data = bytearray()
            async for chunk in reply.aiter_bytes():
                data += chunk
                if len(data) > self._max_bytes:
                    raise FetchRefused(f"a result is larger than {self._max_bytes} bytes")
            return bytes(data), None


def _check(url: str, *, private_network: bool) -> None:
    """Raises FetchRefused for anything but https; http is for providers on a private network."""
    try:
        parts = urlsplit(url)
        allowed = {"https", "http"} if private_network else {"https"}
        usable = parts.scheme in allowed and parts.hostname and not parts.username and not parts.password
        usable = usable and len(url) <= _MAX_URL and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise FetchRefused("a result's address is not one that is fetched")
