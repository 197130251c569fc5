"""What the tests of the router over real sockets share."""

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest
import pytest_asyncio
import uvloop
from tests.integration.faulty import RawServer
from tests.servers.process import wait_until

from tollgate_kit.clock import SystemClock
from tollgate_router.upstream.client import UpstreamClient

Serve = Callable[..., RawServer]


def pytest_asyncio_loop_factories(config, item):
    """The product runs on uvloop, whose transports differ from asyncio's in what they tell and refuse."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that do with each connection what they are told; at the end none may be left open."""
    servers: list[RawServer] = []

    def start(script: Callable[[socket.socket], None], host: str = "127.0.0.1", port: int = 0) -> RawServer:
        servers.append(RawServer(script, host, port).start())
        return servers[-1]

    yield start
    for server in servers:
        wait_until(lambda server=server: server.open == 0, "connections to be closed")
        server.stop()


@pytest_asyncio.fixture
async def make_client(serve):
    """Makes clients, and closes them before the servers of a test stop; no task of theirs may be left."""
    clients = []

    def make(clock=None, **options):
        clients.append(UpstreamClient(clock or SystemClock(), **options))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()
        assert client.active_calls == 0
        assert client.open_connections == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest_asyncio.fixture
async def client(make_client):
    return make_client()
