"""An organization beyond what a wallet in Redis holds: it is told of, and all others are booked, compared and swept."""

import asyncio
import time

import httpx
import pytest
from services.billing.tests.fakes.events import usage_event
from services.billing.tests.integration.running import BillingProcess, send, servers_of

from tollgate.billing.v1 import billing_pb2, ledger_pb2, ledger_pb2_grpc
from tollgate_billing.errors import InvalidGrant, InvalidMove
from tollgate_kit.grpc_io import new_channel
from tollgate_rating import INT64_MAX, MAX_CHARGE_PICO, format_decimal

pytestmark = pytest.mark.integration

# As many tokens as one request can pay for, and more requests than int64 has room for.
TOKENS = MAX_CHARGE_PICO // 10**6
COUNT = 1_050
HALF = INT64_MAX // 2 + 1


async def overdrawn(money, org):
    """Takes an organization 100 beyond, in batches that are each within it."""
    await money.charge(INT64_MAX, org=org)
    await money.keep.rebuild(org)
    await money.charge(100, org=org)


async def test_others_are_booked_compared_and_swept_behind_it(money):
    # In front of the others in every order.
    beyond, other = f"a-{money.org}", f"b-{money.org}"
    await money.pay(1_000, org=other)
    await overdrawn(money, beyond)
    await money.charge(30, org=other)
    assert (await money.wallets.state(beyond)).wallet == -INT64_MAX
    assert (await money.wallets.state(other)).wallet == 970
    await money.check(beyond, other)

    await money.holds.hold(other, "dead", 20, -5)
    await money.holds.pipe.call("DECRBY", f"{{{other}}}:wallet", 5)
    await money.keep.reconcile()
    assert (await money.wallets.state(other)).wallet == 970
    assert await money.holds.records(other) != []
    assert money.counters.wallets_beyond == 1
    assert (money.counters.counts["released_holds"], money.counters.counts["drifted_wallets"]) == (1, 1)
    await money.check(beyond, other)


async def test_a_wallet_that_comes_back_is_the_ledgers_and_no_drift(money):
    await overdrawn(money, money.org)
    await money.keep.reconcile()
    # From the bound: the wallet is 100 higher than the ledger until somebody looks.
    batch = await money.charge(40)
    await money.charge(0, back={batch: 40})
    await money.keep.reconcile()
    assert (await money.wallets.state(money.org)).wallet == -INT64_MAX
    assert money.counters.wallets_beyond == 1
    await money.pay(150)
    await money.check()
    await money.keep.reconcile()
    assert (await money.wallets.state(money.org)).wallet == 50 - INT64_MAX
    assert money.counters.wallets_beyond == 0
    assert money.counters.counts["drifted_wallets"] == 0


async def test_money_that_would_go_beyond_is_refused_in_words_and_the_way_back_is_open(money):
    await money.pay(HALF)
    said = format_decimal(INT64_MAX)
    with pytest.raises(InvalidGrant, match="beyond"):
        await money.pay(HALF)
    with pytest.raises(InvalidMove, match=said):
        await money.bonus(HALF)
    with pytest.raises(InvalidMove, match=said):
        await money.move.correct(money.moving(HALF))
    with pytest.raises(InvalidMove, match=said):
        await money.move.set_credit_line(money.moving(HALF))
    await money.check()

    owing = f"{money.org}-owing"
    await overdrawn(money, owing)
    with pytest.raises(InvalidMove, match=f"beyond -{said}"):
        await money.move.correct(money.moving(-1, org=owing))
    # Each of these leaves it beyond, and nearer.
    assert await money.pay(10, org=owing) == -INT64_MAX - 90
    assert (await money.move.correct(money.moving(10, org=owing))).balance_pico == -INT64_MAX - 80
    assert (await money.move.set_credit_line(money.moving(10, org=owing))).balance_pico == -INT64_MAX - 70
    assert (await money.bonus(10, org=owing)).balance_pico == -INT64_MAX - 60
    await money.check(money.org, owing)


async def test_a_process_goes_on_and_says_which_organization_it_is(request, tmp_path, valkey):
    valkey.clear()
    billing = BillingProcess(tmp_path, servers_of("embedded", request, tmp_path, valkey))
    billing.servers["TOLLGATE_BILLING_RECONCILE_SECONDS"] = "0.5"
    url, now = billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], time.time_ns() // 1000
    total = COUNT * TOKENS * 10**6
    assert total > INT64_MAX
    dear = [
        usage_event(f"r{place}", at_us=now, input_tokens=TOKENS, output_tokens=0, cost_pico=0, organization="dear")
        for place in range(COUNT)
    ]
    small = [usage_event(f"s{place}", at_us=now, organization="small") for place in range(20)]
    channel = new_channel(billing.socket)
    try:
        billing.start()
        client = billing.client()
        await client.grant(10**12, organization="small")
        await send(url, dear)
        await client.booked(COUNT)
        await send(url, small)
        await client.booked(COUNT + 20)
        left = 10**12 - 20 * small[0].charge_pico
        found = await client.balance("small")
        assert found.ledger_pico == found.wallet_pico == left

        # An answer of int64 says the nearest, and the exact amount beside it.
        found = await client.balance("dear")
        assert (found.exact_ledger_pico, found.ledger_pico) == (str(-total), -INT64_MAX)
        ledger = ledger_pb2_grpc.LedgerServiceStub(channel)
        found = await ledger.GetAccounts(ledger_pb2.GetAccountsRequest(organization_id="dear"), timeout=60)
        assert (found.exact_pico, found.balance_pico) == (str(-total), -INT64_MAX)

        compared = await client.call("CompareBooks", billing_pb2.CompareBooksRequest(from_us=now - 3600 * 10**6))
        (difference,) = compared.differences
        assert (difference.kind, difference.organization_id) == ("wallet_beyond", "dear")
        assert format_decimal(-total) in difference.detail
        assert difference.next_step
        await seen(billing, 'tollgate_billing_book_differences{kind="wallet_beyond"} 1.0')
        await seen(billing, "tollgate_billing_wallets_beyond 1.0")
        assert "a wallet is beyond what Redis counts" in billing.log()

        correct = ledger_pb2.CorrectRequest(organization_id="dear", currency="USD", idempotency_key="c")
        correct.amount_pico = 10**12
        moved = (await ledger.Correct(correct, timeout=60)).moved
        assert moved.exact_pico == str(10**12 - total)
        correct.amount_pico, correct.idempotency_key = INT64_MAX, "d"
        await ledger.Correct(correct, timeout=60)
        assert (await client.balance("dear")).wallet_pico == 10**12 - total + INT64_MAX
        await seen(billing, "tollgate_billing_wallets_beyond 0.0")
        await client.close()
    finally:
        await channel.close()
        billing.clean()


async def seen(billing, line):
    """Waits until the process's metrics have this line."""
    transport = httpx.AsyncHTTPTransport(uds=billing.admin.removeprefix("unix:"))
    deadline = time.monotonic() + 60
    async with httpx.AsyncClient(transport=transport, base_url="http://billing", timeout=60) as admin:
        while line not in (text := (await admin.get("/metrics")).text.splitlines()):
            assert time.monotonic() < deadline, [one for one in text if "beyond" in one]
            await asyncio.sleep(0.1)
