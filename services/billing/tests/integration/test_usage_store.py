"""The usage store: one suite for the fake, chDB in this process and the HTTP interface."""

import dataclasses
import time
import uuid
from decimal import Decimal
from types import SimpleNamespace

import pytest
from services.billing.tests.fakes.crash import Crash
from services.billing.tests.fakes.events import NOW_US, UNCONFIRMED, usage_event
from services.billing.tests.fakes.request_log import FakeRequestLog

from tollgate.billing.v1 import billing_pb2 as wire_billing
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate.routing.v1 import explanation_pb2 as routing
from tollgate_billing.adapters.clickhouse import ClickHouse, insert_settings, known
from tollgate_billing.adapters.usage_queries import ClickHouseUsageQueries
from tollgate_billing.adapters.usage_store import COLUMNS, ClickHouseUsageStore
from tollgate_billing.api.billing_service import BillingService
from tollgate_billing.domain.event import DAY_US, decode
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Judged
from tollgate_billing.domain.rows import rows_of
from tollgate_billing.errors import InvalidQuery, UsageStoreUnavailable
from tollgate_billing.ports import RequestFilter, UsageFilter
from tollgate_billing.use_cases.look_at_requests import LookAtRequests

pytestmark = pytest.mark.integration


@pytest.fixture
def epoch():
    return uuid.uuid4().hex


def rows(epoch, events, low=0, at_us=NOW_US, corrects=None):
    bounds = Bounds(epoch, "topic", 0, low, low + len(events))
    judged = [
        Judged(decode(event.SerializeToString(), low + index, at_us), exceptional=False)
        for index, event in enumerate(events)
    ]
    judged[0].corrects = corrects
    return bounds, rows_of(judged, bounds, at_us)


def requests(epoch, count):
    return [f"{epoch[:8]}-{number}" for number in range(count)]


async def test_a_block_is_inserted_once_per_token(store, epoch):
    first, second = requests(epoch, 2)
    bounds, made = rows(epoch, [usage_event(first), usage_event(second)])
    for _ in range(3):
        await store.insert_usage(made, bounds.batch)
    assert await store.present(bounds) == {(0, 0), (1, 0)}
    history = await store.history({first, second}, Bounds(epoch, "topic", 0, 9, 9))
    assert {name: len(found) for name, found in history.items()} == {first: 1, second: 1}


async def test_a_token_is_remembered_for_days_and_not_for_ever(open_clickhouse, epoch):
    clickhouse, _ = await open_clickhouse("chdb")
    store = ClickHouseUsageStore(clickhouse)
    now_us = time.time_ns() // 1000
    for name, at_us, remembered in (("new", now_us, True), ("old", now_us - 8 * DAY_US, False)):
        bounds, made = rows(f"{epoch}-{name}", [usage_event(f"{epoch[:8]}-{name}", at_us=at_us)], at_us=at_us)
        await store.insert_usage(made, bounds.batch)
        assert await store.remembers(bounds) is remembered
    await clickhouse.close()


@pytest.mark.parametrize("setting", ["deduplicate_insert = 'disable'", "insert_deduplicate = 0"])
async def test_a_profile_that_switches_deduplication_off_changes_nothing(open_clickhouse, epoch, setting):
    clickhouse, _ = await open_clickhouse("chdb")
    store = ClickHouseUsageStore(clickhouse)
    (name,) = requests(epoch, 1)
    bounds, made = rows(epoch, [usage_event(name)])
    await clickhouse.command(f"SET {setting}")
    try:
        for _ in range(3):
            await store.insert_usage(made, bounds.batch)
        history = await store.history({name}, Bounds(epoch, "topic", 0, 9, 9))
        assert len(history[name]) == 1
    finally:
        await clickhouse.command("SET deduplicate_insert = 'enable', insert_deduplicate = 1")
        await clickhouse.close()


def test_an_older_server_is_not_told_what_it_does_not_know():
    newer, older = (
        SimpleNamespace(server_settings={"deduplicate_insert": object()}),
        SimpleNamespace(server_settings={}),
    )
    settings = insert_settings("token")
    assert known(newer, settings) == settings
    assert settings.keys() - known(older, settings).keys() == {"deduplicate_insert"}


