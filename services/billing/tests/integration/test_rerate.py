"""Requests without a price are rated later through a real process: charged once, whatever is killed, and shown."""

import asyncio
import json
import subprocess
import sys
import time
from itertools import product

import pytest
from grpc import aio
from services.billing.tests.fakes.events import BOOK, usage_event
from services.billing.tests.integration.running import BillingProcess, send, servers_of, version_document
from services.billing.tests.integration.test_usage_rebuild import DAMAGE

from tollgate.billing.v1 import billing_pb2, mending_pb2, reports_pb2, reports_pb2_grpc
from tollgate.billing.v1.mending_pb2_grpc import MendingServiceStub
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.grpc_io import new_channel
from tollgate_resources.models import PriceBook as DeclaredBook

pytestmark = pytest.mark.integration

FUNDS = 10**15
HOUR_US = 3600 * 10**6
DAY_US = 24 * HOUR_US
SUMS = "sum(requests), sum(unpriced), sum(attempts), sum(charge), sum(cost), sum(loss)"
SIGN = "multiIf(kind = 'adjustment', -1, final AND NOT superseded, 1, 0)"
RAW = (
    f"SELECT sum({SIGN}), sum({SIGN} * unpriced), countIf(kind = 'usage' AND source = 'router'),"
    " sum(charge), sum(cost), sum(loss) FROM usage_events"
)


def document(*, more=(), rates=(), **models):
    """Returns a configuration version whose book says of these models what the first one did not."""
    plain = json.loads(version_document()[0])
    plain["price_books"][0]["models"] |= models
    plain["price_books"] += more
    if rates:
        plain["exchange_rates"] = [*rates]
    return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def digests(version):
    return [DeclaredBook.model_validate(one).rated().digest for one in json.loads(version)["price_books"]]


COMPLETED = document(m={"input": "1", "output": "10", "search": "0.01"}, new={"input": "3", "output": "7"})


def unpriced(name, at_us, **fields):
    told = {"model": "new", "unpriced": True, "charge_pico": 0, "cost_pico": 0, "currency": "", "price_digest": ""}
    return usage_event(name, **(told | {"at_us": at_us} | fields))


def searched(name, at_us, count=2):
    """A request with a price for its model and none for one of its units."""
    usage = wire.Usage(input_tokens=10, units={"search": count})
    return unpriced(name, at_us, model="m", currency="USD", price_digest=BOOK.digest, usage=usage)


@pytest.fixture
def billing(request, tmp_path, valkey):
    valkey.clear()
    profile = getattr(request, "param", "embedded")
    process = BillingProcess(tmp_path, servers_of(profile, request, tmp_path, valkey))
    yield process
    process.clean()


class Asking:
    """Asks a process to rate later what had no price."""

    def __init__(self, billing, from_us, to_us):
        self.channel = new_channel(billing.socket)
        self.stub = reports_pb2_grpc.ReportServiceStub(self.channel)
        self.span = {"from_us": from_us, "to_us": to_us}

    async def __call__(self, **more):
        request = reports_pb2.RerateUnpricedRequest(**(self.span | more))
        # A process that was just started is waited for.
        return await self.stub.RerateUnpriced(request, timeout=180, wait_for_ready=True)


def configure(billing, version):
    (billing.directory / "state" / "config-version.json").write_bytes(version)


async def restarted(billing, version=None, failpoint=""):
    billing.stop()
    if version is not None:
        configure(billing, version)
    billing.start(failpoint)


