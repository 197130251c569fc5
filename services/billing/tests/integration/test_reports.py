"""Statements and what-if against oracles that compute from what was sent, with code of their own."""

import random
from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from services.billing.tests.integration.databases import new_clickhouse_database

from tollgate.events.v1 import usage_pb2 as events
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_billing.adapters.clickhouse import ClickHouse
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.sql_operations import SqlOperations
from tollgate_billing.adapters.sql_statements import MAX_MOVEMENTS, SqlStatements
from tollgate_billing.adapters.usage_schema import Retention
from tollgate_billing.adapters.usage_store import ClickHouseUsageStore
from tollgate_billing.adapters.used_rows import ClickHouseUsedRows
from tollgate_billing.domain.event import decode
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import Booked, Judged
from tollgate_billing.domain.postings import transfers_of
from tollgate_billing.domain.rows import rows_of
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.ledger_ports import BonusGrant, Move
from tollgate_billing.ports import Grant, Posting
from tollgate_billing.use_cases.what_if import RateAgain
from tollgate_kit.ids import event_id
from tollgate_kit.sql import Database
from tollgate_rating import GroupRule, PriceBook, PriceTier

pytestmark = pytest.mark.integration

DAY_US = 24 * 3600 * 1_000_000
# Years before the rows of other tests, which share an embedded store with these.
START_US = 19_000 * DAY_US
OLD = {"small": ("1", "4"), "large": ("2.5", "10")}
NEW = {"small": ("0.7", "4.1"), "large": ("3", "9")}


def book(prices, tiers=None):
    return PriceBook(
        name="public",
        effective_us=0,
        currency="USD",
        models={name: {"input": one, "output": two} for name, (one, two) in prices.items()},
        groups={"vip": GroupRule("0.9")},
        tiers=tiers,
    )


