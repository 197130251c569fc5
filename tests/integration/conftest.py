"""What the tests of the whole product share."""

import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from services.billing.tests.integration.databases import new_clickhouse_database
from tests.integration.product import Product
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaBroker
from tests.servers.postgresql import PostgresServer
from tests.servers.valkey import RedisServer


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Notes what a test that has passed proves, where `make support` says into which file: a line of JSON each."""
    report = yield
    proofs = os.environ.get("PROOFS_FILE")
    if proofs and report.when == "call" and report.passed:
        with Path(proofs).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps([*mark.args, item.nodeid]) + "\n" for mark in item.iter_markers("proves"))
    return report


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product with its simulated provider, one for all tests: each makes a key of its own where it counts."""
    running = Product(tmp_path_factory.mktemp("product"))
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def servers(
    postgresql: PostgresServer, valkey: RedisServer, kafka_broker: KafkaBroker, clickhouse: ClickHouseServer
) -> dict[str, str]:
    """The settings of a product with its data on servers of their own; new databases, the broker's one topic."""
    settings = {"TOLLGATE_BILLING_CLICKHOUSE_DSN": new_clickhouse_database(clickhouse.dsn)}
    for service in ("EDGE", "BILLING", "MEDIA_JOBS"):
        settings[f"TOLLGATE_{service}_DATABASE_URL"] = postgresql.new_database(service.lower())
        settings[f"TOLLGATE_{service}_REDIS_URL"] = valkey.url
    for service in ("EDGE", "ROUTER", "BILLING", "MEDIA_JOBS"):
        settings[f"TOLLGATE_{service}_EVENT_LOG_URL"] = kafka_broker.url
    return settings
