"""Stored responses on both databases: whose they are, how long, and that nothing of them can be read in the file."""

import asyncio

import pytest
import sqlalchemy as sa
from msgspec import structs

from tollgate_router.adapters.sql_responses import SqlResponses
from tollgate_router.domain.stored import StoredResponse
from tollgate_router.errors import StoreUnavailable
from tollgate_sealing.envelopes import Envelopes, KeyRing

pytestmark = pytest.mark.integration
OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/responses.sqlite"
    return request.getfixturevalue("postgresql").new_database("responses")


@pytest.fixture
async def store(url):
    made = SqlResponses(url, Envelopes(KeyRing([OLD])))
    await made.migrate()
    yield made
    made.close()


def response(number, *, project="p", expires=100, text="secret words"):
    previous = f"resp_{number - 1}" if number > 1 else ""
    return StoredResponse(f"resp_{number}", project, previous, 1, expires, b"[1]", text.encode())


async def test_kept_found_and_forgotten(store):
    await asyncio.gather(*(store.add(response(number)) for number in (3, 1, 2)))
    assert await store.get("p", "resp_2", 50) == response(2)
    assert [one.id for one in await store.chain("p", "resp_3", 50)] == ["resp_1", "resp_2", "resp_3"]
    assert await store.get("other", "resp_2", 50) is None
    assert await store.chain("other", "resp_2", 50) == []
    assert not await store.delete("other", "resp_1")
    assert await store.delete("p", "resp_1")
    assert not await store.delete("p", "resp_1")
    # A conversation with a hole in it cannot be gone on from.
    assert await store.chain("p", "resp_3", 50) == []


async def test_a_second_try_takes_the_place_of_the_first(store):
    await store.add(response(1))
    await store.add(response(1, text="again"))
    assert (await store.get("p", "resp_1", 50)).response == b"again"


async def test_the_end_of_their_time(store):
    await store.add(response(1, expires=10))
    await store.add(response(2, expires=20))
    assert await store.get("p", "resp_1", 10) is None
    assert (await store.purge(10), await store.purge(10)) == (1, 0)
    assert await store.get("p", "resp_2", 10) == response(2, expires=20)


def running(number, *, until=30, **more):
    return structs.replace(response(number, **more), status="queued", running_until_us=until)


def ended(one, status="completed", words=b"the answer"):
    return structs.replace(one, status=status, response=words, running_until_us=0)


async def test_what_runs_in_the_background_ends_once(store):
    one = running(1)
    await store.add(one)
    assert await store.get("p", "resp_1", 10) == one
    assert await store.finish(ended(one)) == "completed"
    # Whoever comes later is told what became of it, and changes nothing.
    assert await store.finish(ended(one, "cancelled", b"")) == "completed"
    assert await store.get("p", "resp_1", 10) == ended(one)
    assert await store.finish(ended(running(2))) == ""
    assert await store.get("p", "resp_2", 10) is None
    # One that did not run in the background has no end of this kind.
    await store.add(response(3))
    assert await store.finish(ended(running(3))) == ""
    assert await store.get("p", "resp_3", 10) == response(3)


async def test_ends_that_meet(store):
    one = running(1)
    await store.add(one)
    ways = ("completed", "cancelled", "failed")
    told = await asyncio.gather(*(store.finish(ended(one, way, way.encode())) for way in ways))
    (kept,) = set(told)
    found = await store.get("p", "resp_1", 10)
    assert (found.status, found.response.decode()) == (kept, kept)


async def test_processes_that_say_that_they_are_there(store):
    keys = {("p", f"resp_{number}") for number in range(1, 1101)}
    await asyncio.gather(*(store.add(running(number)) for number in (1, 2, 1100)))
    assert await store.renew(keys, (), 5, 35) == {("p", "resp_1"), ("p", "resp_2"), ("p", "resp_1100")}
    # Half of the time is left: nothing is written.
    assert (await store.get("p", "resp_1", 10)).running_until_us == 30
    assert await store.renew({("p", "resp_1")}, {("p", "resp_1")}, 20, 50) == {("p", "resp_1")}
    found = [await store.get("p", f"resp_{number}", 10) for number in (1, 2)]
    assert [(one.status, one.running_until_us) for one in found] == [("in_progress", 50), ("queued", 30)]
    # One process looks after its time is over, another has said that it goes on.
    lost = ended(running(1), "failed")
    assert await store.finish(lost, lost_at_us=40) == "in_progress"
    assert await store.finish(lost, lost_at_us=50) == "failed"
    assert await store.renew({("p", "resp_1")}, {("p", "resp_1")}, 60, 90) == set()
    assert await store.get("p", "resp_1", 10) == lost


async def test_rows_of_a_release_that_knew_no_background(store, url):
    await store.add(response(1))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        columns = "project_id, id, previous_id, created_at_us, expires_at_us, sealed"
        connection.execute(sa.text(f"CREATE TABLE kept AS SELECT {columns} FROM responses"))
        connection.execute(sa.text("DELETE FROM responses"))
        connection.execute(sa.text(f"INSERT INTO responses ({columns}) SELECT {columns} FROM kept"))
    engine.dispose()
    assert await store.get("p", "resp_1", 50) == response(1)


async def test_sealed_for_their_project_by_keys_that_may_change(store, url):
    await store.add(response(1))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        (sealed,) = connection.execute(sa.text("SELECT sealed FROM responses")).one()
        assert b"secret words" not in bytes(sealed)
        connection.execute(sa.text("UPDATE responses SET project_id = 'thief'"))
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await store.get("thief", "resp_1", 50)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE responses SET project_id = 'p'"))
    engine.dispose()
    for keys, opens in (((NEW, OLD), True), ((NEW,), False)):
        other = SqlResponses(url, Envelopes(KeyRing(keys)))
        if opens:
            assert await other.get("p", "resp_1", 50) == response(1)
        else:
            with pytest.raises(StoreUnavailable):
                await other.get("p", "resp_1", 50)
        other.close()


async def test_a_database_that_is_away():
    made = SqlResponses("postgresql+psycopg://nobody@127.0.0.1:1/x", Envelopes(KeyRing([OLD])))
    for step in (made.migrate, lambda: made.get("p", "resp_1", 1), lambda: made.add(response(1))):
        with pytest.raises(StoreUnavailable):
            await step()
    made.close()
