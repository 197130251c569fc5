"""The usage event of an attempt: every field as billing reads it, whatever of it is encoded once and shared."""

import asyncio
import random
import sys
from dataclasses import replace
from types import MappingProxyType

import pytest

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.ids import event_id
from tollgate_kit.publisher import Publisher
from tollgate_kit.spool import Spool
from tollgate_rating import PICO, ChannelCost, ExchangeRate, GroupRule, PriceBook, PriceTable
from tollgate_router.domain.snapshot import Snapshot
from tollgate_router.domain.target import Origin, Target
from tollgate_router.exchange.recorder import AttemptResult, Recorder, usage_fields
from tollgate_router.telemetry import RouterCounters

pytestmark = pytest.mark.unit

STARTED = 1_764_000_000_000_000
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
BOOK = PriceBook(
    name="public",
    effective_us=0,
    currency="USD",
    models={"gpt": {"input": "1", "output": "2"}, "other": {"input": "3", "output": "6"}},
    groups={"half": GroupRule("0.5", {})},
)


class Log:
    def __init__(self):
        self.records = []

    async def send(self, topic, records):
        self.records += records

    async def close(self):
        pass


class Spans:
    def __init__(self, *, enabled):
        self.enabled = enabled
        self.found = []

    def record(self, record):
        self.found.append(record)

    def shutdown(self):
        pass


class World:
    def __init__(self, directory, *, tracing=False, ratio=0):
        self.spool = Spool.open(directory)
        self.log = Log()
        self.publisher = Publisher(self.spool, self.log, "topic", gather_seconds=0)
        self.spans = Spans(enabled=tracing)
        self.counters = RouterCounters()
        self.recorder = Recorder(
            spool=self.spool,
            publisher=self.publisher,
            tracing=self.spans,
            random_source=random.Random(1),
            sample_ratio=ratio,
            slow_us=1_000_000,
            counters=self.counters,
        )

    async def published(self):
        stopping = asyncio.Event()
        stopping.set()
        await self.publisher.run(stopping)
        return [events.UsageRecorded.FromString(record.value) for record in self.log.records]


def snapshot(digest="sha256:one", books=(BOOK,), rates=()):
    return Snapshot(digest, (), PriceTable(books, rates=rates), MappingProxyType({}))


def target(channel="main", upstream_model="gpt-upstream"):
    return Target(
        channel=channel,
        key_index=0,
        provider="openai",
        origin=Origin("https", "api.example", 443),
        base_path="",
        upstream_model=upstream_model,
        conforming=True,
        weight=1,
        header_block=b"",
    )


def opened(number=1, *, organization="org_1", group="default", model="gpt", stream=False):
    tenant = wire.Tenant(
        organization_id=organization, project_id="p", api_key_id="k", price_group=group, route_group="r"
    )
    frame = wire.Open(
        id=number,
        request_id=f"req_{number}",
        started_at_us=STARTED,
        dialect=wire.DIALECT_OPENAI_CHAT,
        operation=wire.OPERATION_CHAT,
        model=model,
        stream=stream,
        tenant=tenant,
        traceparent=TRACE,
    )
    setattr(frame, "try", 2)
    return frame


def result(of, **changes):
    units = changes.pop("units", {"input": 10, "output": 5})
    values = {
        "target": of,
        "number": 3,
        "final": True,
        "outcome": wire.OUTCOME_OK,
        "upstream_status": 200,
        "error_kind": 0,
        "units": units,
        "usage": usage_fields(units),
        "estimated": False,
        "ended_us": STARTED + 900,
        "timings": {"upstream_started_us": 1, "first_byte_us": 2, "total_us": 3},
        "trace_kept": False,
    }
    return AttemptResult(**(values | changes))


def expected(of, of_target, digest="sha256:one", **changes):
    number_of_try = getattr(of, "try")
    values = {
        "event_id": event_id(of.request_id, number_of_try, 3, events.EVENT_SOURCE_ROUTER),
        "request_id": of.request_id,
        "try": number_of_try,
        "attempt": 3,
        "source": events.EVENT_SOURCE_ROUTER,
        "final": True,
        "started_at_us": STARTED,
        "ended_at_us": STARTED + 900,
        "tenant": of.tenant,
        "model": of.model,
        "upstream_model": of_target.upstream_model if of_target else "",
        "provider": of_target.provider if of_target else "",
        "channel": of_target.channel if of_target else "",
        "dialect": of.dialect,
        "operation": of.operation,
        "stream": of.stream,
        "outcome": wire.OUTCOME_OK,
        "upstream_status": 200,
        "usage": wire.Usage(input_tokens=10, output_tokens=5),
        "cost_pico": 20_000_000,
        "charge_pico": 20_000_000,
        "currency": "USD",
        "price_digest": BOOK.digest,
        "config_digest": digest,
        "traceparent": TRACE,
        "timings": {"upstream_started_us": 1, "first_byte_us": 2, "total_us": 3},
    }
    return events.UsageRecorded(**(values | changes))


