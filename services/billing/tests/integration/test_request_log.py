"""The request log: the same questions for the fake, chDB and the HTTP interface, and its consumer over real logs."""

import asyncio
import uuid

import pytest
from services.billing.tests.fakes.dead_letters import FakeDeadLetters
from services.billing.tests.fakes.events import NOW_US

from tollgate.events.v1.refused_pb2 import RequestRefused, RequestsRefused
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.request_log import ClickHouseRequestLog
from tollgate_billing.consumers.request_refused import RequestRefusedConsumer
from tollgate_billing.domain.refused import refused_rows
from tollgate_billing.errors import UsageStoreUnavailable
from tollgate_billing.ports import RequestFilter
from tollgate_billing.telemetry import BillingCounters
from tollgate_kit.clock import SystemClock
from tollgate_kit.event_log import Record, new_consumer, new_producer

pytestmark = pytest.mark.integration
TOPIC = "request.refused.v1"
PATIENCE_SECONDS = 120


@pytest.fixture
def org():
    return f"org-{uuid.uuid4().hex[:12]}"


def refusal(org, name, at_us=NOW_US, **fields):
    values = {
        "request_id": f"{org}-{name}",
        "refused_at_us": at_us,
        "organization_id": org,
        "project_id": "proj",
        "api_key_id": "key_1",
        "route": "/v1/chat/completions",
        "operation": "chat",
        "model": "m",
        "stream": True,
        "status": 429,
        "code": "insufficient_quota",
        "message": "The balance is too low.",
        "request_bytes": 812,
        "total_us": 1450,
    }
    return RequestRefused(**(values | fields))


def record(*refusals):
    return RequestsRefused(requests=refusals).SerializeToString()


async def keep(request_log, *refusals, token="one"):
    await request_log.insert(refused_rows(record(*refusals), NOW_US, 3650), f"{refusals[0].request_id}/{token}")


async def found(request_log, limit=100, before=None, **where):
    return [row["request_id"] for row in await request_log.find(RequestFilter(**where), limit, before)]


async def test_a_refusal_comes_back_as_it_was(request_log, org):
    await keep(
        request_log, refusal(org, "a", trace_id="ab" * 16, left_out=7, tags="batch,search", member="ada@example.com")
    )
    (row,) = await request_log.find(RequestFilter(organization_id=org), 10, None)
    assert row | {"event_id": None} == {
        "event_id": None,
        "request_id": f"{org}-a",
        "started_at_us": NOW_US,
        "trace_id": "ab" * 16,
        "organization_id": org,
        "project_id": "proj",
        "api_key_id": "key_1",
        "tags": "batch,search",
        "member": "ada@example.com",
        "route": "/v1/chat/completions",
        "operation": "chat",
        "model": "m",
        "stream": True,
        "http_status": 429,
        "code": "insufficient_quota",
        "message": "The balance is too low.",
        "request_bytes": 812,
        "total_us": 1450,
        "left_out": 7,
    }


async def test_each_filter_finds_what_it_names_and_nothing_else(request_log, org):
    await keep(
        request_log,
        refusal(org, "a", model="x", trace_id="cd" * 16, tags="batch,search", member="ada"),
        refusal(org, "b", api_key_id="key_2", code="rate_limit_exceeded", tags="searching"),
        refusal(org, "c", status=499, code="client_closed_request", project_id="other"),
    )
    for where, names in (
        ({"model": "x"}, {"a"}),
        ({"trace_id": "cd" * 16}, {"a"}),
        ({"api_key_id": "key_2"}, {"b"}),
        ({"member": "ada"}, {"a"}),
        ({"tag": "search"}, {"a"}),
        ({"tag": "batch", "member": "ada"}, {"a"}),
        ({"tag": "batch,search"}, set()),
        ({"error": "rate_limit_exceeded"}, {"b"}),
        ({"project_id": "other"}, {"c"}),
        ({"http_status": 429}, {"a", "b"}),
        ({"outcome": "cancelled"}, {"c"}),
        ({"outcome": "refused"}, {"a", "b"}),
        ({"outcome": "ok"}, set()),
        ({"status": "confirmed"}, set()),
        ({"request_id": f"{org}-b"}, {"b"}),
        ({"from_us": NOW_US + 1}, set()),
        ({"to_us": NOW_US}, set()),
        ({"model": "' OR 1=1 --"}, set()),
    ):
        expected = {f"{org}-{name}" for name in names}
        assert set(await found(request_log, organization_id=org, **where)) == expected, where
    assert await found(request_log, organization_id=org + "x") == []