async def test_what_a_last_look_refuses_is_not_written(store, epoch):
    (name,) = requests(epoch, 1)
    bounds, made = rows(epoch, [usage_event(name)])

    def look():
        raise Crash

    with pytest.raises(Crash):
        await store.insert_usage(made, bounds.batch, look)
    assert await store.present(bounds) == set()
    looked = []
    await store.insert_usage(made, bounds.batch, lambda: looked.append(True))
    assert (await store.present(bounds), looked) == ({(0, 0)}, [True])


async def test_two_blocks_with_the_same_rows_and_tokens_of_their_own_are_both_kept(store, epoch):
    (name,) = requests(epoch, 1)
    bounds, made = rows(epoch, [usage_event(name)])
    await store.insert_usage(made, "one/" + bounds.batch)
    await store.insert_usage(made, "two/" + bounds.batch)
    history = await store.history({name}, Bounds(epoch, "topic", 0, 9, 9))
    assert len(history[name]) == 2


async def test_history_of_more_requests_than_an_address_has_room_for(store, epoch):
    """Such as what a router sends again after an outage of the log: over HTTP the names go in the body."""
    names = requests(epoch, 1500)
    bounds, made = rows(epoch, [usage_event(name) for name in names[1200:]])
    await store.insert_usage(made, bounds.batch)
    found = await store.history(set(names), Bounds(epoch, "topic", 1, 0, 1))
    assert set(found) == set(names[1200:])


async def test_history_leaves_out_the_batch_itself_and_what_follows(store, epoch):
    early, late = requests(epoch, 2)
    for low, name in ((0, early), (5, late)):
        bounds, made = rows(epoch, [usage_event(name)], low)
        await store.insert_usage(made, bounds.batch)
    found = await store.history({early, late}, Bounds(epoch, "topic", 0, 5, 6))
    assert set(found) == {early}
    # Another partition or another life of the topic counts whole.
    assert set(await store.history({early, late}, Bounds(epoch, "topic", 1, 0, 1))) == {early, late}
    assert set(await store.history({early, late}, Bounds("other" + epoch, "topic", 0, 0, 1))) == {early, late}


async def test_a_row_comes_back_as_it_was_and_can_be_adjusted(store, epoch):
    (name,) = requests(epoch, 1)
    usage = wire.Usage(
        input_tokens=10, output_tokens=5, images=[wire.ImageCount(size="512x512", quality="hd", count=2)]
    )
    event = usage_event(
        name,
        status=UNCONFIRMED,
        usage=usage,
        charge_pico=1,
        cost_pico=10**14 + 1,
        traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01",
    )
    bounds, made = rows(epoch, [event])
    await store.insert_usage(made, bounds.batch)
    (booked,) = (await store.history({name}, Bounds(epoch, "topic", 0, 9, 9)))[name]
    assert booked.event_id == event.event_id
    assert (booked.rank, booked.final, booked.superseded) == ((1, 1), True, False)
    original = made[0]
    assert {column: booked.row[column] for column in COLUMNS} == original
    assert (booked.row["charge"], booked.row["cost"]) == (Decimal("1E-12"), Decimal("100.000000000001"))
    later, adjusted = rows(epoch, [usage_event(name, tried=2)], low=3, corrects=booked)
    await store.insert_usage(adjusted, later.batch)
    found = await store.history({name}, Bounds(epoch, "topic", 0, 9, 9))
    assert sorted((one.rank, one.superseded) for one in found[name]) == [((1, 1), True), ((2, 2), False)]


