"""The ledger: one suite for the fake, SQLite and PostgreSQL."""

import asyncio
import random
import uuid
from contextlib import contextmanager
from itertools import product

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from services.billing.tests.fakes.books import FakeLedgerBooks
from services.billing.tests.fakes.ledger import FakeLedger

from tollgate_billing.adapters.ledger_books import SqlLedgerBooks
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.sql_operations import SqlOperations
from tollgate_billing.adapters.sql_tables import ACCOUNTS, METADATA, PART_PICO, TRANSFERS, whole_balance
from tollgate_billing.domain.books import BatchLine
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.judge import KeptFinal
from tollgate_billing.domain.postings import (
    ADJUSTMENT,
    FUNDING,
    LOSS,
    PAYABLE,
    PROVIDER_COST,
    REVENUE,
    WALLET,
    Line,
    Transfer,
    WalletEffect,
)
from tollgate_billing.errors import InvalidGrant, LedgerRefused, LedgerUnavailable
from tollgate_billing.ports import Effect, Grant, OpenException, Posting
from tollgate_kit.event_log import OwnershipLost
from tollgate_kit.sql import Database
from tollgate_rating import INT64_MAX

pytestmark = pytest.mark.integration

SOURCE = Bounds("epoch", "topic", 0, 0, 10)


def grant(amount=1000, key="k", organization="org", currency="USD"):
    return Grant(organization, currency, amount, key, "test", 1)


def line(debit, credit, organization="org", model="m", currency="USD"):
    return Line(organization, "project", model, "sha256:book", currency, debit, credit)


def posting(low, high, transfers=(), effects=(), owner="me", **more):
    return Posting(Bounds("epoch", "topic", 0, low, high), owner, transfers, effects, now_us=5, **more)


def effect(charges, credit=0, organization="org"):
    return WalletEffect(
        organization, {(hold, "USD"): amount for hold, amount in charges.items()}, {"USD": credit} if credit else {}
    )


async def test_a_grant_is_credited_once_per_key(ledger):
    assert await ledger.grant(grant()) == 1000
    assert await ledger.grant(grant()) == 1000
    assert await ledger.grant(grant(key="k2")) == 2000
    assert await ledger.balance("org") == ("USD", 2000)
    assert await ledger.balances() == {"org": 2000}
    assert await ledger.balance("nobody") == ("", 0)


@pytest.mark.parametrize(
    "wrong",
    [
        grant(amount=0),
        grant(amount=-5),
        grant(amount=INT64_MAX + 1),
        grant(amount=INT64_MAX, key="beyond"),
        grant(currency="dollars"),
        grant(key=""),
        grant(organization=""),
        grant(amount=999),
        grant(key="k2", currency="CNY"),
    ],
)
async def test_a_grant_that_cannot_be_made_changes_nothing(ledger, wrong):
    await ledger.grant(grant())
    with pytest.raises(InvalidGrant):
        await ledger.grant(wrong)
    assert await ledger.balances() == {"org": 1000}


async def test_a_batch_is_posted_once_and_says_its_effects_each_time(ledger):
    await ledger.grant(grant())
    await ledger.claim(SOURCE.source, "me")
    transfers = [Transfer(line(WALLET, REVENUE), 300, 2), Transfer(line(PROVIDER_COST, PAYABLE), 100, 2)]
    batch = posting(0, 10, transfers, [effect({"r1": 100, "r2": 200})])
    expected = (Effect("org", (("r1", 100), ("r2", 200)), 0),)
    for _ in range(3):
        assert await ledger.post(batch) == expected
    assert await ledger.balance("org") == ("USD", 700)
    (last,) = await ledger.unfinished({})
    assert (last.source, last.batch, last.effects) == (SOURCE.source, "epoch/topic/0/0-10", expected)
    assert await ledger.unfinished({SOURCE.source: "an earlier one"}) == [last]
    assert await ledger.unfinished({SOURCE.source: last.batch}) == []


async def test_what_was_posted_wins_over_what_is_posted_again(ledger):
    """The effects that count are those that were written with the transfers."""
    await ledger.claim(SOURCE.source, "me")
    first = await ledger.post(posting(0, 10, [Transfer(line(WALLET, REVENUE), 3, 1)], [effect({"r": 3})]))
    again = await ledger.post(posting(0, 10, [Transfer(line(WALLET, REVENUE), 9, 1)], [effect({"r": 9})]))
    assert again == first
    assert await ledger.balance("org") == ("USD", -3)