async def test_pages_show_each_once_though_it_was_kept_twice(request_log, org):
    made = [refusal(org, number, at_us=NOW_US + number // 3) for number in range(10)]
    await keep(request_log, *made)
    await keep(request_log, *made, token="again")
    seen, before = [], None
    while page := await request_log.find(RequestFilter(organization_id=org), 3, before):
        seen += [row["request_id"] for row in page]
        before = (page[-1]["started_at_us"], str(page[-1]["event_id"]))
    assert sorted(seen) == sorted(one.request_id for one in made)


async def test_rows_are_kept_for_so_many_days(chdb_dsn, org):
    clickhouse = ClickHouse(chdb_dsn)
    await clickhouse.migrate()
    request_log = ClickHouseRequestLog(clickhouse)
    now = SystemClock().now_us()
    for name, days in (("short", 1), ("long", 30)):
        at = now - 2 * 86_400 * 10**6
        await request_log.insert(refused_rows(record(refusal(org, name, at)), at, days), f"{org}/{name}")
    await clickhouse._writing.run(lambda client: client.command("OPTIMIZE TABLE request_log FINAL"))
    assert await found(request_log, organization_id=org) == [f"{org}-long"]
    await clickhouse.close()


@pytest.fixture(params=["sqlite", "kafka"])
def log_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/events.sqlite"
    return request.getfixturevalue("fresh_kafka").url + "?partitions=2"


class Kept(ClickHouseRequestLog):
    """The real request log, which is away for the first so many inserts."""

    def __init__(self, clickhouse, away):
        super().__init__(clickhouse)
        self.away = away

    async def insert(self, rows, token):
        if self.away:
            self.away -= 1
            raise UsageStoreUnavailable("away")
        await super().insert(rows, token)


async def consume(url, request_log, letters, counters, until):
    """Runs a consumer until a condition holds."""
    consumer = new_consumer(url, "billing-request-log", [TOPIC], instance="test")
    made = RequestRefusedConsumer(
        consumer=consumer, request_log=request_log, letters=letters, counters=counters, days=30
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await until():
            await made.step(asyncio.Event())
    await consumer.close()


async def test_what_edge_sends_becomes_rows_whatever_is_away(log_url, chdb_dsn, org):
    clickhouse = ClickHouse(chdb_dsn)
    await clickhouse.migrate()
    request_log, letters, counters = Kept(clickhouse, away=1), FakeDeadLetters(), BillingCounters()
    now = SystemClock().now_us()
    producer = new_producer(log_url)
    bad = {
        "no protobuf": b"\xff\xff",
        "no id": record(refusal(org, "x", now, request_id="")),
        "years ago": record(refusal(org, "x", NOW_US - 10**15)),
        "no error": record(refusal(org, "x", now, status=200)),
        "a long name": record(refusal(org, "x", now, model="m" * 300)),
    }
    good = [record(refusal(org, "a", now), refusal(org, "b", now, left_out=3)), record(refusal(org, "c", now))]
    await producer.send(
        TOPIC, [Record(f"{org}{place}".encode(), value) for place, value in enumerate([*bad.values(), *good])]
    )

    async def all_kept():
        return counters.counts["refused"] == 3 and counters.counts["refused_poison"] == len(bad)

    await consume(log_url, request_log, letters, counters, all_kept)
    assert set(await found(request_log, organization_id=org)) == {f"{org}-{name}" for name in "abc"}
    assert sorted(letter.value for letter in letters.letters) == sorted(bad.values())
    assert {letter.topic for letter in letters.letters} == {TOPIC}
    assert counters.counts["refused_left_out"] == 3
    # Nothing comes twice for the next process.
    await producer.send(TOPIC, [Record(b"later", record(refusal(org, "d", now)))])
    again = BillingCounters()

    async def one_kept():
        return again.counts["refused"] == 1

    await consume(log_url, request_log, letters, again, one_kept)
    assert set(await found(request_log, organization_id=org)) == {f"{org}-{name}" for name in "abcd"}
    await producer.close()
    await clickhouse.close()