async def test_a_request_that_fell_back_keeps_its_explanation(open_clickhouse, epoch):
    clickhouse, _ = await open_clickhouse("chdb")
    fallen, plain = requests(epoch, 2)
    explanation = routing.Explanation(
        model="m", targets=[routing.ConsideredTarget(channel="a", verdict=routing.VERDICT_FAILED, wait_ms=7)]
    )
    store = ClickHouseUsageStore(clickhouse)
    bounds, made = rows(
        epoch,
        [
            usage_event(fallen, requested_model="asked", fallback_reason="error", routing=explanation),
            usage_event(plain),
        ],
    )
    await store.insert_usage(made, bounds.batch)
    queries = ClickHouseUsageQueries(clickhouse)
    looking = LookAtRequests(queries, FakeRequestLog(), None, None, None)
    service = BillingService(None, queries, looking, None, None, None, None, None)
    reply = await service.ListRequests(wire_billing.ListRequestsRequest(request_id=fallen), None)
    (row,) = reply.rows
    assert (row.model, row.requested_model, row.fallback_reason, row.routing) == ("m", "asked", "error", explanation)
    (row,) = (await service.ListRequests(wire_billing.ListRequestsRequest(request_id=plain), None)).rows
    assert (row.requested_model, row.HasField("routing")) == ("", False)
    await clickhouse.close()


async def test_recent_ids_are_those_before_the_batch_and_within_the_time(store, epoch):
    names = requests(epoch, 3)
    events = [usage_event(name) for name in names]
    for low, (event, at_us) in enumerate(zip(events, (NOW_US - 10**9, NOW_US, NOW_US + 10), strict=True)):
        bounds, made = rows(epoch, [event], low, at_us)
        await store.insert_usage(made, bounds.batch)
    recent = await store.recent_ids(Bounds(epoch, "topic", 0, 2, 2), NOW_US - 10)
    assert [recent.has(event.event_id, NOW_US) for event in events] == [False, True, False]
    assert len(recent) == 1


async def test_mismatches_and_poison_are_kept(store, epoch):
    mismatch = {
        "event_id": b"i" * 16,
        "request_id": "r",
        "organization_id": "o",
        "model": "m",
        "price_digest": "d",
        "reason": "charge",
        "detail": "",
        "found_pico": 2**62,
        "expected_pico": 1,
        "batch": epoch,
        "src_offset": 1,
        "found_at": NOW_US,
    }
    poison = {
        "topic": "topic",
        "partition": 0,
        "offset": 2**40,
        "logged_at": NOW_US,
        "reason": "not a message",
        "key_base64": "",
        "value_base64": "/w==",
    }
    for _ in range(2):
        await store.insert_mismatches([mismatch], f"{epoch}/mismatch")
        await store.insert_poison([poison], f"{epoch}/poison")


async def test_sums_count_the_charged_final_once(asked, epoch):
    store, queries = asked
    organization = f"org-{epoch[:8]}"
    lost, won = (usage_event("r", organization=organization, status=status) for status in (UNCONFIRMED, 1))
    won = usage_event("r", tried=2, organization=organization, output_tokens=1)
    bounds, made = rows(epoch, [lost])
    await store.insert_usage(made, bounds.batch)
    (booked,) = (await store.history({"r"}, Bounds(epoch, "topic", 1, 0, 0)))["r"][-1:]
    bounds, made = rows(
        epoch, [won, usage_event("r", tried=2, attempt=9, final=False, organization=organization)], 1, corrects=booked
    )
    await store.insert_usage(made, bounds.batch)
    other = usage_event("s", organization=organization, model="n", outcome=wire.OUTCOME_UPSTREAM_ERROR)
    bounds, made = rows(epoch, [other], 5)
    await store.insert_usage(made, bounds.batch)
    where = UsageFilter(organization_id=organization)
    (total,) = await queries.sums(where, [], 1)
    assert (total["requests"], total["output_tokens"], total["errors"]) == (2, 1 + 5, 1)
    assert int(total["charge"].scaleb(12)) == won.charge_pico + other.charge_pico
    by_model = await queries.sums(where, ["model", "day"], 10)
    assert {row["group_0"]: row["requests"] for row in by_model} == {"m": 1, "n": 1}
    assert {row["group_1"] for row in by_model} == {"2025-11-24"}
    for name in ("organization", "project", "key", "channel", "provider", "operation", "outcome", "hour"):
        assert sum(row["requests"] for row in await queries.sums(where, [name], 10)) == 2
    assert not await queries.sums(UsageFilter(organization_id="nobody"), [], 1)
    with pytest.raises(InvalidQuery, match="takes"):
        await queries.sums(where, ["model; DROP TABLE usage_events"], 1)


