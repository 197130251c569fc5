import pytest

from tollgate_holds.holds import Holds


@pytest.fixture(scope="session")
def redis_url(valkey):
    """The address of a server of this session's own."""
    return valkey.url


@pytest.fixture
async def holds(redis_url):
    """Holds on a server that has nothing in it."""
    made = Holds(redis_url, timeout_seconds=60)
    await made.start()
    assert await made.wait_ready(60)
    await made.pipe.call("FLUSHALL")
    yield made
    await made.close()
