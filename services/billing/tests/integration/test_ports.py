"""Price books and dead letters: one suite each, for the fake that the unit tests use and for the real adapter."""

import asyncio
import tempfile
from pathlib import Path

import grpc
import pytest
from services.billing.tests.fakes.dead_letters import FakeDeadLetters
from services.billing.tests.fakes.prices import FakePrices

from tollgate.config.v1 import config_pb2, config_pb2_grpc
from tollgate_billing.adapters.dead_letters import TOPIC, DeadLetterTopic
from tollgate_billing.adapters.price_archive import PriceArchive
from tollgate_billing.errors import LedgerUnavailable
from tollgate_billing.ports import Letter
from tollgate_kit.event_log import new_consumer, new_producer
from tollgate_kit.grpc_io import new_server
from tollgate_kit.sql import Database
from tollgate_resources import Declared, PriceBook, compile_version, load_catalogue
from tollgate_resources.document import digest

pytestmark = pytest.mark.integration
MIGRATIONS = "tollgate_billing:migrations"

BOOK = PriceBook(
    name="public",
    effective="2026-01-01T00:00:00Z",
    currency="USD",
    models={"m": {"input": "1", "output": "2"}},
    groups={"partner": {"multiply": "0.5"}},
)
RATED = BOOK.rated()
DOCUMENT = compile_version(Declared(price_books=(BOOK,)), load_catalogue())
VERSION, NO_VERSION = digest(DOCUMENT), digest(b"nobody has it")


# Price books.


class Edge(config_pb2_grpc.ConfigServiceServicer):
    """An edge process that has the versions in `documents`."""

    def __init__(self):
        self.documents = {}
        self.asked = []

    async def GetVersion(self, request, context):  # noqa: N802 - the name of the call.
        self.asked.append(request.digest)
        if request.digest not in self.documents:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such version")
        return config_pb2.GetVersionResponse(document=self.documents[request.digest])


class RealPrices:
    def __init__(self, url, address, edge):
        self.edge, self._address = edge, address
        self.database = Database(url, migrations=MIGRATIONS)
        self.port = PriceArchive(self.database, [f"{address}.away", address])

    def publish(self):
        self.edge.documents[VERSION] = DOCUMENT

    def another_process(self):
        self.port = PriceArchive(self.database, [f"{self._address}.away"])


class MemoryPrices:
    def __init__(self):
        self.port = FakePrices()

    def publish(self):
        self.port.later[RATED.digest] = RATED


@pytest.fixture
async def edge():
    with tempfile.TemporaryDirectory(prefix="tgb-") as sockets:
        servicer, address = Edge(), f"unix:{Path(sockets)}/edge.sock"
        server = new_server(address)
        config_pb2_grpc.add_ConfigServiceServicer_to_server(servicer, server)
        await server.start()
        servicer.address = address
        yield servicer
        await server.stop(0)


@pytest.fixture
async def opened(request, tmp_path, edge):
    """Opens the archive over a database of this kind: `await opened("sqlite")`."""
    made = []

    async def of(kind):
        url = f"sqlite:////{tmp_path}/billing.sqlite"
        if kind == "postgresql":
            url = request.getfixturevalue("postgresql").new_database("prices")
        made.append(RealPrices(url, edge.address, edge))
        await made[-1].database.migrate()
        return made[-1]

    yield of
    for one in made:
        one.database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def archive(request, opened):
    return await opened(request.param)


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
async def prices(request, opened):
    return MemoryPrices() if request.param == "fake" else await opened(request.param)


async def test_a_book_is_learned_from_the_version_that_has_it(prices):
    port = prices.port
    assert not port.knows(RATED.digest)
    assert port.find(RATED.digest, "m", "default") is None
    await port.learn({RATED.digest: VERSION})
    assert not port.knows(RATED.digest)
    prices.publish()
    await port.learn({RATED.digest: VERSION, "sha256:nobody's": NO_VERSION})
    assert port.knows(RATED.digest)
    assert not port.knows("sha256:nobody's")
    for group, charge in (("default", 5_000_000), ("partner", 2_500_000), ("of nobody", 5_000_000)):
        assert port.find(RATED.digest, "m", group).rate({"input": 1, "output": 2}) == charge
    assert port.find(RATED.digest, "another model", "default") is None


async def test_a_book_that_was_learned_once_outlives_edge_and_the_process(archive):
    archive.publish()
    await archive.port.learn({RATED.digest: VERSION})
    archive.another_process()
    assert not archive.port.knows(RATED.digest)
    await archive.port.learn({RATED.digest: ""})
    assert archive.port.find(RATED.digest, "m", "partner").rate({"output": 1}) == 1_000_000
    assert archive.edge.asked == [VERSION]


async def test_the_books_of_a_version_in_force_are_kept_and_counted_once(archive):
    # Beside ours there is the one that ships.
    assert [archive.port.add(DOCUMENT) for _ in range(2)] == [2, 0]
    assert archive.port.knows(RATED.digest)
    await asyncio.gather(archive.port.save(), archive.port.save())
    archive.another_process()
    await archive.port.learn({RATED.digest: NO_VERSION})
    assert archive.port.knows(RATED.digest)


async def test_without_the_database_nothing_is_learned(tmp_path, edge):
    away = RealPrices("postgresql://nobody@127.0.0.1:1/none", edge.address, edge)
    with pytest.raises(LedgerUnavailable):
        await away.port.learn({RATED.digest: VERSION})
    away.database.close()


# Dead letters.


class KeptLetters:
    def __init__(self):
        self.port = FakeDeadLetters()

    async def found(self):
        return [(one.key, one.value, one.reason, one.topic, one.partition, one.offset) for one in self.port.letters]

    async def close(self):
        pass


class SentLetters:
    def __init__(self, directory):
        self.url = f"sqlite:///{directory}/log.sqlite"
        self.producer = new_producer(self.url)
        self.port = DeadLetterTopic(self.producer)

    async def found(self):
        consumer = new_consumer(self.url, "test", [TOPIC])
        await consumer.start()
        records = await consumer.poll(100, 1)
        await consumer.close()
        found = []
        for record in records:
            said = {name: value.decode() for name, value in record.headers}
            found.append(
                (record.key, record.value, said["error"], said["topic"], int(said["partition"]), int(said["offset"]))
            )
        return found

    async def close(self):
        await self.producer.close()


@pytest.fixture(params=["fake", "topic"])
async def letters(request, tmp_path):
    made = KeptLetters() if request.param == "fake" else SentLetters(tmp_path)
    yield made
    await made.close()


async def test_a_record_that_cannot_be_used_is_kept_with_its_bytes_and_why(letters):
    first = Letter("usage.recorded.v1", 3, 7, 1_764_000_000_000_000, b"org_1", b"\x00\xff not protobuf", "cut, naïve")
    second = Letter("request.refused.v1", 0, 2**40, 1, b"", b"", "empty")
    await letters.port.send([first])
    await letters.port.send([])
    await letters.port.send([second, first])
    assert await letters.found() == [
        (one.key, one.value, one.reason, one.topic, one.partition, one.offset) for one in (first, second, first)
    ]
