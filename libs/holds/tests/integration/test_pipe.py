"""A pipe is closed at any moment: whatever it was doing, nothing of it is left."""

import asyncio

import hiredis
import pytest

from tollgate_holds.pipe import RedisPipe, RedisUnavailable

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60
# Turns of the loop from the beginning until long after a connection is there.
TURNS = 40


@pytest.fixture
async def server(tmp_path):
    """Answers every command with OK; returns where it listens."""

    async def serve(reader, writer):
        commands = hiredis.Reader()
        while data := await reader.read(65_536):
            commands.feed(data)
            while commands.gets():
                writer.write(b"+OK\r\n")
        writer.close()

    listening = await asyncio.start_unix_server(serve, tmp_path / "s")
    yield f"unix://{tmp_path / 's'}"
    listening.close()
    await listening.wait_closed()


@pytest.mark.parametrize("turns", range(TURNS))
async def test_closing_ends_whatever_turn_connecting_has_reached(server, turns):
    async def prepare(pipe):
        await pipe.call_unready("PING")

    before = asyncio.all_tasks()
    pipe = RedisPipe(server, prepare=prepare)
    pipe.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await pipe.close()
    assert not pipe.ready
    with pytest.raises(RedisUnavailable):
        await pipe.call("PING")
    keeping = [task for task in asyncio.all_tasks() - before if "_keep_connected" in repr(task)]
    assert not keeping