async def check(client, charged, requests, unpriced_left=0):
    """Rows, every rollup, ledger and wallet say the same, and nobody finds a difference."""
    raw = await client.sql(RAW)
    assert raw[0][:3] == [requests, unpriced_left, requests], raw
    for rollup in ("usage_1m", "usage_1h", "usage_1d"):
        assert await client.sql(f"SELECT {SUMS} FROM {rollup}") == raw, rollup
    balance = await client.balance()
    assert balance.ledger_pico == balance.wallet_pico == FUNDS - charged
    assert (await client.total()).charge_pico == charged
    found = await client.call("CompareBooks", billing_pb2.CompareBooksRequest(from_us=time.time_ns() // 1000 - HOUR_US))
    assert [one for one in found.differences if one.kind != "mismatch"] == []


@pytest.mark.parametrize(
    ("billing", "failpoint"),
    [
        *product(["embedded"], ["after_intent", "after_insert", "after_ledger", "after_redis", "before_commit"]),
        # What a kill at each of the others does to a batch is shown on this profile by the crash tests.
        ("cluster", "after_insert"),
    ],
    indirect=["billing"],
)
async def test_they_are_charged_once_whatever_is_killed(billing, failpoint):
    now = time.time_ns() // 1000
    events = [unpriced(f"n{place}", now - place * DAY_US // 8) for place in range(30)]
    events += [searched(f"s{place}", now - DAY_US) for place in range(5)]
    events += [usage_event(f"p{place}", at_us=now) for place in range(5)]
    expected = 30 * (3 * 10 + 7 * 5) * 10**6 + 5 * (10 * 10**6 + 2 * 10**10)
    priced = 5 * (10 + 50) * 10**6
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], events)
    await client.booked(40)
    await check(client, priced, 40, 35)
    ask = Asking(billing, now - 30 * DAY_US, now + 1)
    # The book that was in force has no price, and nothing is charged by guessing.
    found = await ask(apply=True)
    assert (list(found.rows), found.sent, dict(found.left_out)) == ([], 0, {"no_price": 35})

    await restarted(billing, COMPLETED, failpoint)
    await client.booked(40)
    planned = await ask()
    assert (planned.sent, dict(planned.left_out)) == (0, {})
    assert {(row.model, row.requests, row.price_digest, row.currency) for row in planned.rows} == {
        ("m", 5, digests(COMPLETED)[0], "USD"),
        ("new", 30, digests(COMPLETED)[0], "USD"),
    }
    assert sum(row.charge_pico for row in planned.rows) == expected
    await check(client, priced, 40, 35)
    try:
        sent = (await ask(apply=True)).sent
        assert sent == 35
    except aio.AioRpcError:
        # It was killed before it could say so.
        pass
    assert await billing.died() == -9
    billing.start()
    # Whoever does not know what became of it asks again: what waits in the log is sent twice and booked once.
    await client.booked(40)
    await ask(apply=True)
    await client.booked(40 + 2 * 35)
    await check(client, expected + priced, 40)
    again = await ask(apply=True)
    assert (list(again.rows), again.sent, dict(again.left_out)) == ([], 0, {})
    assert (await client.call("GetStatus", billing_pb2.GetStatusRequest())).rows == 40 + 2 * 35
    await client.close()
    await ask.channel.close()


async def test_statement_and_evidence_show_the_correction_and_its_book(billing):
    now = time.time_ns() // 1000
    other = {
        "name": "other",
        "effective": "2020-01-01T00:00:00Z",
        "currency": "USD",
        "models": {"new": {"input": "1", "output": "1"}},
    }
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    await client.grant(FUNDS, key="second", organization="org-2")
    await send(
        billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"],
        [
            *(unpriced(f"mine{place}", now - DAY_US) for place in range(3)),
            unpriced("another", now - DAY_US, organization="org-2"),
            searched("searched", now - DAY_US),
        ],
    )
    await client.booked(5)
    await restarted(billing, document(more=[other]))
    ask = Asking(billing, now - 100 * DAY_US, now)
    # Only books that are asked for usage count by themselves; another one is named.
    assert dict((await ask()).left_out)["no_price"] == 5
    _, named = digests(document(more=[other]))
    for wrong, words in (
        ({"price_digest": "sha256:nowhere"}, "No price book that was ever in force"),
        ({"from_us": now, "to_us": now}, "begins before it ends"),
    ):
        with pytest.raises(aio.AioRpcError) as refused:
            await ask(**wrong)
        assert words in refused.value.details()
    found = await ask(price_digest=named, organization_id="org", model="new", apply=True)
    (row,) = found.rows
    assert (row.requests, row.charge_pico, row.price_digest, found.sent) == (3, 3 * 15 * 10**6, named, 3)
    await client.booked(5 + 6)
    # Another organization and another model stay as they were.
    assert {(row.organization_id, row.model) for row in (await ask(price_digest=named)).rows} == {("org-2", "new")}

    evidence = await client.call("GetEvidence", billing_pb2.GetEvidenceRequest(request_id="mine1"))
    assert [(one.kind, one.source, one.unpriced) for one in evidence.rows] == [
        ("usage", "router", True),
        ("usage", "billing", False),
        ("adjustment", "router", True),
    ]
    assert evidence.charge_pico == 15 * 10**6
    (rating,) = evidence.ratings
    assert (rating.price_digest, rating.price_book, rating.charged_pico, rating.rated_pico, rating.problem) == (
        *(named, "other"),
        *(15 * 10**6, 15 * 10**6, ""),
    )
    assert [(line.unit, line.quantity) for line in rating.lines] == [("input", 10), ("output", 5)]
    statement = await ask.stub.GetStatement(
        reports_pb2.GetStatementRequest(organization_id="org", from_us=1, to_us=1 << 62), timeout=60
    )
    (line,) = statement.lines
    assert (line.model, line.price_digest, line.requests, line.charged_pico, line.taken_back_pico) == (
        *("new", named, 3),
        *(45 * 10**6, 0),
    )
    assert statement.closing_pico == FUNDS - 45 * 10**6
    await client.close()
    await ask.channel.close()


async def test_what_is_too_old_to_be_booked_is_said(billing):
    now = time.time_ns() // 1000
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    # Booked while it was young enough, by an hour, it is not any more.
    old = unpriced("old", now - 90 * DAY_US + 3600 * 10**6 + 10**6)
    await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], [old])
    await client.booked(1)
    await restarted(billing, COMPLETED)
    ask = Asking(billing, now - 100 * DAY_US, now)
    found = await ask(apply=True)
    assert (found.sent, dict(found.left_out)) == (0, {"too_old": 1})
    await client.close()
    await ask.channel.close()