async def test_usage_is_summed_and_chosen_by_tag_and_member(asked, epoch):
    store, queries = asked
    organization = f"org-{epoch[:8]}"

    def event(name, tags, member, **more):
        tenant = wire.Tenant(
            organization_id=organization, project_id="p", api_key_id=f"key-{member}", tags=tags, member=member
        )
        return usage_event(f"{epoch[:6]}-{name}", tenant=tenant, **more)

    made = [
        event("a", "batch,search", "ada@example.com", output_tokens=1),
        event("b", "search", "ada@example.com", output_tokens=2, model="n"),
        event("c", "searching", "bob", output_tokens=4),
        event("d", "", "", output_tokens=8),
    ]
    bounds, columns = rows(epoch, made)
    await store.insert_usage(columns, bounds.batch)
    everything = UsageFilter(organization_id=organization)

    async def by(*groups, **where):
        chosen = dataclasses.replace(everything, **where)
        found = await queries.sums(chosen, groups, 10)
        return {tuple(row[f"group_{n}"] for n in range(len(groups))): row["output_tokens"] for row in found}

    assert await by("member") == {("ada@example.com",): 3, ("bob",): 4, ("",): 8}
    # What has two tags is in both groups; the total has it once.
    assert await by("tag") == {("batch",): 1, ("search",): 3, ("searching",): 4, ("",): 8}
    assert await by() == {(): 15}
    assert await by("member", "model", tag="search") == {("ada@example.com", "m"): 1, ("ada@example.com", "n"): 2}
    assert await by(tag="batch", member="bob") == {}
    for where, names in (
        ({"tag": "search"}, {"a", "b"}),
        ({"tag": "search", "member": "ada@example.com", "model": "n"}, {"b"}),
        ({"tag": "batch,search"}, set()),
        ({"member": "ada"}, set()),
        ({"member": "bob"}, {"c"}),
    ):
        listed = await queries.requests(RequestFilter(organization_id=organization, **where), "", 10, None)
        assert {row["request_id"].rpartition("-")[2] for row in listed} == names, where
    listing = LookAtRequests(queries, FakeRequestLog(), None, None, None)
    service = BillingService(None, queries, listing, None, None, None, None, None)
    asked_for = wire_billing.UsageFilter(organization_id=organization, tag="batch", member="ada@example.com")
    (row,) = (await service.ListRequests(wire_billing.ListRequestsRequest(filter=asked_for), None)).rows
    assert (row.member, list(row.tags)) == ("ada@example.com", ["batch", "search"])


async def test_requests_are_listed_newest_first_page_by_page(asked, epoch):
    store, queries = asked
    organization = f"org-{epoch[:8]}"
    events = [
        usage_event(f"{epoch[:6]}-{number}", organization=organization, at_us=NOW_US + number // 2)
        for number in range(7)
    ]
    bounds, made = rows(epoch, events, at_us=NOW_US)
    await store.insert_usage(made, bounds.batch)
    where = UsageFilter(organization_id=organization, from_us=NOW_US - 10**7, to_us=NOW_US + 10**7)
    seen, before = [], None
    while page := await queries.requests(where, "", 3, before):
        seen += page
        before = (page[-1]["started_at_us"], str(page[-1]["event_id"]))
    assert len({row["request_id"] for row in seen}) == len(seen) == 7
    starts = [row["started_at_us"] for row in seen]
    assert starts == sorted(starts, reverse=True)
    (one,) = await queries.requests(where, f"{epoch[:6]}-3", 10, None)
    assert one["request_id"] == f"{epoch[:6]}-3"
    assert await queries.requests(UsageFilter(organization_id="other"), f"{epoch[:6]}-3", 10, None) == []
    hostile = UsageFilter(organization_id="x' OR '1'='1")
    assert await queries.requests(hostile, "", 10, None) == []


async def test_nobody_there_is_unavailable():
    clickhouse = ClickHouse("http://app:x@127.0.0.1:1/default")
    with pytest.raises(UsageStoreUnavailable):
        await clickhouse.migrate()
    await clickhouse.close()