def recorded_event(world, of, version, found):
    recorded, charge = world.recorder.record(of, version, found)
    return events.UsageRecorded.FromString(recorded.payload), charge, recorded


def test_an_event_says_everything_about_its_attempt(tmp_path):
    world, of, where = World(tmp_path), opened(), target()
    event, charge, recorded = recorded_event(world, of, snapshot(), result(where))
    assert event == expected(of, where)
    assert (charge.charge_pico, charge.cost_pico, charge.price.digest) == (20_000_000, 20_000_000, BOOK.digest)
    assert recorded.key == b"req_1"


def test_what_is_shared_never_comes_from_another_request(tmp_path):
    """Each differs from the first in one field of the shared part, and is asked for twice."""
    world, where, other, version = World(tmp_path), target(), target("other", "gpt-2"), snapshot()
    half = {"charge_pico": 10_000_000}
    cases = [
        (opened(1), where, version, {}),
        (opened(2, organization="org_2"), where, version, {}),
        (opened(3, stream=True), where, version, {}),
        (opened(4), other, version, {}),
        (opened(5, group="half"), where, version, half),
        (opened(6), where, snapshot("sha256:two"), {"config_digest": "sha256:two"}),
    ]
    for of, of_target, of_version, changes in cases + cases:
        event, _, _ = recorded_event(world, of, of_version, result(of_target))
        assert event == expected(of, of_target, **changes)


def test_a_fallback_model_is_what_is_paid_for(tmp_path):
    world, of, where = World(tmp_path), opened(), target()
    for reason in ("error", "rate_limit", "error"):
        found = result(where, fallback_model="other", fallback_reason=reason)
        event, charge, _ = recorded_event(world, of, snapshot(), found)
        cost = {"cost_pico": 60_000_000, "charge_pico": 60_000_000}
        assert event == expected(of, where, model="other", requested_model="gpt", fallback_reason=reason, **cost)
        assert charge.charge_pico == 60_000_000
    event, _, _ = recorded_event(world, of, snapshot(), result(where))
    assert event == expected(of, where)


def test_what_edge_asked_for_instead_is_told(tmp_path):
    world, of, where = World(tmp_path), opened(), target()
    of.requested_model = "dear"
    event, _, _ = recorded_event(world, of, snapshot(), result(where))
    assert event == expected(of, where, requested_model="dear", fallback_reason="budget")
    found = result(where, fallback_model="other", fallback_reason="error")
    event, _, _ = recorded_event(world, of, snapshot(), found)
    assert (event.model, event.requested_model, event.fallback_reason) == ("other", "dear", "error")


def test_an_attempt_that_is_not_the_last_costs_us_and_not_the_tenant(tmp_path):
    world, of, where = World(tmp_path), opened(), target()
    event, charge, _ = recorded_event(world, of, snapshot(), result(where, final=False))
    assert event == expected(of, where, final=False, charge_pico=0)
    assert charge.charge_pico == 0


def test_a_model_without_a_price_is_flagged_when_it_was_used(tmp_path):
    world, of, where = World(tmp_path), opened(model="new"), target()
    unpriced = {"cost_pico": 0, "charge_pico": 0, "currency": "", "price_digest": ""}
    event, _, _ = recorded_event(world, of, snapshot(), result(where))
    assert event == expected(of, where, unpriced=True, **unpriced)
    assert world.recorder.unpriced == 1
    event, _, _ = recorded_event(world, of, snapshot(), result(where, units={}))
    assert event == expected(of, where, usage=wire.Usage(), **unpriced)
    assert world.recorder.unpriced == 1


