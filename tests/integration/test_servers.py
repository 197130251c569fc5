"""The servers of the tests are real: each takes what its clients send and survives a crash."""

import contextlib
import gc
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import clickhouse_connect
import obstore
import psycopg
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from obstore.store import S3Store
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.integration.admin_port import ask_admin
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.kafka import KafkaBroker, new_topic_name
from tests.servers.otlp import OtlpReceiver
from tests.servers.postgresql import PostgresServer
from tests.servers.process import REPOSITORY
from tests.servers.s3proxy import SECRET_KEY, S3Server
from tests.servers.valkey import RedisServer

pytestmark = pytest.mark.integration


async def test_kafka_keeps_a_message_over_a_crash(kafka_broker: KafkaBroker) -> None:
    topic = new_topic_name("servers")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 2, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka_broker.bootstrap, enable_idempotence=True, acks="all")
    await producer.start()
    await producer.send_and_wait(topic, b"before", key=b"k")
    await producer.stop()
    kafka_broker.kill()
    kafka_broker.start()
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka_broker.bootstrap, auto_offset_reset="earliest", group_id=topic
    )
    await consumer.start()
    assert (await consumer.getone()).value == b"before"
    await consumer.stop()


@pytest.mark.parametrize("name", ["postgresql", "postgresql_debian"])
def test_postgresql_keeps_a_row_over_a_crash(name: str, request: pytest.FixtureRequest) -> None:
    server: PostgresServer = request.getfixturevalue(name)
    database = server.new_database().rpartition("/")[2]
    with psycopg.connect(server.conninfo(database)) as connection:
        connection.execute("CREATE TABLE t (a int)")
        connection.execute("INSERT INTO t VALUES (7)")
    server.kill()
    server.start()
    with psycopg.connect(server.conninfo(database)) as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [(7,)]


@pytest.mark.parametrize("name", ["valkey", "redis_debian"])
def test_redis_runs_scripts_on_both_ways_in_and_keeps_data(name: str, request: pytest.FixtureRequest) -> None:
    server: RedisServer = request.getfixturevalue(name)
    with redis.Redis.from_url(server.url) as client:
        client.eval("redis.call('INCRBY', KEYS[1], ARGV[1])", 1, "money", "9007199254740993")
    server.kill()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.getdel("money") == b"9007199254740993"
    if len(str(server.socket)) < 100:
        with redis.Redis.from_url(server.unix_url) as client:
            assert client.ping()


def test_s3_checks_signatures(s3: S3Server) -> None:
    environment = s3.environment()
    options = {
        "endpoint": s3.endpoint,
        "region": environment["AWS_REGION"],
        "access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "client_options": {"allow_http": True},
    }
    bucket = s3.new_bucket()
    store = S3Store(bucket, secret_access_key=SECRET_KEY, **options)
    obstore.put(store, "a/b", b"bytes", attributes={"Content-Type": "image/png"})
    assert bytes(obstore.get(store, "a/b").bytes()) == b"bytes"
    liar = S3Store(bucket, secret_access_key="another", **options, retry_config={"max_retries": 0})
    with pytest.raises((PermissionError, obstore.exceptions.BaseError)):
        obstore.get(liar, "a/b")


def test_clickhouse_inserts_queries_deduplicates_and_keeps(clickhouse: ClickHouseServer) -> None:
    columns = ["id", "amount"]
    with clickhouse_connect.get_client(dsn=clickhouse.dsn) as client:
        client.command(
            "CREATE TABLE servers (id String, amount Decimal(38, 12)) ENGINE = MergeTree ORDER BY id "
            "SETTINGS non_replicated_deduplication_window = 100"
        )
        rows = [[f"row {number}", number] for number in range(1000)]
        for _ in range(2):
            client.insert("servers", rows, columns, settings={"insert_deduplication_token": "batch 1"})
        client.insert("servers", [["row a", 5]], columns, settings={"insert_deduplication_token": "batch 2"})
        client.insert("servers", [["row b", 5]], columns, settings={"insert_deduplication_token": "batch 3"})
        assert client.query("SELECT count(), sum(amount) FROM servers").result_rows == [(1002, 499510)]
        found = client.query("SELECT id FROM servers WHERE amount = {amount:UInt32}", parameters={"amount": 7})
        assert found.result_rows == [("row 7",)]
    clickhouse.kill()
    clickhouse.start()
    with clickhouse_connect.get_client(dsn=clickhouse.dsn, compress=False) as client:
        assert client.command("SELECT count() FROM servers") == 1002
        with pytest.raises(DatabaseError) as missing:
            client.query("SELECT 1 FROM nowhere")
        assert missing.value.code == 60


def test_clickhouse_refuses_a_wrong_password(clickhouse: ClickHouseServer) -> None:
    with pytest.raises((DatabaseError, OperationalError), match=r"516|Authentication"):
        clickhouse_connect.get_client(dsn=clickhouse.dsn.replace("not-a-secret", "wrong"))


def test_otlp_receiver_records_spans(otlp: OtlpReceiver) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "x"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=otlp.endpoint, insecure=True)))
    with provider.get_tracer("t").start_as_current_span("outer") as outer:
        outer.set_attribute("answer", 42)
    provider.shutdown()
    (span,) = otlp.wait_for(bool)
    assert (span.service, span.name, span.attributes) == ("x", "outer", {"answer": 42})


def test_an_admin_port_that_nobody_is_at_leaves_no_socket_open(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(FileNotFoundError):
            ask_admin(tmp_path / "nobody.sock", "/metrics")
        gc.collect()
    assert [str(one.message) for one in found] == []


def test_other_machines_cannot_be_reached() -> None:
    with socket.socket() as probe, pytest.raises(PermissionError, match=r"192\.0\.2\.1"):
        probe.connect(("192.0.2.1", 80))


def test_ports_are_given_once_and_are_none_that_the_system_gives() -> None:
    """One of its own may be the near end of a connection before its server listens, and while it is killed."""
    command = [sys.executable, "-c", "from tests.servers.process import free_ports; print(*free_ports(40))"]
    asking = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    given = [int(port) for process in asking for port in process.communicate()[0].split()]
    assert len(given) == len(set(given)) == 120
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(100)]
        assert max(given) < min(probe.getsockname()[1] for probe in probes)
