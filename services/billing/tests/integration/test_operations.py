"""Money that moves without a request: the ledger's operations on SQLite and PostgreSQL, wallets in Valkey beside it."""

import asyncio
import random

import pytest
import sqlalchemy as sa

from tollgate_billing.adapters.sql_codes import MAX_WRONG, WINDOW_US
from tollgate_billing.adapters.sql_tables import CODES
from tollgate_billing.errors import InvalidMove, KeyReused, NotFound, TooManyGuesses
from tollgate_billing.ledger_ports import BonusGrant, CodeTerms
from tollgate_billing.use_cases.move_money import hash_code
from tollgate_rating import INT64_MAX

pytestmark = pytest.mark.integration

MIGRATIONS = "tollgate_billing:migrations"
DAY_US = 24 * 3600 * 1_000_000


async def test_bonus_is_spent_before_paid_money_in_its_order(money):
    await money.pay(1000)
    await money.bonus(10, priority=200)
    await money.bonus(20, priority=100)
    await money.bonus(30, priority=100, expires_us=2 * DAY_US)
    await money.bonus(40, priority=100, expires_us=DAY_US)
    assert await money.left() == [(40, 100), (30, 100), (20, 100), (10, 200)]
    await money.charge(55)
    assert await money.left() == [(15, 100), (20, 100), (10, 200)]
    await money.charge(100)
    assert await money.left() == []
    assert await money.accounts() == {"adjustment": -100, "funding": -1000, "revenue": 155, "wallet": 945}
    await money.check()


async def test_what_expires_is_booked_out_once_and_the_wallet_follows(money):
    await money.pay(100)
    await money.bonus(50, expires_us=10)
    await money.bonus(5, expires_us=20)
    await money.charge(20)
    assert await money.move.expire(9) == 0
    assert await money.move.expire(10) == 1
    assert await money.move.expire(10) == 0
    assert (await money.wallets.state(money.org)).wallet == 105
    assert await money.accounts() == {"adjustment": -25, "bonus": 5, "funding": -100, "revenue": 20, "wallet": 100}
    await money.check()


async def test_credit_that_has_expired_is_not_granted(money):
    with pytest.raises(InvalidMove, match="expired"):
        await money.bonus(5, expires_us=1, now_us=1)
    assert await money.accounts() == {}


async def test_requests_that_outrun_the_money_are_owed_and_paid_first(money):
    await money.pay(100)
    await money.charge(130)
    assert await money.accounts() == {"funding": -100, "revenue": 130, "receivable": -30}
    assert await money.pay(20) == -10
    assert await money.accounts() == {"funding": -120, "revenue": 130, "receivable": -10}
    assert await money.pay(20) == 10
    assert await money.accounts() == {"funding": -140, "revenue": 130, "wallet": 10}
    await money.check()


async def test_a_credit_line_is_spendable_and_is_no_money(money):
    await money.pay(100)
    assert (await money.move.set_credit_line(money.moving(50))).balance_pico == 150
    assert (await money.wallets.state(money.org)).wallet == 150
    await money.charge(120)
    assert (await money.wallets.state(money.org)).wallet == 30
    with pytest.raises(InvalidMove, match="paid money"):
        await money.move.refund(money.moving(1))
    assert (await money.move.set_credit_line(money.moving(0))).balance_pico == -20
    with pytest.raises(InvalidMove):
        await money.move.set_credit_line(money.moving(-1))
    await money.pay(1000)
    with pytest.raises(InvalidMove, match="beyond"):
        await money.move.set_credit_line(money.moving(INT64_MAX))
    await money.check()


async def test_a_refund_takes_paid_money_once(money):
    await money.pay(100)
    await money.bonus(1000)
    move = money.moving(60, key=f"r-{money.org}")
    assert (await money.move.refund(move)).balance_pico == 1040
    again = await money.move.refund(move)
    assert (again.balance_pico, again.repeated) == (1040, True)
    with pytest.raises(InvalidMove, match="paid money"):
        await money.move.refund(money.moving(41))
    with pytest.raises(KeyReused):
        await money.move.refund(money.moving(61, key=f"r-{money.org}"))
    assert await money.accounts() == {"adjustment": -1000, "bonus": 1000, "funding": -40, "wallet": 40}
    await money.check()


