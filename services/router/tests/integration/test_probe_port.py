"""The port of active probes: one suite for the fake and for the real client against a server of its own."""

import asyncio
from dataclasses import replace

import pytest
from services.router.tests.fakes.probes import FakeProbePort

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_kit.clock import SystemClock
from tollgate_resources import load_catalogue
from tollgate_router.domain.probes import ProbeRequest
from tollgate_router.domain.quirks.wire import WireQuirks
from tollgate_router.domain.target import Origin, Target
from tollgate_router.domain.upstream_errors import Bench
from tollgate_router.upstream.client import UpstreamClient
from tollgate_router.upstream.probe import UpstreamProbe

pytestmark = pytest.mark.integration

LIST = ProbeRequest(b"GET", b"/models", b"", accepted=frozenset({404}))
TOKEN = ProbeRequest(b"POST", b"/chat/completions", b"{}")


class Server:
    """Answers every request with one status; 0 closes at once. Keeps the request lines and bodies."""

    def __init__(self, status, body=b"{}"):
        self._status = status
        self._body = body
        self.asked = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        self.asked.append((head.split(b"\r\n")[0], b"key" in head, await reader.readexactly(length)))
        if self._status:
            head = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            writer.write(head % (self._status, len(self._body)) + self._body)
        writer.close()


def target(port):
    return Target("a", 0, "p", Origin("http", "127.0.0.1", port, True), "/v1", "m", True, 1, b"authorization: key\r\n")


ANSWERS = [
    (LIST, 200, None, Bench.NONE),
    (LIST, 404, None, Bench.NONE),
    (LIST, 401, errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, Bench.CREDENTIALS),
    (LIST, 503, errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, Bench.NONE),
    (TOKEN, 200, None, Bench.NONE),
    (TOKEN, 402, errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS, Bench.BALANCE),
    (TOKEN, 429, errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, Bench.NONE),
    (TOKEN, 404, errors.ERROR_KIND_UPSTREAM_UNAVAILABLE, Bench.NONE),
]


@pytest.mark.parametrize("real", [False, True], ids=["fake", "real"])
@pytest.mark.parametrize(("request_", "status", "kind", "bench"), ANSWERS)
async def test_an_answer(real, request_, status, kind, bench):
    async with Server(status) as server:
        client = UpstreamClient(SystemClock())
        port = UpstreamProbe(client, SystemClock()) if real else FakeProbePort(status)
        try:
            found = await port.ask(target(server.port), request_)
        finally:
            await client.close()
    assert (found.kind if found else None) == kind
    assert (found.bench if found else Bench.NONE) is bench
    if real:
        line = request_.method + b" /v1" + request_.path + b" HTTP/1.1"
        assert server.asked == [(line, True, request_.body)]


async def test_what_a_refusal_means_is_what_the_data_of_the_provider_says():
    body = b'{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"You exceeded your current quota"}}'
    catalogue = load_catalogue()
    quirks = WireQuirks(catalogue.quirks_of(catalogue.providers["gemini"]))
    async with Server(429, body) as server:
        client = UpstreamClient(SystemClock())
        try:
            found = await UpstreamProbe(client, SystemClock()).ask(replace(target(server.port), quirks=quirks), TOKEN)
        finally:
            await client.close()
    # Not an empty account, which would bench the credential.
    assert found is not None
    assert (found.kind, found.bench) == (errors.ERROR_KIND_UPSTREAM_RATE_LIMITED, Bench.NONE)


class NoToken:
    """Of a credential whose token server gives none."""

    def proof(self, *_):
        """Nothing yet."""


async def test_without_a_token_nothing_is_sent_and_nothing_known():
    async with Server(200) as server:
        client = UpstreamClient(SystemClock())
        try:
            found = await UpstreamProbe(client, SystemClock()).ask(replace(target(server.port), signer=NoToken()), LIST)
        finally:
            await client.close()
    assert (found.blameless, client.open_connections) == (True, 0)


@pytest.mark.parametrize("real", [False, True], ids=["fake", "real"])
async def test_no_answer(real):
    async with Server(0) as server:
        client = UpstreamClient(SystemClock())
        port = UpstreamProbe(client, SystemClock()) if real else FakeProbePort(0)
        try:
            found = await port.ask(target(server.port), LIST)
        finally:
            await client.close()
    assert found.retryable
    assert client.open_connections == 0
