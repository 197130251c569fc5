"""A ledger on SQLite or PostgreSQL with wallets in Valkey beside it, and all that moves money in them."""

import asyncio
import random
import uuid

import sqlalchemy as sa

from tollgate_billing.adapters.redis_wallets import RedisWallets
from tollgate_billing.adapters.sql_codes import SqlCodes
from tollgate_billing.adapters.sql_ledger import SqlLedger
from tollgate_billing.adapters.sql_operations import SqlOperations
from tollgate_billing.adapters.sql_tables import ACCOUNTS, BONUSES, TRANSFERS, whole_balance
from tollgate_billing.domain.books import nearest
from tollgate_billing.domain.intent import Bounds
from tollgate_billing.domain.postings import (
    ADJUSTMENT,
    REVENUE,
    WALLET,
    Line,
    TakenBack,
    Transfer,
    WalletEffect,
)
from tollgate_billing.ledger_ports import BonusGrant, Move
from tollgate_billing.ports import Grant, Posting
from tollgate_billing.telemetry import BillingCounters
from tollgate_billing.use_cases.keep_wallets import KeepWallets
from tollgate_billing.use_cases.move_money import MoveMoney
from tollgate_holds.holds import Holds
from tollgate_kit.ids import RandomIds
from tollgate_kit.sql import Database

MIGRATIONS = "tollgate_billing:migrations"


class Money:
    """A ledger and the wallets that follow it; organizations are new for each test."""

    def __init__(self, database, holds):
        self.database, self.holds = database, holds
        self.ledger, self.wallets = SqlLedger(database), RedisWallets(holds)
        self.operations, self.codes = SqlOperations(database), SqlCodes(database)
        self.counters = BillingCounters()
        self.keep = KeepWallets(self.ledger, self.wallets, self.counters, asyncio.Lock())
        randoms = random.Random(7)
        self.move = MoveMoney(
            operations=self.operations,
            codes=self.codes,
            wallets=self.wallets,
            keep=self.keep,
            ids=RandomIds(),
            random_bytes=randoms.randbytes,
        )
        self.org = f"org-{uuid.uuid4().hex[:8]}"
        self.high = 0

    async def pay(self, amount, org="", key=""):
        grant = Grant(org or self.org, "USD", amount, key or uuid.uuid4().hex, "paid", 1)
        return await self.keep.grant(grant)

    def moving(self, amount, key="", org="", now_us=1, currency="USD"):
        return Move(org or self.org, currency, amount, key or uuid.uuid4().hex, "test", now_us)

    async def bonus(self, amount, priority=100, expires_us=0, **more):
        return await self.move.grant_bonus(BonusGrant(self.moving(amount, **more), priority, expires_us))

    async def charge(self, amount, org="", currency="USD", back=()):
        """Books a batch that charges an amount, as billing would; returns its name.

        `back` is what it takes back: amounts by the names of the batches that had charged them.
        """
        org = org or self.org
        bounds = Bounds("epoch", f"topic-{self.org}", 0, self.high, self.high + 1)
        self.high += 1
        await self.ledger.claim(bounds.source, "me")
        taken = [TakenBack(batch, org, currency, old) for batch, old in dict(back).items()]
        total = sum(one.amount_pico for one in taken)
        transfers = [
            Transfer(Line(org, "p", "m", "sha256:b", currency, *accounts), moved, 1)
            for accounts, moved in (((WALLET, REVENUE), amount), ((ADJUSTMENT, WALLET), total))
            if moved
        ]
        effect = WalletEffect(org, {(f"req-{self.high}", currency): amount}, {currency: total} if total else {})
        (found,) = await self.ledger.post(Posting(bounds, "me", transfers, [effect], taken_back=taken, now_us=1))
        await self.wallets.book(found, bounds.source, bounds.batch)
        return bounds.batch

    async def accounts(self, org=""):
        found = await self.operations.accounts(org or self.org)
        return {name: balance for name, currency, balance in found.accounts if currency == found.currency and balance}

    async def left(self):
        return [(one.remaining_pico, one.priority) for one in (await self.operations.accounts(self.org)).bonuses]

    async def check(self, *orgs):
        """Every account is the sum of its transfers, all of them are zero, bonuses are what is left, wallets follow."""

        def sums(connection):
            found = {}
            for row in connection.execute(sa.select(TRANSFERS)):
                for account, sign in ((row.debit, -1), (row.credit, 1)):
                    key = (row.organization_id, account, row.currency)
                    found[key] = found.get(key, 0) + sign * row.amount_pico
            kept = {(row[0], row[1], row[2]): whole_balance(row) for row in connection.execute(sa.select(ACCOUNTS))}
            assert kept == found
            assert sum(kept.values()) == 0
            assert sum(balance for (_, account, _), balance in kept.items() if account == "clearing") == 0
            left = {}
            for row in connection.execute(sa.select(BONUSES)):
                left[row.organization_id] = left.get(row.organization_id, 0) + row.remaining_pico
            for (org, account, currency), balance in kept.items():
                assert account != "bonus" or balance == left[org]
                assert account != "receivable" or balance <= 0
                assert account != "wallet" or currency != "USD" or balance >= 0

        await self.database.read(sums)
        for org in orgs or (self.org,):
            state = await self.wallets.state(org)
            _, balance = await self.ledger.balance(org)
            assert state.wallet == nearest(balance - state.held - state.settled)


async def opened_money(url, redis_url):
    """Yields the ledger at a URL, migrated, and closes it."""
    database = Database(url, migrations=MIGRATIONS, threads=8)
    await database.migrate()
    holds = Holds(redis_url)
    await holds.start()
    assert await holds.wait_ready(60)
    yield Money(database, holds)
    await holds.close()
    database.close()
