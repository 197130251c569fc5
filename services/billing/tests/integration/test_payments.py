"""Top-ups: a simulated provider's messages, signed, repeated, replayed, reordered and forged."""

import asyncio
import itertools
import uuid

import pytest
import sqlalchemy as sa
from tests.servers.payment import message, signed

from tollgate_billing.adapters.redis_wallets import RedisWallets
from tollgate_billing.adapters.simulated_payments import SimulatedPayments
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.sql_operations import SqlOperations
from tollgate_billing.adapters.sql_payments import SqlPayments
from tollgate_billing.adapters.sql_tables import ACCOUNTS
from tollgate_billing.errors import InvalidMove, KeyReused, NotFound, Unsigned
from tollgate_billing.ledger_ports import Move
from tollgate_billing.settings import BillingSettings
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_billing.use_cases.top_up import TopUps
from tollgate_holds.holds import Holds
from tollgate_kit.clock import ManualClock
from tollgate_kit.ids import RandomIds
from tollgate_kit.sql import Database
from tollgate_rating import INT64_MAX

pytestmark = pytest.mark.integration

SECRET = b"a secret of more than enough bytes"
PAID, FAILED, REFUNDED = "payment.succeeded", "payment.failed", "payment.refunded"


class Shop:
    """Top-ups with a provider beside them that signs as it should, unless it is told otherwise."""

    def __init__(self, database, holds):
        self.clock, self.numbers = ManualClock(), itertools.count()
        self.database, self.ledger = database, SqlLedger(database)
        self.wallets, self.operations = RedisWallets(holds), SqlOperations(database)
        keep = KeepWallets(self.ledger, self.wallets, BillingCounters(), asyncio.Lock())
        self.more = {"payments": SqlPayments(database), "keep": keep, "clock": self.clock, "ids": RandomIds()}
        self.top_ups = TopUps(provider=SimulatedPayments("https://pay.example/"), secret=SECRET, **self.more)
        self.org = f"org-{uuid.uuid4().hex[:8]}"

    async def begin(self, amount=5 * 10**12, key="", currency="USD"):
        return await self.top_ups.begin(self.org, currency, amount, key or uuid.uuid4().hex)

    async def send(self, body, webhook_id="", secret=SECRET, age=0, **wrong):
        webhook_id = webhook_id or f"msg-{next(self.numbers)}"
        headers = signed(secret, webhook_id, self.clock.now_us() // 10**6 - age, body) | {
            f"webhook-{name}": value for name, value in wrong.items() if name != "instead"
        }
        return await self.top_ups.record(
            headers["webhook-id"],
            headers["webhook-timestamp"],
            headers["webhook-signature"],
            wrong.get("instead", body),
        )

    async def balance(self):
        """Returns what the ledger and the wallet say, which is the same."""
        _, balance = await self.ledger.balance(self.org)
        assert (await self.wallets.state(self.org)).wallet in {balance, None}
        return balance


@pytest.fixture(params=["sqlite", "postgresql"])
async def shop(request, tmp_path):
    if request.param == "sqlite":
        url = f"sqlite:////{tmp_path}/ledger.sqlite"
    else:
        url = request.getfixturevalue("postgresql").new_database("ledger")
    database = Database(url, migrations="tollgate_billing:migrations")
    await database.migrate()
    holds = Holds(request.getfixturevalue("valkey").url)
    await holds.start()
    assert await holds.wait_ready(60)
    yield Shop(database, holds)
    await holds.close()
    database.close()


async def test_money_is_there_once_the_provider_says_so_and_once(shop):
    first = await shop.begin(key="k")
    assert (first.state, first.checkout_url) == ("open", f"https://pay.example/{first.id}")
    assert (await shop.begin(key="k")).id == first.id
    with pytest.raises(KeyReused):
        await shop.begin(amount=1, key="k")
    assert await shop.balance() == 0
    body = message(PAID, first.id, "5")
    assert await shop.send(body, "m1") == "paid"
    assert [await shop.send(body, "m1"), await shop.send(body, "m2")] == ["", ""]
    assert await shop.balance() == 5 * 10**12
    (listed,) = await shop.top_ups.list(shop.org, 10, "")
    assert (listed.id, listed.state) == (first.id, "paid")


