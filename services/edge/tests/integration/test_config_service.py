"""The configuration service and its client, over a real socket: how router, billing and media-jobs follow edge."""

import asyncio
import contextlib

import grpc
import pytest
from services.edge.tests.fakes.stores import FakeVersionStore, Memory

from tollgate.config.v1 import config_pb2, config_pb2_grpc
from tollgate_edge.api.config_service import ConfigService
from tollgate_edge.use_cases.follow_version import VersionHolder
from tollgate_kit.clock import ManualClock
from tollgate_kit.config_client import ConfigClient
from tollgate_kit.grpc_io import new_channel, new_server
from tollgate_resources import Declared, compile_version, digest, environment_channels, load_catalogue

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60
CATALOGUE = load_catalogue()
ONE = compile_version(Declared(), CATALOGUE)
TWO = compile_version(environment_channels({}, CATALOGUE, "http://127.0.0.1:1/v1"), CATALOGUE)


class Server:
    def __init__(self, folder):
        self.address = f"unix:{folder}/edge.sock"
        self.store, self.clock = FakeVersionStore(Memory()), ManualClock()
        self.holder = VersionHolder(self.store)

    async def publish(self, document):
        await self.store.publish({}, digest(document), document, self.clock.now_us())
        await self.holder.refresh()

    @contextlib.asynccontextmanager
    async def running(self):
        server, stopping = new_server(self.address), asyncio.Event()
        config_pb2_grpc.add_ConfigServiceServicer_to_server(ConfigService(self.holder, self.store, stopping), server)
        await server.start()
        try:
            yield
        finally:
            stopping.set()
            await server.stop(2)


class Follower:
    """A service that follows; `refuse` names digests that it cannot work with."""

    def __init__(self, address, folder):
        self.applied, self.refuse = asyncio.Queue(), set()
        self.client = ConfigClient([address], folder, self.apply)

    def apply(self, found, document):
        if found in self.refuse:
            self.applied.put_nowait(("refused", document))
            raise ValueError("not for me")
        assert digest(document) == found
        self.applied.put_nowait(("applied", document))

    async def next(self):
        return await asyncio.wait_for(self.applied.get(), PATIENCE_SECONDS)

    @contextlib.asynccontextmanager
    async def running(self):
        stopping = asyncio.Event()
        task = asyncio.create_task(self.client.run(stopping))
        try:
            yield
        finally:
            stopping.set()
            await asyncio.wait_for(task, PATIENCE_SECONDS)


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


async def test_versions_are_asked_for_one_by_one(server):
    async with server.running(), new_channel(server.address) as channel:
        stub = config_pb2_grpc.ConfigServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetCurrentVersion(config_pb2.GetCurrentVersionRequest())
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        await server.publish(ONE)
        current = (await stub.GetCurrentVersion(config_pb2.GetCurrentVersionRequest())).version
        assert current.digest == digest(ONE)
        found = await stub.GetVersion(config_pb2.GetVersionRequest(digest=current.digest))
        assert found.document == ONE
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.GetVersion(config_pb2.GetVersionRequest(digest="sha256:none"))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_service_that_starts_before_edge_waits_and_then_follows(server, tmp_path):
    follower = Follower(server.address, tmp_path / "state")
    async with follower.running():
        assert follower.client.missing()
        async with server.running():
            await server.publish(ONE)
            assert await follower.next() == ("applied", ONE)
            await server.publish(TWO)
            assert await follower.next() == ("applied", TWO)
            assert follower.client.missing() is None


async def test_a_service_starts_from_its_copy_while_edge_is_away_and_catches_up(server, tmp_path):
    first = Follower(server.address, tmp_path / "state")
    async with server.running(), first.running():
        await server.publish(ONE)
        assert await first.next() == ("applied", ONE)
    again = Follower(server.address, tmp_path / "state")
    async with again.running():
        assert await again.next() == ("applied", ONE)
        await server.publish(TWO)
        async with server.running():
            assert await again.next() == ("applied", TWO)


async def test_a_version_that_is_refused_leaves_the_one_before_on_disk(server, tmp_path):
    follower = Follower(server.address, tmp_path / "state")
    follower.refuse = {digest(TWO)}
    async with server.running(), follower.running():
        await server.publish(ONE)
        assert await follower.next() == ("applied", ONE)
        await server.publish(TWO)
        assert await follower.next() == ("refused", TWO)
        assert follower.client.digest == digest(ONE)
    again = Follower(server.address, tmp_path / "state")
    async with again.running():
        assert await again.next() == ("applied", ONE)


async def test_bytes_that_are_not_those_of_the_digest_are_never_applied(server, tmp_path):
    follower = Follower(server.address, tmp_path / "state")
    async with server.running(), follower.running():
        await server.publish(ONE)
        assert await follower.next() == ("applied", ONE)
        server.store.memory.documents[digest(TWO)] = TWO + b" "
        await server.publish(TWO)
        changed = compile_version(environment_channels({"OPENAI_API_KEY": "x"}, CATALOGUE), CATALOGUE)
        await server.publish(changed)
        assert await follower.next() == ("applied", changed)
