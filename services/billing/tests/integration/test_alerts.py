"""Alerts of operators on a clock that is moved: each is told when it is news, names what is wrong, and the runbook."""

import asyncio
import base64
import json
import time
import uuid
from datetime import UTC, datetime

import pytest
from services.billing.tests.fakes.alerts import FakeTroubles
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.fakes.ledger import FakeLedger
from services.billing.tests.fakes.letters import FakeLetterStore, FakeUsageTopic
from services.billing.tests.fakes.spending import FakeSender
from services.billing.tests.fakes.usage_store import FakeUsageStore
from services.billing.tests.integration.running import BillingProcess, send, servers_of
from services.billing.tests.unit.test_judge import decide
from services.billing.tests.unit.test_rerated import later, unpriced

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.billing.v1 import controls_pb2_grpc
from tollgate_billing.adapters.sql_alerts import SqlAlerts
from tollgate_billing.adapters.sql_notices import SqlDestinations, SqlOutbox
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.adapters.usage_troubles import ClickHouseTroubles
from tollgate_billing.control_ports import SpoolState
from tollgate_billing.domain.alerts import RUNBOOKS
from tollgate_billing.domain.books import Difference, Report
from tollgate_billing.domain.delivery import Destination, Quiet
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.rows import Block
from tollgate_billing.errors import LedgerUnavailable
from tollgate_billing.ports import SweepResult
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.deliver_notices import DeliverNotices
from tollgate_billing.use_cases.replay_letters import ReplayLetters
from tollgate_billing.use_cases.watch_alerts import Backlog, WatchAlerts
from tollgate_kit.clock import ManualClock
from tollgate_kit.grpc_io import new_channel
from tollgate_kit.ids import RandomIds
from tollgate_kit.sql import Database
from tollgate_sealing.envelopes import Envelopes, KeyRing

pytestmark = pytest.mark.integration

START = int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp()) * 1_000_000
MINUTE, HOUR = 60, 3_600
RUNBOOK = "https://wiki.example.com/runbooks"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def poison_row(at_us, value, offset=1):
    return {
        "topic": "usage.recorded.v1",
        "partition": 0,
        "offset": offset,
        "logged_at": at_us,
        "reason": "it is no event",
        "key_base64": "",
        "value_base64": base64.b64encode(value).decode(),
    }


class Watch:
    def __init__(self, database):
        self.database, self.clock, self.ids = database, ManualClock(START), RandomIds()
        self.troubles, self.store, self.counters = FakeTroubles(), FakeUsageStore(), BillingCounters()
        self.letters = ReplayLetters(
            FakeLetterStore(self.store), FakeLedger(), FakeUsageTopic(lambda _value: None), self.clock
        )
        self.backlog = Backlog(0, 0, "")
        self.sender, keys = FakeSender(), Envelopes(KeyRing((b"k" * 32,)))
        self.outbox, self.destinations = SqlOutbox(database, keys), SqlDestinations(database, keys)
        self.deliver = DeliverNotices(
            outbox=self.outbox,
            destinations=self.destinations,
            sender=self.sender,
            clock=self.clock,
            counters=self.counters,
            new_id=self.ids.new,
            reached=lambda _step: None,
        )
        self.alerts = self.new_process()

    def new_process(self, slot=0, backlog=None):
        return WatchAlerts(
            SqlAlerts(self.database, self.ids),
            self.troubles,
            self.letters,
            backlog or (lambda: self.backlog),
            self.clock,
            self.counters,
            slot=slot,
            late_seconds=300,
            runbooks=RUNBOOK,
        )

    async def add(self, name="ops", **more):
        values = {"kind": "slack", "target": "https://hooks.example.com/x", "organization_id": ""} | more
        return await self.deliver.add(Destination(id="", name=name, **values))

    def now(self, ago_seconds=0):
        return self.clock.now_us() - ago_seconds * 1_000_000

    async def told(self):
        """Looks once and sends; returns the kinds that were sent."""
        before = len(self.sender.sent)
        await self.alerts.step()
        await self.deliver.step()
        return sorted(fact["kind"] for _, letter in self.sender.sent[before:] for fact in letter.facts)

    def poison(self, at_us, value=b"\xff", offset=1):
        self.store.poison.append(poison_row(at_us, value, offset))
        self.troubles.last_letter = at_us