async def test_who_pays_in_another_currency_tops_up_in_it_and_in_no_other(shop):
    top_up = await shop.begin(currency="CNY")
    for wrong in (message(PAID, top_up.id, "5"), message(PAID, top_up.id, "5", "EUR")):
        with pytest.raises(InvalidMove, match="amount or currency"):
            await shop.send(wrong)
    assert await shop.send(message(PAID, top_up.id, "5", "CNY")) == "paid"
    assert await shop.ledger.balance(shop.org) == ("CNY", 5 * 10**12)
    dollars = await shop.begin(currency="USD")
    with pytest.raises(InvalidMove, match="pays in CNY, not in USD"):
        await shop.send(message(PAID, dollars.id, "5"))
    assert await shop.balance() == 5 * 10**12


async def test_what_the_balance_has_no_room_for_is_refused_and_credited_once_there_is(shop):
    most = INT64_MAX - INT64_MAX % 10**12
    first, second = await shop.begin(), await shop.begin()
    large = await shop.begin(amount=most - 5 * 10**12, key="large")
    for one, amount in ((first, "5"), (large, str(most // 10**12 - 5))):
        assert await shop.send(message(PAID, one.id, amount)) == "paid"
    # Nobody is sent to pay what could not be credited, and what was begun before is not taken either.
    with pytest.raises(InvalidMove, match=r"beyond 9223372\.036854775807"):
        await shop.begin(amount=10**12, key="more")
    assert (await shop.begin(amount=most - 5 * 10**12, key="large")).id == large.id
    body = message(PAID, second.id, "5")
    with pytest.raises(InvalidMove, match=r"beyond 9223372\.036854775807"):
        await shop.send(body, "m")
    assert await shop.balance() == most
    assert [one.state for one in await shop.top_ups.list(shop.org, 10, "")].count("open") == 1
    # The provider sends its message again.
    assert await shop.send(message(REFUNDED, first.id, "5")) == "refunded"
    assert await shop.send(body, "m") == "paid"
    assert await shop.balance() == most


async def test_a_message_that_comes_many_times_at_once_counts_once(shop):
    top_up = await shop.begin()
    body = message(PAID, top_up.id, "5.0")
    found = await asyncio.gather(*(shop.send(body, f"m{number % 3}") for number in range(12)))
    assert sorted(found) == [""] * 11 + ["paid"]
    assert await shop.balance() == 5 * 10**12


@pytest.mark.parametrize("order", sorted(set(itertools.permutations([PAID, FAILED, REFUNDED]))))
async def test_in_any_order_a_refunded_payment_leaves_nothing(shop, order):
    top_up = await shop.begin()
    for kind in (*order, *order):
        await shop.send(message(kind, top_up.id, "5"))
    assert await shop.balance() == 0
    (listed,) = await shop.top_ups.list(shop.org, 10, "")
    assert listed.state == "refunded"

    def total(connection):
        return connection.execute(sa.select(sa.func.coalesce(sa.func.sum(ACCOUNTS.c.balance_pico), 0))).scalar_one()

    assert await shop.database.read(total) == 0


async def test_a_failure_that_comes_late_takes_nothing_back(shop):
    top_up = await shop.begin()
    assert await shop.send(message(FAILED, top_up.id, "5")) == "failed"
    assert await shop.send(message(PAID, top_up.id, "5")) == "paid"
    assert await shop.send(message(FAILED, top_up.id, "5")) == ""
    assert await shop.balance() == 5 * 10**12


async def test_what_nobody_signed_just_now_moves_nothing(shop):
    top_up = await shop.begin()
    body = message(PAID, top_up.id, "5")
    right = signed(SECRET, "m", shop.clock.now_us() // 10**6, body)["webhook-signature"]
    for wrong in (
        {"secret": b"another secret of the right length"},
        {"secret": b""},
        {"age": 301},
        {"age": -301},
        {"signature": ""},
        {"signature": "v1,!!!"},
        {"signature": right.replace("v1,", "v2,")},
        {"signature": right},
        {"timestamp": "soon"},
        {"timestamp": ""},
        {"instead": body.replace(b'"5"', b'"6"')},
    ):
        with pytest.raises(Unsigned):
            await shop.send(body, "other", **wrong)
    shop.clock.advance(400)
    with pytest.raises(Unsigned, match="300 s"):
        await shop.send(body, "m", signature=right, timestamp=str(shop.clock.now_us() // 10**6 - 400))
    assert await shop.balance() == 0
    # While secrets change, one of several signatures is enough.
    now = shop.clock.now_us() // 10**6
    both = "v1,AAAA " + signed(SECRET, "m9", now, body)["webhook-signature"]
    assert await shop.send(body, "m9", signature=both) == "paid"


async def test_messages_that_are_signed_and_still_wrong(shop):
    top_up = await shop.begin()
    for body in (
        b"",
        b"[]",
        b"{}",
        b'{"type": "payment.succeeded"}',
        message(PAID, top_up.id, "4.99"),
        message(PAID, top_up.id, "5", "CNY"),
        message(PAID, top_up.id, "-5"),
        message(PAID, top_up.id, "0"),
        message(PAID, "", "5"),
        message(PAID, top_up.id, "5").replace(b'"5"', b"5.0"),
    ):
        with pytest.raises(InvalidMove):
            await shop.send(body)
    with pytest.raises(NotFound):
        await shop.send(message(PAID, "pay_none", "5"))
    assert await shop.send(b'{"type": "customer.created"}') == ""
    assert await shop.balance() == 0
    assert await shop.send(message(PAID, top_up.id, "5")) == "paid"


async def test_a_refund_of_money_that_is_spent_is_owed(shop):
    top_up = await shop.begin()
    await shop.send(message(PAID, top_up.id, "5"))
    await shop.operations.correct(Move(shop.org, "USD", -3 * 10**12, "spent", "spent", 1))
    await shop.send(message(REFUNDED, top_up.id, "5"))
    assert (await shop.ledger.balance(shop.org))[1] == -3 * 10**12


async def test_without_a_provider_nothing_is_paid_in(shop):
    nobody = TopUps(provider=None, secret=b"", **shop.more)
    with pytest.raises(NotFound):
        await nobody.begin(shop.org, "USD", 1, "k")
    body = message(PAID, "pay", "5")
    headers = signed(b"", "m", shop.clock.now_us() // 10**6, body)
    with pytest.raises(NotFound):
        await nobody.record("m", headers["webhook-timestamp"], headers["webhook-signature"], body)
    for amount, key in ((0, "k"), (-1, "k"), (1, "")):
        with pytest.raises(InvalidMove):
            await shop.top_ups.begin(shop.org, "USD", amount, key)


NEEDED = {
    "address": "unix:/a",
    "config_addresses": "unix:/a",
    "state_directory": "/tmp",
    "database_url": "sqlite:////a",
    "clickhouse_dsn": "chdb:///a",
    "redis_url": "unix:///a",
    "event_log_url": "sqlite:///a",
}


@pytest.mark.parametrize("content", [None, b"", b"   \n", b"short"])
def test_a_provider_without_a_secret_refuses_to_start(tmp_path, content):
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    more = {"payment_provider": "simulated", "payment_checkout_url": "https://pay.example"}
    for file in ("", str(secret)):
        with pytest.raises(ValueError, match="secret"):
            BillingSettings(**NEEDED, **more, payment_webhook_secret_file=file)
    secret.write_bytes(SECRET + b"\n")
    made = BillingSettings(**NEEDED, **more, payment_webhook_secret_file=str(secret))
    assert made.payment_secret() == SECRET
    with pytest.raises(ValueError, match="CHECKOUT_URL"):
        BillingSettings(**NEEDED, payment_provider="simulated", payment_webhook_secret_file=str(secret))
    assert BillingSettings(**NEEDED).payment_secret() == b""