async def test_a_batch_that_is_behind_does_nothing(ledger):
    await ledger.claim(SOURCE.source, "me")
    await ledger.post(posting(0, 10, [Transfer(line(WALLET, REVENUE), 1, 1)], [effect({"r": 1})]))
    await ledger.post(posting(10, 20, [Transfer(line(WALLET, REVENUE), 2, 1)], [effect({"s": 2})]))
    assert await ledger.post(posting(0, 10, [Transfer(line(WALLET, REVENUE), 4, 1)], [effect({"r": 1})])) == ()
    assert await ledger.balance("org") == ("USD", -3)


async def test_only_the_last_owner_posts(ledger):
    with pytest.raises(OwnershipLost):
        await ledger.post(posting(0, 10))
    await ledger.claim(SOURCE.source, "me")
    await ledger.claim(SOURCE.source, "somebody else")
    with pytest.raises(OwnershipLost):
        await ledger.post(posting(0, 10, [Transfer(line(WALLET, REVENUE), 1, 1)]))
    await ledger.post(posting(0, 10, owner="somebody else"))
    assert await ledger.balances() == {}


async def test_a_correction_credits_the_wallet(ledger):
    await ledger.grant(grant())
    await ledger.claim(SOURCE.source, "me")
    await ledger.post(posting(0, 10, [Transfer(line(WALLET, REVENUE), 50, 1)], [effect({"r": 50})]))
    transfers = [
        Transfer(line(WALLET, REVENUE), 70, 1),
        Transfer(line(ADJUSTMENT, WALLET), 50, 1),
        Transfer(line(LOSS, PROVIDER_COST), 20, 1),
    ]
    effects = await ledger.post(posting(10, 20, transfers, [effect({"r": 70}, credit=50)]))
    assert effects == (Effect("org", (("r", 70),), 50),)
    assert await ledger.balance("org") == ("USD", 930)


async def test_an_amount_in_another_currency_moves_no_wallet_of_this_one(ledger):
    await ledger.grant(grant())
    await ledger.claim(SOURCE.source, "me")
    foreign = WalletEffect("org", {("r", "CNY"): 40, ("s", "USD"): 5}, {"CNY": 9})
    transfers = [Transfer(line(WALLET, REVENUE, currency="CNY"), 40, 1), Transfer(line(WALLET, REVENUE), 5, 1)]
    assert await ledger.post(posting(0, 10, transfers, [foreign])) == (Effect("org", (("r", 0), ("s", 5)), 0),)
    assert await ledger.balance("org") == ("USD", 995)


async def test_open_exceptions_are_kept_replaced_closed_and_forgotten(ledger):
    await ledger.claim(SOURCE.source, "me")

    def opened(request, at_us, status="witness"):
        return OpenException(request, b"e" * 16, status, 1, at_us)

    await ledger.post(posting(0, 10, opened=[opened("a", 100), opened("b", 200), opened("c", 300)]))
    await ledger.post(posting(10, 20, opened=[opened("b", 250, "unconfirmed")], closed=["c"]))
    assert await ledger.open_requests(0) == {"a", "b"}
    assert await ledger.open_requests(150) == {"b"}
    assert await ledger.open_requests(0) == {"b"}
    # What was booked since no event came stays open as long as one may come.
    kept_us = 91 * 24 * 3600 * 10**6
    await ledger.post(posting(20, 30, opened=[opened("d", 400, "settled")]))
    assert await ledger.open_requests(400 + kept_us) == {"d"}
    assert await ledger.open_requests(401 + kept_us) == frozenset()


async def test_finals_that_were_compared_are_kept_by_event_until_none_can_come_again(ledger):
    await ledger.claim(SOURCE.source, "me")
    one, two, three = (bytes([number]) * 16 for number in (1, 2, 3))
    day_us = 24 * 3600 * 10**6
    first = [KeptFinal(one, "a", 3, 100 * day_us, stands=True), KeptFinal(two, "b", 4, 200 * day_us, stands=False)]
    await ledger.post(posting(0, 10, finals=first))
    # A batch that is posted again changes nothing.
    await ledger.post(posting(0, 10, finals=[KeptFinal(three, "a", 5, 100 * day_us, stands=True)]))
    assert await ledger.finals({"a", "b", "c"}) == {"a": {one: True}, "b": {two: False}}
    again = [KeptFinal(three, "a", 11, 200 * day_us, stands=True), KeptFinal(two, "b", 12, 200 * day_us, stands=True)]
    await ledger.post(posting(10, 20, finals=again, corrected=[one, b"n" * 16]))
    assert await ledger.finals({"a", "b"}) == {"a": {one: False, three: True}, "b": {two: False}}
    # Of the source that asks, only what is below; of any other, all.
    assert await ledger.finals({"a"}, Bounds("epoch", "topic", 0, 11, 20)) == {"a": {one: False}}
    assert await ledger.finals({"a"}, Bounds("epoch", "topic", 0, 3, 20)) == {}
    assert await ledger.finals({"a"}, Bounds("other", "topic", 0, 3, 20)) == {"a": {one: False, three: True}}
    assert await ledger.finals(set()) == {}
    names = [f"r{number}" for number in range(1_200)]
    many = [KeptFinal(name.encode().ljust(16), name, 20, 200 * day_us, stands=True) for name in names]
    await ledger.post(posting(20, 30, finals=many))
    assert await ledger.finals(names) == {name: {name.encode().ljust(16): True} for name in names}
    # Events of what began more than 90 days before are not booked any more.
    await ledger.open_requests(191 * day_us)
    assert await ledger.finals({"a"}) == {"a": {one: False, three: True}}
    await ledger.open_requests(191 * day_us + 1)
    assert await ledger.finals({"a"}) == {"a": {three: True}}