@pytest.fixture(params=["sqlite", "postgresql"])
async def watch(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:////{tmp_path}/ledger.sqlite"
    else:
        url = request.getfixturevalue("postgresql").new_database("ledger")
    database = Database(url, migrations="tollgate_billing:migrations")
    await database.migrate()
    yield Watch(database)
    database.close()


async def test_nothing_wrong_is_nothing_told(watch):
    await watch.add()
    watch.alerts.compared(Report(0, 0))
    watch.alerts.swept("org", SweepResult(0, 7, ()))
    watch.alerts.spools([SpoolState("edge 0", 5, 79, 100)])
    watch.backlog = Backlog(10, 299_999, "")
    assert await watch.told() == []


async def test_every_kind_is_told_with_what_is_wrong_and_its_runbook(watch):
    await watch.add()
    watch.troubles.found["mismatches"] = [(watch.now(5), "req_m", "another book")]
    watch.troubles.found["unpriced"] = [(watch.now(5), "req_u", "gpt-9")]
    watch.poison(watch.now(5))
    watch.backlog = Backlog(12, 301_000, "Redis is away")
    watch.alerts.spools([SpoolState("router r-0", 7, 80, 100, "no brokers")])
    watch.alerts.swept("org", SweepResult(2, 0, ("req_h",)))
    report = Report(0, 0)
    report.add([Difference("charge", "5 and 6", "org", "b/1-2", ("req_d",)), Difference("wallet", "x", "org_w")], 99)
    watch.alerts.compared(report)
    watch.alerts.forgotten(Bounds("epoch", "usage.recorded.v1", 3, 100, 107))
    assert await watch.told() == sorted(RUNBOOKS)
    # What is due at once travels together, each with a title of its own.
    ((_, letter),) = watch.sender.sent
    texts = {fact["kind"]: (fact, text) for fact, text in zip(letter.facts, letter.paragraphs, strict=True)}
    for kind, parts in {
        "mismatches": ("req_m", "another book"),
        "unpriced": ("req_u", "gpt-9"),
        "dead_letters": ("it is no event", f"tollgate dlq show {watch.now(5)}-0-1"),
        "lag": ("301 s", "12 usage events", "Redis is away"),
        "spool": ("router r-0", "80 %", "no brokers"),
        "holds": ("2 expired", "1 was settled and never booked", "req_h"),
        "differences": ("charge 1, wallet 1", "req_d"),
        "forgotten": ("7 usage events were never booked", "usage.recorded.v1/3: 100 to 106"),
    }.items():
        fact, text = texts[kind]
        assert all(part in text for part in parts), text
        assert text.endswith(f"Runbook: {RUNBOOK}/{RUNBOOKS[kind]}")
        assert fact["runbook"] == f"{RUNBOOK}/{RUNBOOKS[kind]}"


async def test_an_alert_is_told_once_again_after_an_hour_if_it_is_new_and_once_a_day_while_it_stays(watch):
    await watch.add()
    watch.troubles.found["mismatches"].append((watch.now(), "req_1", "r"))
    assert await watch.told() == ["mismatches"]
    for _ in range(3):
        watch.clock.advance(10 * MINUTE)
        assert await watch.told() == []
    # More of it within the hour waits for the end of the hour, and is not lost.
    watch.troubles.found["mismatches"].append((watch.now(), "req_2", "r"))
    assert await watch.told() == []
    watch.clock.advance(30 * MINUTE)
    assert await watch.told() == ["mismatches"]
    assert "req_2" in watch.sender.sent[-1][1].paragraphs[0]
    watch.clock.advance(22 * HOUR)
    assert await watch.told() == []
    # A process that starts again knows what was told.
    watch.alerts = watch.new_process()
    assert await watch.told() == []
    watch.clock.advance(2 * HOUR)
    assert await watch.told() == []
    assert len({name for name, _ in watch.sender.sent}) == 1
    assert len(watch.sender.sent) == 2


async def test_what_stays_is_told_again_a_day_later_and_what_comes_back_after_an_hour(watch):
    await watch.add()
    watch.backlog = Backlog(5, 400_000, "")
    assert await watch.told() == ["lag"]
    watch.clock.advance(23 * HOUR)
    assert await watch.told() == []
    watch.clock.advance(HOUR)
    assert await watch.told() == ["lag"]
    watch.backlog = Backlog(0, 0, "")
    watch.clock.advance(MINUTE)
    assert await watch.told() == []
    watch.backlog = Backlog(5, 400_000, "")
    watch.clock.advance(MINUTE)
    # It flaps: people are not told each time.
    assert await watch.told() == []
    watch.backlog = Backlog(0, 0, "")
    await watch.told()
    watch.clock.advance(HOUR)
    watch.backlog = Backlog(5, 400_000, "")
    assert await watch.told() == ["lag"]


async def test_holds_that_expired_are_counted_until_somebody_is_told(watch):
    await watch.add()
    watch.alerts.swept("org", SweepResult(1, 0, ()))
    assert await watch.told() == ["holds"]
    watch.clock.advance(30 * MINUTE)
    for _ in range(3):
        watch.alerts.swept("org", SweepResult(100, 0, ()))
        assert await watch.told() == []
    watch.clock.advance(31 * MINUTE)
    assert await watch.told() == ["holds"]
    assert watch.sender.sent[-1][1].facts[0]["numbers"]["released"] == 300
    watch.clock.advance(2 * HOUR)
    assert await watch.told() == []
    # Nor is one forgotten that was booked as estimated between two looks.
    watch.alerts.swept("org", SweepResult(0, 0, ("req_h",), estimated=1))
    watch.alerts.swept("org", SweepResult(0, 0, ()))
    assert await watch.told() == ["holds"]
    assert watch.sender.sent[-1][1].facts[0]["numbers"]["estimated"] == 1
    watch.clock.advance(2 * HOUR)
    assert await watch.told() == []
    # A hold that is booked at last is no alert any more.
    watch.alerts.swept("org", SweepResult(0, 0, ("req_h",)))
    watch.alerts.swept("org", SweepResult(0, 0, ()))
    assert await watch.told() == []


async def test_events_that_the_log_forgot_are_counted_once_and_kept_until_somebody_is_told(watch):
    await watch.add()
    # The partition is claimed anew before anything of it is committed, and more is gone by then.
    for high in (15, 15, 18):
        watch.alerts.forgotten(Bounds("epoch", "usage.recorded.v1", 0, 10, high))
    assert await watch.told() == ["forgotten"]
    places = ["usage.recorded.v1/0: 10 to 14", "usage.recorded.v1/0: 15 to 17"]
    assert watch.sender.sent[-1][1].facts[0]["numbers"] == {"count": 8, "places": places}
    watch.alerts.forgotten(Bounds("epoch", "usage.recorded.v1", 5, 0, 4))
    watch.clock.advance(30 * MINUTE)
    assert await watch.told() == []
    watch.clock.advance(30 * MINUTE)
    assert await watch.told() == ["forgotten"]
    assert watch.sender.sent[-1][1].facts[0]["numbers"]["count"] == 4
    assert watch.counters.counts["forgotten_events"] == 12


async def test_a_letter_is_told_until_it_is_booked_and_for_a_week_at_most(watch):
    await watch.add()
    watch.poison(watch.now(8 * 24 * HOUR))
    assert await watch.told() == []
    event = usage_event("r")
    watch.poison(watch.now(), event.SerializeToString(), offset=2)
    assert await watch.told() == ["dead_letters"]
    assert watch.alerts.dead_letters == 1
    watch.store.usage.append({"request_id": "r", "event_id": uuid.UUID(bytes=event.event_id)})
    watch.clock.advance(25 * HOUR)
    assert await watch.told() == []
    assert watch.alerts.dead_letters == 0


async def test_a_spool_is_told_by_its_process_and_what_cannot_leave_after_two_minutes(watch):
    await watch.add()
    watch.alerts.spools([SpoolState("edge 0", 5, 1, 100, "away"), SpoolState("router a", 5, 90, 100)])
    assert await watch.told() == ["spool"]
    for _ in range(4):
        watch.clock.advance(30)
        watch.alerts.spools([SpoolState("edge 0", 5, 1, 100, "away"), SpoolState("router a", 5, 90, 100)])
    assert await watch.told() == ["spool"]
    assert "Events of edge 0 wait" in watch.sender.sent[-1][1].title
    # A process that is gone says nothing, and nothing is said of it.
    watch.clock.advance(25 * HOUR)
    assert await watch.told() == []


async def test_a_log_that_cannot_be_read_is_a_lag_though_no_record_is_known(watch):
    await watch.add()
    watch.backlog = Backlog(0, 0, "no brokers")
    assert await watch.told() == []
    watch.clock.advance(299)
    assert await watch.told() == []
    watch.clock.advance(1)
    assert await watch.told() == ["lag"]


async def test_each_process_tells_of_its_own_backlog_and_ends_no_alert_of_another(watch):
    await watch.add()
    other = watch.new_process(1, lambda: Backlog(0, 0, ""))
    watch.backlog = Backlog(5, 400_000, "partition 3 is stopped", (3,))
    assert await watch.told() == ["lag"]
    for _ in range(4):
        watch.clock.advance(HOUR)
        assert await other.step() == 0
        assert await watch.told() == []
    # The first one goes on as it was, and another one stops.
    other = watch.new_process(1, lambda: Backlog(5, 400_000, "partition 7 is stopped", (7,)))
    assert await other.step() == 1
    assert await watch.told() == ["lag"]


async def test_a_partition_more_that_is_stopped_is_told_while_the_first_one_is(watch):
    await watch.add()
    watch.backlog = Backlog(5, 400_000, "partition 3 is stopped", (3,))
    assert await watch.told() == ["lag"]
    watch.clock.advance(2 * HOUR)
    watch.backlog = Backlog(5, 400_000, "booking waits", (3,))
    assert await watch.told() == []
    watch.backlog = Backlog(5, 400_000, "partition 3 is stopped; partition 7 is stopped", (3, 7))
    assert await watch.told() == ["lag"]
    assert "partition 7" in watch.sender.sent[-1][1].paragraphs[0]


async def test_a_spool_that_only_one_process_hears_of_is_told_once(watch):
    await watch.add()
    other = watch.new_process(1)
    for minutes in range(4 * 60):
        watch.alerts.spools([SpoolState("router a", 5, 90, 100)])
        assert await watch.told() == ([] if minutes else ["spool"])
        assert await other.step() == 0
        watch.clock.advance(MINUTE)
    # It is over once the one that knew it hears no more of it, and news when it comes back.
    watch.clock.advance(6 * MINUTE)
    assert await watch.told() == []
    watch.alerts.spools([SpoolState("router a", 5, 90, 100)])
    assert await watch.told() == ["spool"]


async def test_a_source_that_is_away_hides_no_other_and_ends_nothing(watch):
    await watch.add()
    watch.troubles.found["mismatches"].append((watch.now(), "req_1", "r"))
    assert await watch.told() == ["mismatches"]
    watch.troubles.away = True
    watch.backlog = Backlog(5, 400_000, "")
    watch.clock.advance(2 * HOUR)
    assert await watch.told() == ["lag"]
    watch.troubles.away = False
    # It was there all the time, and is not told as if it had come back.
    assert await watch.told() == []


async def test_operators_are_told_and_organizations_are_not(watch):
    await watch.add("all")
    await watch.add("books", about=("books",))
    await watch.add("budgets", about=("budget",))
    await watch.add("acme", organization_id="org_acme")
    watch.backlog = Backlog(5, 400_000, "")
    await watch.told()
    assert sorted(name for name, _ in watch.sender.sent) == ["all", "books"]


async def test_digest_quiet_hours_and_language_hold_for_alerts(watch):
    # 12:00 UTC is 20:00 in Shanghai.
    await watch.add("zh", language="zh", time_zone="Asia/Shanghai", quiet=Quiet(20 * 60, 21 * 60), digest_minutes=30)
    watch.backlog = Backlog(5, 400_000, "")
    watch.troubles.found["unpriced"].append((watch.now(), "req_u", "gpt-9"))
    assert await watch.told() == []
    watch.clock.advance(30 * MINUTE)
    assert await watch.told() == []
    watch.clock.advance(30 * MINUTE)
    assert await watch.told() == ["lag", "unpriced"]
    ((_, letter),) = watch.sender.sent
    assert letter.title == "Tollgate：2 条通知"
    assert any("处理手册" in text and "gpt-9" in text for text in letter.paragraphs)


async def test_processes_that_look_at_once_tell_once(watch):
    await watch.add()
    watch.backlog = Backlog(5, 400_000, "")
    others = [watch.new_process() for _ in range(4)]
    assert sum(await asyncio.gather(*(one.step() for one in others))) == 1
    await watch.deliver.step()
    assert len(watch.sender.sent) == 1


async def test_holds_are_told_of_when_sql_is_back(watch):
    await watch.add()
    watch.alerts.swept("org", SweepResult(4, 0, ()))
    kept = watch.alerts._alerts

    class Away:
        async def keep(self, *_):
            raise LedgerUnavailable("away")

    watch.alerts._alerts = Away()
    with pytest.raises(LedgerUnavailable):
        await watch.alerts.step()
    watch.alerts._alerts = kept
    assert await watch.told() == ["holds"]


@pytest.mark.parametrize("profile", ["chdb", "http"])
async def test_rows_say_what_is_wrong(profile, open_clickhouse):
    clickhouse, _ = await open_clickhouse(profile)
    store, troubles = ClickHouseUsageStore(clickhouse), ClickHouseTroubles(clickhouse)
    # Later than all rows of other tests, which share the store.
    now = START + 365 * 86_400 * 10**6
    nothing = await troubles.mismatches(now)
    assert (nothing.count, nothing.request_ids, nothing.names) == (0, (), ())
    for number in range(7):
        row = {
            "event_id": uuid.UUID(int=number).bytes,
            "request_id": f"req_{number}",
            "organization_id": "org",
            "model": "m",
            "price_digest": "sha256:0",
            "reason": "another price",
            "detail": "",
            "found_pico": 1,
            "expected_pico": 2,
            "batch": "b",
            "src_offset": number,
            "found_at": now + number,
        }
        await store.insert_mismatches([row], f"alerts/{profile}/{number}")
    found = await troubles.mismatches(now + 1)
    assert (found.count, found.last_us, len(found.request_ids), found.names) == (6, now + 6, 5, ("another price",))
    assert (await troubles.unpriced(now)).count == 0
    # A request that was rated later, whose first row was lost and written again since, and one that nobody rated.
    names = [f"req_{profile}_{number}" for number in range(2)]
    free = [unpriced(name) for name in names]
    (first, _), (second, _) = decide(free, [later(free[0])])
    for block, at_us in ((first, now + 10), (second, now - 5 * 86_400 * 10**6)):
        rows = Block({**block.columns, "ingested_at": [at_us] * len(block)})
        await store.insert_usage(rows, f"alerts/{profile}/{at_us}")
    found = await troubles.unpriced(now)
    assert (found.count, found.last_us, found.request_ids, found.names) == (1, now + 10, (names[1],), ("new",))
    await store.insert_poison([poison_row(now, b"x")], f"alerts/{profile}")
    assert await troubles.last_letter_us() == now
    await clickhouse.close()


@pytest.fixture
def billing(tmp_path, valkey, receivers):
    valkey.clear()
    more = {
        "TOLLGATE_BILLING_ALERT_SECONDS": "0.5",
        "TOLLGATE_BILLING_RUNBOOK_URL": RUNBOOK,
        "TOLLGATE_BILLING_NOTIFY_PRIVATE_NETWORK": "true",
        "TOLLGATE_BILLING_COMPARISON_SECONDS": "2",
    }
    process = BillingProcess(tmp_path, servers_of("embedded", None, tmp_path, valkey) | more)
    yield process
    process.clean()


async def test_a_process_tells_of_what_it_books_and_of_spools(billing, receivers):
    billing.start()
    client = billing.client()
    await client.grant(10**13)
    channel = new_channel(billing.socket)
    stub = controls_pb2_grpc.ControlServiceStub(channel)
    asked = wire.CreateDestinationRequest(
        destination=wire.Destination(name="hook", kind="webhook", about=["books"]),
        target=receivers.add("hook", "webhook", SECRET),
        secret=SECRET,
    )
    await stub.CreateDestination(asked)
    now = time.time_ns() // 1000
    right = usage_event("req_dear", at_us=now)
    dear = usage_event("req_dear", at_us=now, charge_pico=right.charge_pico + 1)
    free = usage_event("req_free", at_us=now, charge_pico=0, unpriced=True, model="gpt-unknown")
    await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], [dear, free, b"\xff\xff"])
    spool = wire.Spool(process="router r-0", records=9, size_bytes=95, limit_bytes=100)
    await stub.ReportSpools(wire.ReportSpoolsRequest(spools=[spool]))
    kinds = ("dead_letters", "mismatches", "spool", "unpriced")
    items = {}
    while set(items) < set(kinds):
        messages = await asyncio.to_thread(receivers.messages, "hook", len(items) + 1, 120)
        assert {one["problem"] for one in messages} == {""}
        payloads = [json.loads(one["text"]) for one in messages]
        assert {one["type"] for one in payloads} == {"tollgate.books"}
        items = {item["kind"]: item for one in payloads for item in one["data"]["items"]}
        assert len(messages) > 0, billing.log()[-3000:]
    assert items["mismatches"]["numbers"]["request_ids"] == ["req_dear"]
    assert items["unpriced"]["numbers"]["names"] == ["gpt-unknown"]
    assert items["spool"]["numbers"]["percent"] == 95
    assert items["dead_letters"]["numbers"]["count"] == 1
    assert items["dead_letters"]["runbook"] == f"{RUNBOOK}/billing.md#dead-letters"
    await channel.close()
    await client.close()
