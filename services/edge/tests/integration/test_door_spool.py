"""The door when edge's own spool takes nothing more: what could not be witnessed is not begun."""

import os
from types import SimpleNamespace

import pytest
from pydantic import ValidationError
from services.edge.tests.fakes.door import answered, asked, clean, error_of, streaming
from services.edge.tests.fakes.inference import Bench, FakeStream, chat

from tollgate_edge.inference.witness import Witness
from tollgate_kit.clock import SystemClock
from tollgate_kit.spool import Spool

pytestmark = pytest.mark.integration


@pytest.fixture
def spool(tmp_path):
    found = Spool.open(tmp_path, max_bytes=200_000)
    yield found
    found.close()


@pytest.fixture
async def witnessed(spool):
    """The door with a witness that writes to `spool`."""
    witness = Witness(spool, SimpleNamespace(queue=lambda *_: None), SystemClock())
    async with Bench(witness=witness).serving() as made:
        yield made
        await clean(made)


@pytest.mark.parametrize("most", [1, 65_536])
async def test_a_spool_that_could_never_have_room_is_no_setting(most):
    with pytest.raises(ValidationError, match="spool_max_bytes"):
        Bench(spool_max_bytes=most)


async def test_the_smallest_spool_that_may_be_set_has_room(tmp_path):
    spool = Spool.open(tmp_path, max_bytes=Bench(spool_max_bytes=65_537).settings.spool_max_bytes)
    assert spool.has_room()
    spool.close()


async def refused(bench):
    """Sends a request that must be refused before anything is held for it."""
    held = list(bench.admission.held)
    client = await bench.client()
    client.send(chat())
    status, headers, body = await client.reply()
    assert (status, error_of(body)["code"], headers[b"retry-after"]) == (503, "service_unavailable", b"1")
    assert bench.admission.held == held
    return client


async def test_a_full_spool_refuses_requests_until_the_event_log_has_what_is_in_it(witnessed, spool):
    client, frame = await asked(witnessed, chat())
    sequences = []
    while spool.has_room():
        sequences.append(spool.append(b"x" * 1000))
        spool.flush()
    later = await refused(witnessed)
    # What was admitted before goes on.
    witnessed.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
    spool.discard(sequences)
    later.send(chat())
    assert (await answered(witnessed, later))[0] == 200


async def test_a_disk_that_cannot_be_written_refuses_requests_until_it_can(witnessed, spool, monkeypatch):
    whole = os.write

    def full(fd, data):
        if fd == spool._fd:
            raise OSError(28, "No space left on device")
        return whole(fd, data)

    client, _ = await streaming(witnessed)
    monkeypatch.setattr(os, "write", full)
    witnessed.stream.lose()
    await client.reply()
    witnessed.pool.streams.append(FakeStream())
    witnessed.later(1)
    later = await refused(witnessed)
    monkeypatch.setattr(os, "write", whole)
    # Nobody asks for anything meanwhile that would write.
    witnessed.later(2)
    witnessed.stream = witnessed.pool.streams[1]
    later.send(chat())
    assert (await answered(witnessed, later))[0] == 200
    assert spool.records == 1