async def test_many_organizations_at_once_come_out_exact(ledger):
    for number in range(4):
        await ledger.claim(f"epoch/topic/{number}", "me")

    async def post(number):
        for step in range(10):
            organizations = [f"org{(number + step + index) % 5}" for index in range(5)]
            transfers = [Transfer(line(WALLET, REVENUE, organization=name), 7, 1) for name in organizations]
            bounds = Bounds("epoch", "topic", number, step * 10, step * 10 + 10)
            await ledger.post(Posting(bounds, "me", transfers, ()))

    await asyncio.gather(*(post(number) for number in range(4)))
    assert await ledger.balances() == {f"org{number}": -7 * 40 for number in range(5)}


async def test_transfers_and_balances_are_the_same_money(database_url):
    database = Database(database_url, migrations="tollgate_billing:migrations")
    await database.migrate()
    ledger = SqlLedger(database)
    await ledger.grant(grant(amount=INT64_MAX))
    await ledger.claim(SOURCE.source, "me")
    await ledger.post(posting(0, 10, [Transfer(line(WALLET, REVENUE), 123, 1), Transfer(line(LOSS, PAYABLE), 5, 1)]))

    def check(connection):
        sums = {}
        for row in connection.execute(sa.select(TRANSFERS)):
            for account, sign in ((row.debit, -1), (row.credit, 1)):
                key = (row.organization_id, account, row.currency)
                sums[key] = sums.get(key, 0) + sign * row.amount_pico
        kept = {
            (row.organization_id, row.account, row.currency): whole_balance(row)
            for row in connection.execute(sa.select(ACCOUNTS))
        }
        assert kept == sums
        assert sum(kept.values()) == 0
        assert kept["org", "wallet", "USD"] == INT64_MAX - 123

    await database.read(check)
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:////{tmp_path}/{uuid.uuid4().hex}.sqlite"
    return request.getfixturevalue("postgresql").new_database("ledger")


@contextmanager
def older_ledger(url, revision):
    """Makes the tables of an older release, and gives a connection to fill them with."""
    engine = sa.create_engine(url)
    config = Config()
    config.set_main_option("script_location", "tollgate_billing:migrations")
    script = ScriptDirectory.from_config(config)
    with (
        engine.begin() as connection,
        EnvironmentContext(config, script, fn=lambda at, _: script._upgrade_revs(revision, at)) as environment,
    ):
        environment.configure(connection=connection)
        environment.run_migrations()
        yield connection
    engine.dispose()


async def test_sums_beyond_int64_stay_exact(ledger):
    books = FakeLedgerBooks(ledger) if isinstance(ledger, FakeLedger) else SqlLedgerBooks(ledger.database)
    await ledger.claim(SOURCE.source, "me")
    revenue = 0
    for place in range(8):
        amount = INT64_MAX - place
        await ledger.grant(grant(amount=amount, key=f"k{place}"))
        bounds = Bounds("epoch", "topic", 0, place, place + 1)
        await ledger.post(Posting(bounds, "me", [Transfer(line(WALLET, REVENUE), amount, 1)], (), now_us=1))
        revenue += amount
        assert await books.unbalanced() == []
        assert await ledger.balances() == {"org": 0}
    back = [Transfer(line(REVENUE, WALLET), INT64_MAX - 3, 1)]
    await ledger.post(Posting(Bounds("epoch", "topic", 0, 8, 9), "me", back, (), now_us=1))
    revenue -= INT64_MAX - 3
    assert await books.unbalanced() == []
    assert await ledger.balance("org") == ("USD", INT64_MAX - 3)
    if isinstance(ledger, FakeLedger):
        assert ledger.accounts["org", REVENUE, "USD"] == revenue
        return
    accounts = {name: balance for name, _, balance in (await SqlOperations(ledger.database).accounts("org")).accounts}
    assert accounts == {WALLET: INT64_MAX - 3, REVENUE: revenue, FUNDING: -revenue - (INT64_MAX - 3)}