async def test_what_requests_hold_is_not_refunded(money):
    await money.pay(100)
    await money.holds.hold(money.org, "req-held", 70, 600)
    with pytest.raises(InvalidMove, match="held by requests"):
        await money.move.refund(money.moving(31))
    assert (await money.move.refund(money.moving(30))).balance_pico == 70
    assert (await money.wallets.state(money.org)).wallet == 0
    await money.check()


async def test_a_refund_after_redis_lost_the_wallet(money):
    await money.pay(100)
    await money.holds.pipe.call("DEL", f"{{{money.org}}}:wallet")
    assert (await money.move.refund(money.moving(100))).balance_pico == 0
    await money.check()


async def test_corrections_go_either_way(money):
    await money.pay(10)
    assert (await money.move.correct(money.moving(5))).balance_pico == 15
    assert (await money.move.correct(money.moving(-40))).balance_pico == -25
    assert await money.accounts() == {"adjustment": 35, "funding": -10, "receivable": -25}
    with pytest.raises(InvalidMove):
        await money.move.correct(money.moving(0))
    with pytest.raises(InvalidMove, match="pays in USD"):
        await money.move.correct(money.moving(1, currency="CNY"))
    await money.check()


async def test_money_goes_to_another_organization_once(money):
    other = f"{money.org}-other"
    await money.pay(100)
    await money.pay(1, org=other)
    move = money.moving(40, key=f"t-{money.org}")
    for repeated in (False, True):
        moved = await money.move.transfer(move, other, "USD")
        assert (moved.balance_pico, moved.repeated) == (60, repeated)
    assert (await money.wallets.state(other)).wallet == 41
    for wrong, to, currency in ((61, other, "USD"), (1, money.org, "USD"), (1, f"{other}-cny", "CNY"), (1, "", "USD")):
        with pytest.raises(InvalidMove):
            await money.move.transfer(money.moving(wrong), to, currency)
    assert (await money.accounts(), await money.accounts(other)) == (
        {"clearing": 40, "funding": -100, "wallet": 60},
        {"clearing": -40, "funding": -1, "wallet": 41},
    )
    await money.check(money.org, other)


async def test_transfers_both_ways_at_once_neither_lose_nor_wait_for_ever(money):
    other = f"{money.org}-other"
    await money.pay(1000)
    await money.pay(1000, org=other)
    moves = [(money.org, other), (other, money.org)] * 10

    async def charge():
        for _ in range(5):
            await money.charge(1)

    work = [money.operations.transfer(money.moving(7, org=one), two, "USD") for one, two in moves]
    await asyncio.gather(*work, charge())
    assert (await money.ledger.balance(money.org), await money.ledger.balance(other)) == (("USD", 995), ("USD", 1000))


async def test_the_ledger_lists_its_transfers_page_by_page(money):
    for amount in (1, 2, 3):
        await money.pay(amount)
    first = await money.move.transfers(money.org, 2, 0)
    rest = await money.move.transfers(money.org, 2, first[-1].id)
    assert [one.amount_pico for one in (*first, *rest)] == [3, 2, 1]
    assert {(one.debit, one.credit, one.reason) for one in first} == {("funding", "wallet", "paid")}


def terms(amount=500, currency="USD", valid_days=0, expires_us=0):
    return CodeTerms("party", currency, amount, 100, valid_days, expires_us)


async def test_a_code_is_credited_once_and_is_not_kept(money):
    ((code, record),) = await money.move.create_codes(1, terms(valid_days=3), 1)
    assert code.startswith("TG-")
    assert len(code) == 26
    redeemed = await money.move.redeem(f" {code.lower().replace('-', ' ')} ", money.org, "USD", 100)
    assert (redeemed.amount_pico, redeemed.balance_pico, redeemed.repeated) == (500, 500, False)
    assert redeemed.expires_us == 100 + 3 * DAY_US
    again = await money.move.redeem(code, money.org, "USD", 200)
    assert (again.balance_pico, again.expires_us, again.repeated) == (500, redeemed.expires_us, True)
    with pytest.raises(InvalidMove, match="used"):
        await money.move.redeem(code, f"{money.org}-other", "USD", 200)
    with pytest.raises(InvalidMove, match="redeemed"):
        await money.move.revoke_code(record.id, 300)
    kept = await money.database.read(lambda connection: str(connection.execute(sa.select(CODES)).all()))
    assert code not in kept
    assert code.replace("-", "")[2:].lower() not in kept.lower()
    await money.check()


