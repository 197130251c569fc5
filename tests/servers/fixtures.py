"""Fixtures with real servers, one of each per test session; asked for by name in any test.

A server that cannot be had here skips the test and names what to install; with CI=true it is a failure.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaBroker
from tests.servers.otlp import OtlpReceiver
from tests.servers.postgresql import PostgresServer, debian_server, wheel_server
from tests.servers.s3proxy import S3Server
from tests.servers.valkey import RedisServer, redis_binary, valkey_binary


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Apache Kafka; topics are made by whoever uses them, under names of their own (`new_topic_name`)."""
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """PostgreSQL of the wheel; each test makes a database with `new_database()`."""
    yield from _postgres(wheel_server())


@pytest.fixture(scope="session")
def postgresql_debian() -> Iterator[PostgresServer]:
    """Debian's PostgreSQL, an older one."""
    yield from _postgres(debian_server())


def _postgres(server: PostgresServer) -> Iterator[PostgresServer]:
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Valkey, on a port and on a socket."""
    yield from _redis(valkey_binary(), tmp_path_factory.mktemp("valkey"))


@pytest.fixture(scope="session")
def redis_debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Debian's Redis, the second engine."""
    yield from _redis(redis_binary(), tmp_path_factory.mktemp("redis"))


def _redis(binary: Path, directory: Path) -> Iterator[RedisServer]:
    server = RedisServer(binary, directory)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that checks signatures; each test makes a bucket with `new_bucket()`."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """The HTTP interface of ClickHouse over chDB, by `dsn`."""
    server = ClickHouseServer(tmp_path_factory.mktemp("clickhouse"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def otlp() -> Iterator[OtlpReceiver]:
    """An OTLP receiver of this test alone."""
    receiver = OtlpReceiver()
    receiver.start()
    yield receiver
    receiver.stop()