async def test_an_older_ledger_whose_sums_are_beyond_int64_is_mended(database_url):
    amounts = [PART_PICO, PART_PICO, PART_PICO - 7]
    with older_ledger(database_url, "0008") as connection:
        number = sa.text(
            "INSERT INTO transfers (batch, organization_id, project_id, model, price_digest, currency, debit, credit,"
            " amount_pico, events, reason, created_us) VALUES"
            " (:batch, 'org', '', '', '', 'USD', 'wallet', 'revenue', :amount, 1, 'usage', 1)"
        )
        add = sa.text(
            "INSERT INTO accounts (organization_id, account, currency, balance_pico)"
            " VALUES ('org', :account, 'USD', :amount) ON CONFLICT (organization_id, account, currency)"
            " DO UPDATE SET balance_pico = accounts.balance_pico + excluded.balance_pico"
        )
        # PostgreSQL has refused the third.
        kept = amounts if connection.dialect.name == "sqlite" else amounts[:2]
        for place, amount in enumerate(kept):
            connection.execute(number, {"batch": f"b{place}", "amount": amount})
            connection.execute(add, {"account": "wallet", "amount": -amount})
            connection.execute(add, {"account": "revenue", "amount": amount})
        connection.execute(add, {"account": "bonus", "amount": 5})
    database = Database(database_url, migrations="tollgate_billing:migrations")
    await database.migrate()
    rows = await database.read(lambda connection: connection.execute(sa.select(ACCOUNTS)).all())
    assert {row.account: whole_balance(row) for row in rows} == {"wallet": -sum(kept), "revenue": sum(kept), "bonus": 5}
    assert {type(row.balance_pico) for row in rows} == {int}
    assert [one.account for one in await SqlLedgerBooks(database).unbalanced()] == ["bonus"]
    database.close()


async def test_processes_that_start_together_migrate_once(database_url):
    databases = [Database(database_url, migrations="tollgate_billing:migrations") for _ in range(3)]
    await asyncio.gather(*(one.migrate() for one in databases))
    await databases[0].migrate()
    for one in databases:
        one.close()


async def test_the_migrations_make_the_tables_that_the_code_uses(database_url):
    database = Database(database_url, migrations="tollgate_billing:migrations")
    await database.migrate()

    def compare(connection):
        found = sa.inspect(connection)
        for table in METADATA.sorted_tables:
            there = {one["name"]: one["nullable"] for one in found.get_columns(table.name)}
            assert there == {column.name: bool(column.nullable) for column in table.columns}
            assert found.get_pk_constraint(table.name)["constrained_columns"] == [
                column.name for column in table.primary_key
            ]

    await database.read(compare)
    database.close()


async def test_a_database_that_is_away_is_unavailable():
    database = Database("postgresql+psycopg://app@127.0.0.1:1/none", migrations="tollgate_billing:migrations")
    with pytest.raises(LedgerUnavailable):
        await SqlLedger(database).balances()
    database.close()


async def test_what_was_booked_when_is_found_for_comparisons(ledger):
    if isinstance(ledger, FakeLedger):
        books, keeps_times = FakeLedgerBooks(ledger), False
    else:
        books, keeps_times = SqlLedgerBooks(ledger.database), True
    assert (await books.heights(), await books.unbalanced(), await books.transfers_between(0, 10**18)) == ({}, [], [])
    await ledger.grant(grant(INT64_MAX))
    await ledger.claim(SOURCE.source, "me")
    for place in range(1, 8):
        bounds = Bounds("epoch", "topic", 0, place - 1, place)
        moved = [Transfer(line(WALLET, REVENUE), 10**18 + place, 2), Transfer(line(PROVIDER_COST, PAYABLE), place, 2)]
        await ledger.post(Posting(bounds, "me", moved, [], now_us=place * 1000))
    assert await books.heights() == {SOURCE.source: 7}
    found = await books.transfers_of({"epoch/topic/0/2-3", "epoch/topic/0/0-1", "another"})
    about = ("org", "project", "m", "sha256:book", "USD")
    assert sorted(found) == sorted(
        (BatchLine(f"epoch/topic/0/{place - 1}-{place}", *about), *accounts, amount)
        for place in (1, 3)
        for accounts, amount in (((WALLET, REVENUE), 10**18 + place), ((PROVIDER_COST, PAYABLE), place))
    )
    if keeps_times:
        for first in range(9):
            between = await books.transfers_between(first * 1000, 6000)
            assert len(between) == 2 * len(range(max(first, 1), 6)), first
    assert await books.unbalanced() == []