def test_what_the_account_pays_is_the_cost_and_the_tenant_pays_the_book(tmp_path):
    own = PriceBook(name="cost", effective_us=0, currency="USD", models={"gpt": {"input": "0.25", "output": "0.5"}})
    cases = [
        (ChannelCost({"gpt": own.price("gpt", "")}, PICO), 5_000_000),
        (ChannelCost({"gpt": own.price("gpt", "")}, PICO // 2), 5_000_000),
        (ChannelCost({}, PICO // 2), 10_000_000),
        (ChannelCost({"another": own.price("gpt", "")}, PICO), 20_000_000),
    ]
    world, of = World(tmp_path), opened()
    for cost, paid in cases * 2:
        where = replace(target(), cost=cost)
        event, charge, _ = recorded_event(world, of, snapshot(), result(where))
        assert (event.charge_pico, event.cost_pico, charge.cost_pico) == (20_000_000, paid, paid)
    lacking = PriceBook(name="cost", effective_us=0, currency="USD", models={"gpt": {"request": "1"}})
    where = replace(target(), cost=ChannelCost({"gpt": lacking.price("gpt", "")}, PICO))
    assert recorded_event(world, of, snapshot(), result(where))[0].cost_pico == 20_000_000


def test_who_pays_in_another_currency_pays_by_the_rate_of_the_requests_start(tmp_path):
    early = ExchangeRate(base="USD", quote="CNY", rate="7.1", effective_us=0)
    late = ExchangeRate(base="USD", quote="CNY", rate="9", effective_us=STARTED + 1)
    world, of, where = World(tmp_path), opened(), target()
    of.tenant.currency, of.hold_pico = "CNY", 10**12
    in_force = snapshot(rates=(early, late))
    event, charge, _ = recorded_event(world, of, in_force, result(where))
    paid = {"charge_pico": 142_000_000, "cost_pico": 142_000_000, "currency": "CNY"}
    conversion = events.Conversion(
        rate_digest=early.digest,
        list_currency="USD",
        list_charge_pico=20_000_000,
        provider_currency="USD",
        provider_cost_pico=20_000_000,
    )
    assert event == expected(of, where, **paid, conversion=conversion, hold_pico=10**12)
    assert charge.charge_pico == 142_000_000
    own = PriceBook(name="cost", effective_us=0, currency="USD", models={"gpt": {"input": "0.25", "output": "0.5"}})
    for cost, expected_cost in (
        (ChannelCost({"gpt": own.price("gpt", "")}, PICO), 5_000_000),
        (ChannelCost({}, PICO // 2), 10_000_000),
    ):
        event, _, _ = recorded_event(world, of, in_force, result(replace(where, cost=cost), final=False))
        assert (event.cost_pico, event.charge_pico, event.hold_pico) == (expected_cost * 71 // 10, 0, 0)
        assert event.conversion.provider_cost_pico == expected_cost
        assert event.conversion.list_charge_pico == 0


def test_what_the_account_pays_is_in_the_currency_of_the_book_that_it_stands_beside(tmp_path):
    yuan = PriceBook(name="public", effective_us=0, currency="CNY", models={"gpt": {"input": "1", "output": "2"}})
    back = ExchangeRate(base="CNY", quote="USD", rate="0.14", effective_us=0)
    own = PriceBook(name="cost", effective_us=0, currency="USD", models={"gpt": {"input": "0.25", "output": "0.5"}})
    where = replace(target(), cost=ChannelCost({"gpt": own.price("gpt", "")}, PICO))
    world, in_force = World(tmp_path), snapshot(books=(yuan,), rates=(back,))
    for currency, charge, cost in (("CNY", 20_000_000, 5_000_000), ("USD", 2_800_000, 700_000)):
        of = opened()
        of.tenant.currency = currency
        event, _, _ = recorded_event(world, of, in_force, result(where))
        assert (event.charge_pico, event.cost_pico, event.currency) == (charge, cost, currency)
    assert (event.conversion.provider_currency, event.conversion.provider_cost_pico) == ("CNY", 5_000_000)


def test_without_a_rate_what_was_used_is_flagged_and_kept(tmp_path):
    world, of, where = World(tmp_path), opened(), target()
    of.tenant.currency = "CNY"
    unpriced = {"cost_pico": 0, "charge_pico": 0, "currency": "", "price_digest": ""}
    event, _, _ = recorded_event(world, of, snapshot(), result(where))
    assert event == expected(of, where, unpriced=True, **unpriced)
    event, _, _ = recorded_event(world, of, snapshot(), result(where, units={}))
    assert event == expected(of, where, usage=wire.Usage(), **unpriced)
    assert world.recorder.unpriced == 1


def test_attempts_are_counted_by_channel_whatever_the_version_and_refusals_are_not(tmp_path):
    world, where, other = World(tmp_path), target(), target("other")
    cut = {"outcome": wire.OUTCOME_UPSTREAM_CUT, "error_kind": errors.ERROR_KIND_UPSTREAM_CUT}
    refused = {"outcome": wire.OUTCOME_REFUSED, "error_kind": errors.ERROR_KIND_INVALID_REQUEST}
    for version in (snapshot(), snapshot("sha256:two")):
        for of_target, changes in (
            (where, {}),
            (where, {}),
            (where, cut),
            (where, refused),
            (other, {}),
            (None, refused),
        ):
            world.recorder.record(opened(stream=True), version, result(of_target, **changes))
    found = {(key[0], key[3]): series for key, series in world.counters.series.items()}
    assert {key: sum(series.duration.counts) for key, series in found.items()} == {
        ("main", 0): 4,
        ("main", errors.ERROR_KIND_UPSTREAM_CUT): 2,
        ("other", 0): 2,
    }
    assert found["main", 0].units == {"input": 40, "output": 20}
    assert sum(found["main", 0].first_chunk.counts) == 4
    assert sum(found["main", errors.ERROR_KIND_UPSTREAM_CUT].first_chunk.counts) == 0


def test_a_refusal_before_any_version_and_target(tmp_path):
    world, of = World(tmp_path), opened()
    refused = result(
        None,
        units={},
        outcome=wire.OUTCOME_REFUSED,
        upstream_status=0,
        error_kind=errors.ERROR_KIND_UNAVAILABLE,
    )
    event, _, _ = recorded_event(world, of, None, refused)
    free = {"cost_pico": 0, "charge_pico": 0, "currency": "", "price_digest": ""}
    assert event == expected(
        of,
        None,
        "",
        usage=wire.Usage(),
        outcome=wire.OUTCOME_REFUSED,
        upstream_status=0,
        error_kind="unavailable",
        **free,
    )


async def test_confirmed_and_given_up_events_carry_their_status(tmp_path):
    world, where = World(tmp_path), target()
    for number, done in ((1, world.recorder.confirm), (2, world.recorder.give_up)):
        _, _, recorded = recorded_event(world, opened(number), snapshot(), result(where))
        done(recorded)
    found = await world.published()
    assert found == [
        expected(opened(1), where, status=events.EVENT_STATUS_CONFIRMED),
        expected(opened(2), where, status=events.EVENT_STATUS_UNCONFIRMED),
    ]
    assert [record.headers for record in world.log.records] == [(), ()]


async def test_what_an_earlier_process_left_is_sent_again(tmp_path):
    before, where = World(tmp_path), target()
    _, _, first = recorded_event(before, opened(1), snapshot(), result(where))
    recorded_event(before, opened(2), snapshot(), result(where, trace_kept=True))
    before.spool.acknowledge(first.sequence)
    before.spool.close()
    world = World(tmp_path)
    assert world.recorder.publish_recovered() == 2
    assert await world.published() == [
        expected(opened(1), where, status=events.EVENT_STATUS_CONFIRMED, replay=True),
        expected(opened(2), where, status=events.EVENT_STATUS_UNCONFIRMED, replay=True, trace_kept=True),
    ]
    assert [len(record.headers) for record in world.log.records] == [0, 1]


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({}, wire.Usage()),
        ({"input": 1, "cache_write_1h": 2}, wire.Usage(input_tokens=1, cache_write_1h_tokens=2)),
        ({"request": 3, "output": 0}, wire.Usage(requests=3)),
        ({"character": 5, "input": 1}, wire.Usage(input_tokens=1, units={"character": 5})),
    ],
)
def test_units_as_fields_of_a_message(units, message):
    assert wire.Usage(**usage_fields(units)) == message


def test_the_event_has_what_edge_marked_the_request_with(tmp_path):
    world, marked, plain = World(tmp_path), opened(), opened(2)
    marked.client_network, marked.prompt_hash = "203.0.113.0/24", 2**64 - 1
    event, _, _ = recorded_event(world, marked, snapshot(), result(target()))
    assert (event.client_network, event.prompt_hash) == ("203.0.113.0/24", 2**64 - 1)
    event, _, _ = recorded_event(world, plain, snapshot(), result(target()))
    assert (event.client_network, event.prompt_hash) == ("", 0)


def test_a_groups_own_price_is_charged_where_the_list_has_none_for_what_was_used(tmp_path):
    book = PriceBook(
        name="public",
        effective_us=0,
        currency="USD",
        models={"gpt": {"input": "1"}},
        groups={"vip": GroupRule(models={"gpt": {"input": "2", "output": "4"}})},
    )
    world, of = World(tmp_path), opened()
    of.tenant.price_group = "vip"
    event, _, _ = recorded_event(world, of, snapshot(books=(book,)), result(target()))
    assert not event.unpriced
    assert event.charge_pico == event.cost_pico > 0


def test_the_first_event_of_a_key_and_a_model_takes_no_more_steps_than_the_next(tmp_path):
    world, found, of_target = World(tmp_path), snapshot(), target()

    def calls(of):
        seen = []
        sys.setprofile(lambda _frame, event, _argument: seen.append(event))
        world.recorder.record(of, found, result(of_target))
        sys.setprofile(None)
        return sum(event in {"call", "c_call"} for event in seen)

    found.price_table.find("other", "default", STARTED)
    first, usual = calls(opened()), calls(opened())
    assert first > usual
    # A large configuration has more keys and models than parts could be kept for.
    assert calls(opened(organization="org_2")) == calls(opened(organization="org_3", model="other")) == usual