async def test_codes_that_are_expired_withdrawn_or_of_another_currency_are_refused(money):
    ((late, _),) = await money.move.create_codes(1, terms(expires_us=50), 1)
    ((gone, record),) = await money.move.create_codes(1, terms(), 1)
    ((yuan, _),) = await money.move.create_codes(1, terms(currency="CNY"), 1)
    assert (await money.move.revoke_code(record.id, 2)).revoked_us == 2
    for code in (late, gone, yuan, "TG-NONSENSE", ""):
        with pytest.raises(InvalidMove):
            await money.move.redeem(code, money.org, "USD", 50)
    assert await money.accounts() == {}
    with pytest.raises(NotFound):
        await money.move.revoke_code("code_none", 3)
    for count, wrong in ((0, terms()), (1001, terms()), (1, terms(amount=0)), (1, terms(expires_us=1))):
        with pytest.raises(InvalidMove):
            await money.move.create_codes(count, wrong, 1)


async def test_of_many_who_redeem_a_code_at_once_one_has_it(money):
    ((code, _),) = await money.move.create_codes(1, terms(), 1)
    orgs = [f"{money.org}-{number}" for number in range(12)]
    work = [money.codes.redeem(hash_code(code), org, "USD", 5) for org in orgs for _ in range(2)]
    found = await asyncio.gather(*work, return_exceptions=True)
    good = [one for one in found if not isinstance(one, Exception)]
    assert {type(one) for one in found if isinstance(one, Exception)} == {InvalidMove}
    assert [one.repeated for one in good].count(False) == 1
    balances = [(await money.ledger.balance(org))[1] for org in orgs]
    assert sorted(balances) == [0] * 11 + [500]


async def test_guessing_is_stopped_and_hurts_nobody_else(money):
    ((code, _),) = await money.move.create_codes(1, terms(), 1)
    guesses = [money.codes.redeem(hash_code(f"guess {n}"), money.org, "USD", 5) for n in range(3 * MAX_WRONG)]
    found = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(one, InvalidMove) for one in found) == MAX_WRONG
    assert sum(isinstance(one, TooManyGuesses) for one in found) == 2 * MAX_WRONG
    with pytest.raises(TooManyGuesses) as refused:
        await money.move.redeem(code, money.org, "USD", 6)
    assert refused.value.retry_after_us == WINDOW_US - 1
    assert (await money.move.redeem(code, money.org, "USD", 5 + WINDOW_US)).amount_pico == 500
    ((other, _),) = await money.move.create_codes(1, terms(), 1)
    assert (await money.move.redeem(other, f"{money.org}-other", "USD", 6)).amount_pico == 500


@pytest.mark.parametrize("seed", range(4))
async def test_any_mixture_of_operations_balances(money, seed):
    chance = random.Random(seed)
    orgs = [f"{money.org}-{number}" for number in range(3)]
    for org in orgs:
        await money.pay(1000, org=org)
    for step in range(60):
        org, amount = chance.choice(orgs), chance.randint(1, 400)
        move = money.moving(amount, org=org)
        work = chance.choice(
            [
                lambda org=org, amount=amount: money.charge(amount, org=org),
                lambda org=org, amount=amount: money.charge(amount, org=org, currency="CNY"),
                lambda org=org, amount=amount: money.pay(amount, org=org),
                lambda move=move, step=step: money.move.grant_bonus(
                    BonusGrant(move, chance.randint(0, 2), chance.choice([0, step + 5]))
                ),
                lambda move=move: money.move.refund(move),
                lambda move=move: money.move.correct(move),
                lambda org=org, amount=amount: money.move.correct(money.moving(-amount, org=org)),
                lambda move=move: money.move.transfer(move, chance.choice(orgs), "USD"),
                lambda move=move: money.move.set_credit_line(move),
                lambda step=step: money.move.expire(step),
            ]
        )
        try:
            await work()
        except InvalidMove:
            continue
    await money.check(*orgs)