@pytest.mark.parametrize("profile", ["sqlite", "postgresql"])
async def test_transfers_of_before_exchange_rates_stay_and_count_once_for_each_rate(profile, request, tmp_path):
    url = f"sqlite:////{tmp_path}/ledger.sqlite"
    if profile == "postgresql":
        url = request.getfixturevalue("postgresql").new_database("ledger")
    values = {
        **line(WALLET, REVENUE)._asdict(),
        "batch": "b",
        "amount_pico": 5,
        "events": 1,
        "reason": "usage",
        "created_us": 1,
    }
    values.pop("rate_digest")
    with older_ledger(url, "0003") as connection:
        names = ", ".join(values)
        text = f"INSERT INTO transfers ({names}) VALUES ({', '.join(f':{name}' for name in values)})"
        connection.execute(sa.text(text), values)
    database = Database(url, migrations="tollgate_billing:migrations")
    await database.migrate()
    (row,) = await database.read(lambda connection: connection.execute(sa.select(TRANSFERS)).all())
    assert (row.amount_pico, row.rate_digest, row.transfer_id) == (5, "", 1)

    def add(rate, amount=7):
        more = values | {"rate_digest": rate, "amount_pico": amount}
        return lambda connection: connection.execute(sa.insert(TRANSFERS).values(more))

    await database.write(add("sha256:one"))
    for again in ("", "sha256:one"):
        with pytest.raises(sa.exc.IntegrityError):
            await database.write(add(again))
    with pytest.raises(sa.exc.IntegrityError):
        await database.write(add("sha256:two", 0))
    database.close()


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
@pytest.mark.parametrize("wrong", [{"model": "m" * 257}, {"organization": "o\0"}, {"currency": "EURO"}])
async def test_what_no_column_can_keep_is_refused_and_nothing_of_it_is_written(ledger, wrong):
    """What is away is waited for; this would be waited for for ever."""
    await ledger.claim(SOURCE.source, "me")
    moved = [
        Transfer(line(WALLET, REVENUE), 3, 1),
        Transfer(line(WALLET, REVENUE, **{"organization": "x"} | wrong), 4, 1),
    ]
    with pytest.raises(LedgerRefused):
        await ledger.post(posting(0, 5, moved))
    assert await ledger.balances() == {}
    await ledger.post(posting(0, 5, moved[:1]))
    assert await ledger.balances() == {"org": -3}


def long_name(chance):
    """Returns as many bytes as a name may have, which nothing makes shorter."""
    return "".join(chr(chance.randrange(0x10000, 0x1FFFF)) for _ in range(256))


LONG = dict(zip(("organization_id", "project_id", "model"), map(long_name, map(random.Random, range(3))), strict=True))


@pytest.mark.parametrize(
    ("ledger", "wrong", "amount"),
    [
        *product(["sqlite", "postgresql"], [{}], [0, INT64_MAX + 1]),
        # Its columns keep them, and no index does.
        ("postgresql", LONG, 4),
    ],
    indirect=["ledger"],
)
async def test_what_breaks_a_rule_or_a_limit_is_refused_and_nothing_of_it_is_written(ledger, wrong, amount):
    await ledger.claim(SOURCE.source, "me")
    plain = line(WALLET, REVENUE)
    moved = [Transfer(plain, 3, 1), Transfer(plain._replace(price_digest="other", **wrong), amount, 1)]
    with pytest.raises(LedgerRefused):
        await ledger.post(posting(0, 5, moved))
    assert await ledger.balances() == {}
    await ledger.post(posting(0, 5, moved[:1]))
    assert await ledger.balances() == {"org": -3}


@pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)
async def test_the_longest_names_that_an_event_may_have_fit_an_index(ledger):
    """Of letters that nothing makes shorter: PostgreSQL takes 2,704 bytes into an entry, after compression."""
    chance = random.Random(1)
    organization, project = (f"{chance.getrandbits(1024):0256x}" for _ in range(2))
    model = long_name(chance)
    book, rate = (f"{chance.getrandbits(512):0128x}" for _ in range(2))
    await ledger.claim(SOURCE.source, "me")
    whole = Line(organization, project, model, book, "USD", WALLET, REVENUE, rate)
    await ledger.post(posting(0, 5, [Transfer(whole, 3, 1)]))
    assert await ledger.balances() == {organization: -3}