def exact(prices, model, group, units, service):
    """What the request costs, in pico-units: flex is half, vip 0.9 of it."""
    with localcontext() as context:
        context.prec = 100
        into, out = (Decimal(text) for text in prices[model])
        total = (into * units[0] + out * units[1]) * 10**6
        total *= Decimal("0.9") if group == "vip" else 1
        total *= Decimal("0.5") if service == "flex" else 1
        return int(total.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


class Month:
    """Generated requests and the books that they are written to, as billing would."""

    def __init__(self, seed, count=400, days=60):
        source = random.Random(seed)
        self.sent = [
            {
                "request": f"req-{seed}-{number}",
                "org": source.choice(["one", "two"]),
                "project": source.choice(["web", "batch"]),
                "model": source.choice(["small", "large"]),
                "group": source.choice(["default", "vip"]),
                "service": source.choice(["", "", "flex"]),
                "units": (source.randint(0, 5000), source.randint(0, 900)),
                "at": START_US + source.randrange(days * DAY_US),
                "taken_back": source.random() < 0.1,
                "final": source.random() < 0.9,
            }
            for number in range(count)
        ]
        tiers = {model: [PriceTier(multiply="0.5", service="flex")] for model in OLD}
        self.old = book(OLD, tiers)

    def judged(self, one):
        units = {"input": one["units"][0], "output": one["units"][1]}
        price = self.old.price(one["model"], one["group"])
        charge = price.rate(units, one["at"], one["service"]) if one["final"] else 0
        message = events.UsageRecorded(
            event_id=event_id(one["request"], 1, 1, events.EVENT_SOURCE_ROUTER),
            request_id=one["request"],
            attempt=1,
            source=events.EVENT_SOURCE_ROUTER,
            status=events.EVENT_STATUS_CONFIRMED,
            final=one["final"],
            started_at_us=one["at"],
            ended_at_us=one["at"] + 5,
            model=one["model"],
            usage=wire.Usage(input_tokens=units["input"], output_tokens=units["output"], service_tier=one["service"]),
            tenant=wire.Tenant(organization_id=one["org"], project_id=one["project"], price_group=one["group"]),
            charge_pico=charge,
            cost_pico=7,
            currency="USD",
            price_digest=self.old.digest,
            **{"try": 1},
        )
        event = decode(message.SerializeToString(), 0, one["at"] + 10)
        return Judged(event, exceptional=False)

    def booked(self):
        """Yields (judged, when) in the order of time; what is taken back follows two hours later."""
        for number, one in enumerate(sorted(self.sent, key=lambda one: one["at"])):
            judged = self.judged(one)
            yield [judged], one["at"] + 10, number
            if one["taken_back"] and one["final"]:
                bounds = Bounds("epoch", "topic", 0, number, number + 1)
                row = rows_of([judged], bounds, 1)[0]
                corrects = Booked(judged.event.event_id, one["request"], True, False, (2, 1), row)
                message = events.UsageRecorded()
                message.CopyFrom(judged.event.message)
                message.charge_pico = message.cost_pico = 0
                message.event_id = event_id(one["request"], 2, 1, events.EVENT_SOURCE_ROUTER)
                better = decode(message.SerializeToString(), 0, one["at"] + 10)
                yield (
                    [Judged(better, exceptional=True, lost=True, corrects=corrects)],
                    one["at"] + 10 + 7200 * 10**6,
                    number,
                )


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:////{tmp_path}/ledger.sqlite"
    else:
        url = request.getfixturevalue("postgresql").new_database("ledger")
    made = Database(url, migrations="tollgate_billing:migrations")
    await made.migrate()
    yield made
    made.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_statement_is_what_the_oracle_adds_up(database, seed):
    month, ledger, operations = Month(seed, count=150), SqlLedger(database), SqlOperations(database)
    moves = []
    for org in ("one", "two"):
        await ledger.grant(Grant(org, "USD", 10**12, f"pay-{org}", "paid", START_US + 3))
        bonus = Move(org, "USD", 10**10, f"b-{org}", "welcome", START_US + 5 * DAY_US)
        await operations.grant_bonus(BonusGrant(bonus, 1, START_US + 40 * DAY_US))
        await operations.refund(Move(org, "USD", 10**9, f"r-{org}", "back", START_US + 6 * DAY_US))
        moves.append((org, START_US + 3, 10**12))
        moves.append((org, bonus.now_us, 10**10))
        moves.append((org, START_US + 6 * DAY_US, -(10**9)))
    await ledger.claim("epoch/topic/0", "me")
    for high, (judged, at_us, _) in enumerate(sorted(month.booked(), key=lambda one: one[1]), 1):
        bounds = Bounds("epoch", "topic", 0, high - 1, high)
        await ledger.post(Posting(bounds, "me", transfers_of(judged), (), now_us=at_us))
    for org in ("one", "two"):
        left = sum(one.remaining_pico for one in (await operations.accounts(org)).bonuses)
        if left:
            moves.append((org, START_US + 45 * DAY_US, -left))
    await operations.expire(START_US + 45 * DAY_US)
    statements = SqlStatements(database)
    spans = [(0, START_US + 30 * DAY_US), (START_US + 30 * DAY_US, START_US + 90 * DAY_US)]
    for org in ("one", "two"):
        balance = 0
        for first, last in spans:
            found = await statements.statement(org, first, last)
            charged, back = defaultdict(int), defaultdict(int)
            for one in month.sent:
                if one["org"] != org or not one["final"]:
                    continue
                paid = exact(OLD, one["model"], one["group"], one["units"], one["service"])
                if first <= one["at"] + 10 < last:
                    charged[one["project"], one["model"]] += paid
                if one["taken_back"] and first <= one["at"] + 10 + 7200 * 10**6 < last:
                    back[one["project"], one["model"]] += paid
            lines = {(line.project_id, line.model): line for line in found.lines}
            assert {key: line.charged_pico for key, line in lines.items() if line.charged_pico} == {
                key: amount for key, amount in charged.items() if amount
            }
            assert {key: line.taken_back_pico for key, line in lines.items() if line.taken_back_pico} == {
                key: amount for key, amount in back.items() if amount
            }
            assert {line.price_digest for line in found.lines} == {month.old.digest}
            moved = [amount for owner, at_us, amount in moves if owner == org and first <= at_us < last]
            assert sorted(one.amount_pico for one in found.movements) == sorted(moved)
            assert found.opening_pico == balance
            balance += sum(moved) + sum(back.values()) - sum(charged.values())
            assert found.closing_pico == balance
        assert (await ledger.balance(org))[1] == balance
    assert (await statements.statement("nobody", 0, 10)).currency == ""


async def test_a_statement_with_very_many_movements_still_adds_up(database):
    ledger = SqlLedger(database)
    for number in range(MAX_MOVEMENTS + 5):
        await ledger.grant(Grant("one", "USD", 3, f"k{number}", "paid", 100 + number))
    found = await SqlStatements(database).statement("one", 0, 10**6)
    assert (found.shortened, len(found.movements)) == (True, MAX_MOVEMENTS + 1)
    assert sum(one.amount_pico for one in found.movements) == found.closing_pico == 3 * (MAX_MOVEMENTS + 5)


@pytest.fixture(params=["chdb", "http"])
async def clickhouse(request):
    if request.param == "chdb":
        dsn = request.getfixturevalue("chdb_dsn")
    else:
        dsn = new_clickhouse_database(request.getfixturevalue("clickhouse_server"))
    made = ClickHouse(dsn, retention=Retention(0, 0, 0, 0))
    await made.migrate()
    yield made
    await made.close()


async def test_what_if_is_what_the_oracle_adds_up(clickhouse):
    month, store = Month(random.random()), ClickHouseUsageStore(clickhouse)
    booked = [one for judged, _, _ in month.booked() for one in judged]
    # What corrects an event comes in a batch behind it.
    for high, part in enumerate(([one for one in booked if not one.lost], [one for one in booked if one.lost])):
        bounds = Bounds(f"what-if-{id(month)}", "topic", 0, high, high + 1)
        await store.insert_usage(rows_of(part, bounds, 1), bounds.batch)
    tiers = {model: [PriceTier(multiply="0.5", service="flex")] for model in NEW}
    draft = book({name: NEW[name] for name in NEW}, tiers)
    first, last = START_US + 10 * DAY_US, START_US + 40 * DAY_US
    charged, would, requests = defaultdict(int), defaultdict(int), defaultdict(int)
    for one in month.sent:
        if one["final"] and not one["taken_back"] and first <= one["at"] < last:
            key = (one["org"], one["project"], one["model"])
            about = (one["model"], one["group"], one["units"], one["service"])
            charged[key] += exact(OLD, *about)
            would[key] += exact(NEW, *about)
            requests[key] += 1
    # A small page, so that pages meet in the middle of rows of one moment.
    again = RateAgain(ClickHouseUsedRows(clickhouse, page=37))
    found = await again(draft, "", first, last)
    mine = {key: row for key, row in found.rows if row.requests}
    assert {key: row.charged_pico for key, row in mine.items()} == charged
    assert {key: row.would_pico for key, row in mine.items()} == would
    assert {key: row.requests for key, row in mine.items()} == requests
    assert found.total.would_pico == sum(would.values())
    assert found.total.unpriced == found.total.not_in_draft == found.other_currency == 0
    differences = [abs(row.would_pico - row.charged_pico) for _, row in found.rows]
    assert differences == sorted(differences, reverse=True)
    one_only = await again(draft, "one", first, last)
    assert {key[0] for key, _ in one_only.rows} == {"one"}
    same = await again(month.old, "", first, last)
    assert same.total.would_pico == same.total.charged_pico == sum(charged.values())
    part = PriceBook(name="p", effective_us=0, currency="USD", models={"small": {"input": "1"}})
    lacking = await again(part, "", first, last)
    assert lacking.total.not_in_draft == sum(count for key, count in requests.items() if key[2] == "large")
    assert 0 < lacking.total.unpriced <= sum(count for key, count in requests.items() if key[2] == "small")
    with pytest.raises(InvalidQuery):
        await again(draft, "", last, first)
    yuan = PriceBook(name="p", effective_us=0, currency="CNY", models={"small": {"input": "1"}})
    assert (await again(yuan, "", first, last)).other_currency == sum(requests.values())
