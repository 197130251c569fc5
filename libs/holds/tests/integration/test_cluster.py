"""Servers that are part of a Redis Cluster: one that has all keys is used, any other is named and left alone."""

import asyncio

import pytest
from tests.servers.valkey import ClusterNode

from tollgate_holds import HoldResult
from tollgate_holds.holds import Holds
from tollgate_holds.pipe import CLUSTER, RedisUnavailable, RedisUnusable

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 60


async def until(there):
    async with asyncio.timeout(PATIENCE_SECONDS):
        # Servers outside know of no event.
        while not there():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture
def make_server(tmp_path_factory):
    made = []

    def make():
        made.append(ClusterNode(tmp_path_factory.mktemp("c")))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
async def connect():
    made = []

    async def make(server, **options):
        made.append(Holds(server.url, **options))
        await made[-1].start()
        return made[-1]

    yield make
    for holds in made:
        await holds.close()


def said(caplog):
    return [one.message for one in caplog.records if one.name == "tollgate_holds.pipe"]


def alone(make_server):
    """Returns a server that is a cluster by itself."""
    server = make_server()
    server.own()
    return server


async def test_a_cluster_of_one_server_is_used_as_any_other(make_server, connect):
    holds = await connect(alone(make_server))
    assert await holds.wait_ready(PATIENCE_SECONDS)
    assert holds.away == ""
    for organization in ("org_1", "org_2"):
        await holds.rebuild(organization, 100)
        assert await holds.hold(organization, "req_1", 60, 60) is HoldResult.DONE


async def test_one_of_several_servers_is_named_once_and_left_alone(make_server, connect, caplog):
    first, second = make_server(), make_server()
    first.own(0, 8000)
    second.own(8001, 16_383)
    first.meet(second)
    holds = await connect(first)
    await until(lambda: holds.away)
    await until(lambda: holds.pipe.problem)
    assert holds.away == f"Redis cannot be used: {CLUSTER}"
    assert not holds.ready
    with pytest.raises(RedisUnavailable):
        await holds.balance("org_1")
    assert said(caplog) == ["Redis cannot be used"]


async def test_a_server_that_loses_keys_to_another_is_given_up_with_the_first_answer_that_says_so(
    make_server, connect, caplog
):
    server = alone(make_server)
    holds = await connect(server)
    assert await holds.wait_ready(PATIENCE_SECONDS)
    await holds.rebuild("org_1", 100)
    server.disown()
    with pytest.raises(RedisUnusable, match="Redis Cluster"):
        await holds.hold("org_1", "req_1", 60, 60)
    assert not holds.ready
    await until(lambda: holds.pipe.problem)
    assert said(caplog) == ["Redis cannot be used"]


async def test_a_server_that_can_be_used_again_is(make_server, connect):
    server = make_server()
    holds = await connect(server, unusable_seconds=0.05)
    await until(lambda: holds.pipe.problem)
    server.own()
    assert await holds.wait_ready(PATIENCE_SECONDS)
    assert (holds.away, holds.pipe.problem) == ("", "")