async def test_a_list_price_beyond_what_one_request_may_cost_is_left_out(billing):
    now = time.time_ns() // 1000
    started = "2020-01-01T00:00:00Z"
    models = {"new": {"input": "2000", "output": "8000"}}
    yuan = {"name": "yuan", "effective": started, "currency": "CNY", "models": models}
    rate = {"base": "CNY", "quote": "USD", "rate": "0.14", "effective": started}
    version = document(more=[yuan], rates=[rate])
    billing.start()
    client = billing.client()
    await client.grant(FUNDS)
    # 1,400 dollars, which are 10,000 yuan.
    dear = unpriced("dear", now - DAY_US, input_tokens=10**6, output_tokens=10**6)
    await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], [dear, unpriced("other", now - DAY_US)])
    await client.booked(2)
    await restarted(billing, version)
    ask = Asking(billing, now - 2 * DAY_US, now)
    found = await ask(price_digest=digests(version)[1], apply=True)
    assert (found.sent, dict(found.left_out)) == (1, {"too_dear": 1})
    await client.booked(4)
    balance = await client.balance()
    assert balance.ledger_pico == balance.wallet_pico == FUNDS - 84 * 10**8
    await client.close()
    await ask.channel.close()


async def test_what_was_charged_is_known_by_event_where_the_rows_are_lost_that_say_so(billing):
    now = time.time_ns() // 1000
    billing.start()
    client = billing.client()
    for organization in ("org", "org-2"):
        await client.grant(FUNDS, key=organization, organization=organization)
    events = [unpriced("mine", now - DAY_US), unpriced("another", now - DAY_US, organization="org-2")]
    await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], events)
    await client.booked(2)
    await restarted(billing, COMPLETED)
    ask = Asking(billing, now - 2 * DAY_US, now)
    assert (await ask(organization_id="org", apply=True)).sent == 1
    await client.booked(4)
    # The store comes back from a copy that is older than that.
    billing.stop()
    gone = "ALTER TABLE usage_events DELETE WHERE source = 'billing' OR kind = 'adjustment' SETTINGS mutations_sync = 2"
    command = [sys.executable, "-c", DAMAGE, billing.servers["TOLLGATE_BILLING_CLICKHOUSE_DSN"], gone]
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=120)
    billing.start()
    # Shown and applied, by event: nothing of the same organization and of others is held up.
    await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], [unpriced("third", now - DAY_US)])
    await client.booked(3)
    for apply in (False, True):
        found = await ask(apply=apply)
        assert sum(row.requests for row in found.rows) == 2
        assert (found.sent, dict(found.left_out)) == (2 if apply else 0, {"lost_rows": 1})
    await client.booked(7)
    mending = MendingServiceStub(ask.channel)
    span = mending_pb2.RebuildUsageRequest(from_us=now - HOUR_US, to_us=time.time_ns() // 1000)
    done = [one async for one in mending.RebuildUsage(span)][-1]
    assert (done.step, done.missing, done.unfit) == ("done", 2, 0)
    again = await ask(apply=True)
    assert (list(again.rows), again.sent, dict(again.left_out)) == ([], 0, {})
    for organization, requests in (("org", 2), ("org-2", 1)):
        balance = await client.balance(organization)
        assert balance.ledger_pico == balance.wallet_pico == FUNDS - requests * (3 * 10 + 7 * 5) * 10**6
    found = await client.call("CompareBooks", billing_pb2.CompareBooksRequest(from_us=now - HOUR_US))
    assert [one for one in found.differences if one.kind != "mismatch"] == []
    await client.close()
    await ask.channel.close()
