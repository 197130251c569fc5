"""A generated month through router, edge, media-jobs and billing, against the oracle: statement, evidence, views.

What comes before and after the month is there too, prices and exchange rates change within it, and what had no price
at first is charged at its end.
"""

import ast
import asyncio
import contextlib
import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import uvicorn
from services.billing.tests.fakes import usage_views
from services.billing.tests.integration.running import send, servers_of
from services.edge.tests.fakes.http import http_world

from tests.oracle import books, declared, driver, month
from tests.oracle.prices import Prices, per, price_of
from tollgate.billing.v1 import billing_pb2 as wire_billing
from tollgate.billing.v1 import ledger_pb2, ledger_pb2_grpc, reports_pb2, reports_pb2_grpc
from tollgate_edge.adapters.grpc_clients import BillingClient
from tollgate_edge.adapters.report_client import ReportClient
from tollgate_kit.grpc_io import new_channel

pytestmark = pytest.mark.integration

UNIT = 10**12
# Of money: what moved it, in which phase, and how much, in favour of the organization.
MOVES = (
    (month.BEFORE, "payment", 1_000 * UNIT),
    (month.DURING, "grant", 2 * UNIT + 1),
    (month.DURING, "refund", -5 * UNIT),
    (month.DURING, "correction", -UNIT // 2),
    (month.DURING, "correction", 3),
    (month.DURING, "payment", 10 * UNIT),
    (month.AFTER, "payment", 3 * UNIT),
)
VIEWS = (
    *("burn_rate", "cache_share", "channel_errors", "invoice_lines", "latency", "margin_by_provider", "media"),
    *("output_price", "spend_by_model", "spend_by_project", "top_keys"),
)
FOR_OPERATORS = {"channel_errors", "latency", "margin_by_provider"}
# What a digest says is not exact; how many it is of, is.
INEXACT = {"p50_ms", "p95_ms", "p99_ms", "first_byte_p50_ms", "first_byte_p95_ms", "first_byte_p99_ms"}
ORACLE = (books, declared, month, sys.modules["tests.oracle.prices"], usage_views)


def test_the_oracle_shares_no_code_with_the_product():
    allowed = {*sys.stdlib_module_names, "yaml"}
    for module in ORACLE:
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert all(name.partition(".")[0] in allowed for name in names), (module.__name__, names)
    # And no other module of this folder is taken for one of the oracle.
    mine = {Path(module.__file__).stem for module in ORACLE if module is not usage_views}
    found = {file.stem for file in Path(books.__file__).parent.glob("*.py")}
    assert found == mine | {"__init__", "clocked_billing", "driver", "test_month"}


class Setting:
    """A billing process, what the product makes of the facts, and what the oracle does."""

    def __init__(self, billing, directory, seed=3):
        self.billing = billing
        self.now_us = time.time_ns() // 1000
        self.times, written = month.times_of(datetime.fromtimestamp(self.now_us / 1e6, UTC))
        self.begin_us, self.end_us = (month.micros(self.times[name]) for name in ("begin", "end"))
        self.name = f"{self.times['begin']:%Y-%m}"
        self.versions, self.prices = [], []
        for complete in (False, True):
            file = directory / f"declared-{complete}.yaml"
            file.write_text(declared.text(written, complete=complete))
            self.versions.append(driver.Version(file))
            self.prices.append(Prices(file.read_text()))
        self.speaker = driver.Speaker(self.versions[0], directory / "spool")
        self.phases = month.facts_of(seed, self.times, self.now_us)
        self.books = books.Books(self.prices[0])
        self.lines = []
        self.channel = new_channel(billing.socket)

    def clock(self, at_us):
        self.billing.set_clock(at_us, self.now_us)

    async def book(self, phase):
        """Has a phase booked, at the time of billing's clock, by both."""
        facts = self.phases[phase]
        url = self.billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"]
        half = len(facts) // 2
        for part in (facts[:half], facts[half:]):
            await send(url, [self.speaker.message(fact) for fact in part])
            self.books.book(part)
            await self.settled(phase)

    async def settled(self, phase, seconds=180):
        """Waits until the store has every event, and ledger and wallets have what the oracle says."""
        counted = "SELECT countIf(kind = 'usage') FROM usage_events"
        rows = len(self.books.events) + len(self.books.later)
        expected = [[rows], *([self.balance(phase, one)] * 2 for one in month.ORGANIZATIONS)]
        deadline = time.monotonic() + seconds
        while True:
            found = await self.client.sql(counted)
            for organization in month.ORGANIZATIONS:
                balance = await self.client.balance(organization)
                found.append([balance.ledger_pico, balance.wallet_pico])
            status = await self.client.call("GetStatus", wire_billing.GetStatusRequest())
            assert (status.poison, status.mismatches) == (0, 0)
            if found == expected:
                return
            assert time.monotonic() < deadline, (found, expected, self.billing.log()[-2000:])
            await asyncio.sleep(0.1)

    def balance(self, phase, organization):
        """Returns what an organization has, when all of this phase is booked that the oracle knows of."""
        return self.moved(range(phase + 1)) - sum(one[1] for one in self.books.lines(organization).values())

    async def move(self, phase):
        """Moves money without a request, as MOVES says."""
        ledger = ledger_pb2_grpc.LedgerServiceStub(self.channel)
        for organization, currency in month.ORGANIZATIONS.items():
            for place, (of, kind, amount) in enumerate(MOVES):
                if of != phase:
                    continue
                about = {
                    "organization_id": organization,
                    "currency": currency,
                    "amount_pico": abs(amount) if kind == "refund" else amount,
                    "idempotency_key": f"{organization}-{place}",
                    "reason": f"{kind} {place}",
                }
                if kind == "payment":
                    await self.client.call("Grant", wire_billing.GrantRequest(**about))
                elif kind == "grant":
                    await ledger.GrantBonus(ledger_pb2.GrantBonusRequest(**about), timeout=60)
                elif kind == "refund":
                    await ledger.Refund(ledger_pb2.RefundRequest(**about), timeout=60)
                else:
                    await ledger.Correct(ledger_pb2.CorrectRequest(**about), timeout=60)

    def remember(self):
        """Keeps what stands charged at the end of a phase."""
        self.lines.append({organization: self.books.lines(organization) for organization in month.ORGANIZATIONS})

    async def rate_later(self):
        """Completes the price book and charges what had no price."""
        assert self.billing.stop() == 0
        self.billing.configure(self.versions[1])
        self.billing.start()
        await self.settled(month.DURING)
        asked = reports_pb2.RerateUnpricedRequest(from_us=self.begin_us, to_us=self.end_us, model="half", apply=True)
        found = await reports_pb2_grpc.ReportServiceStub(self.channel).RerateUnpriced(asked, timeout=60)
        expected = self.books.rate_later(self.prices[1], "half", self.begin_us, self.end_us)
        assert found.sent == len(expected) > 5
        assert sum(row.charge_pico for row in found.rows) == sum(one["charge"] for one in expected)
        assert sum(row.cost_pico for row in found.rows) == sum(one["cost"] for one in expected)
        assert {row.price_digest for row in found.rows} == {book.digest for book in self.prices[1].books}
        await self.settled(month.DURING)

    async def live(self):
        """Lives through the month, what was before it, and what is after."""
        self.billing.configure(self.versions[0])
        self.clock(self.begin_us - month.DAY_US // 2)
        self.billing.start()
        self.client = self.billing.client()
        await self.move(month.BEFORE)
        await self.book(month.BEFORE)
        self.remember()
        self.clock(self.begin_us + month.DAY_US)
        await self.move(month.DURING)
        await self.book(month.DURING)
        await driver.refuse(self.billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], self.refused())
        # The last minute of the month.
        self.clock(self.end_us - 600 * 10**6)
        await self.rate_later()
        self.remember()
        self.clock(self.end_us + 3600 * 10**6)
        await self.move(month.AFTER)
        await self.book(month.AFTER)
        self.remember()

    def refused(self):
        return [
            {
                "request_id": f"refused-{number}",
                # What is told more than a week later is none of the log's.
                "refused_at_us": self.now_us - number * month.DAY_US // 4,
                "organization_id": "org-usd" if number % 2 else "org-cny",
                "project_id": "p0",
                "api_key_id": "k0",
                "route": "/v1/chat/completions",
                "operation": "chat",
                "model": "chat",
                "status": 429,
                "code": "rate_limit_exceeded",
                "message": "Too many.",
            }
            for number in range(20)
        ]

    def moved(self, phases):
        return sum(amount for phase, _, amount in MOVES if phase in phases)

    def spent(self, phase, organization):
        return sum(amount for _, amount in self.lines[phase][organization].values())


async def test_a_month_is_what_the_oracle_says(request, tmp_path, valkey):
    valkey.clear()
    billing = driver.ClockedBilling(tmp_path, servers_of("embedded", request, tmp_path, valkey))
    setting = Setting(billing, tmp_path)
    try:
        await setting.live()
        check_variety(setting)
        async with pages(setting) as edge:
            for organization in month.ORGANIZATIONS:
                await check_statement(setting, edge, organization, tmp_path)
            await check_evidence(setting, edge)
            await check_refused(setting, edge)
        rows = setting.books.rows()
        await check_sums(setting, rows)
        await check_views(setting, rows)
        await setting.client.close()
        await setting.channel.close()
    finally:
        billing.clean()


def check_variety(setting):
    """The month has what it is said to have, so that what follows is no agreement about nothing."""
    events, begin, end = setting.books.events.values(), setting.begin_us, setting.end_us
    within = [event for event in events if begin <= event["started_us"] < end]
    assert len(events) - len(within) > 60
    said = [event["said"] for event in within]
    assert len({one["price_digest"] for one in said if one["price_digest"]}) == 2
    assert len({one["rate_digest"] for one in said if one["rate_digest"]}) == 3
    assert {event["service"] for event in within} == {"", "flex", "priority"}
    assert sum(one["unpriced"] for one in said) > len(setting.books.later) > 5
    best = setting.books.best
    assert sum(best[event["request_id"]]["id"] != event["id"] for event in within if event["final"]) > 20
    # Pictures are paid as such and by their tokens, within and beyond the change of prices.
    drawn = [one["said"]["units"] for one in within if one["operation"] == "image"]
    assert {any(unit.startswith("image:") for unit in units) for units in drawn} == {True, False}
    # And a month's word is taken back after it.
    assert setting.lines[month.DURING] != setting.lines[month.AFTER]


@contextlib.asynccontextmanager
async def pages(setting):
    """Yields edge's HTTP over this billing, for a client and for commands."""
    clients = BillingClient(setting.billing.socket), ReportClient(setting.billing.socket)
    async with http_world(billing=clients[0], reports=clients[1]) as world:
        world.clock.advance((setting.now_us - world.clock.now_us()) / 1e6)
        for name, currency in month.ORGANIZATIONS.items():
            for project in month.GROUPS:
                await world.tenants.ensure_project(name, name, currency, project, project, 1)
        # It takes connections from now on.
        listener = socket.create_server(("127.0.0.1", 0))
        world.port = listener.getsockname()[1]
        options = {"log_level": "warning", "lifespan": "off", "ws": "none"}
        server = uvicorn.Server(uvicorn.Config(world.app, **options))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield world
        finally:
            server.should_exit = True
            await serving
            for client in clients:
                await client.close()


async def check_statement(setting, edge, organization, directory):
    path = f"/api/v1/statements/{organization}/{setting.name}"
    before, after = (setting.lines[phase][organization] for phase in (month.BEFORE, month.DURING))
    expected = books.difference(after, before)
    assert len(expected) > 10
    found = (await edge.client.get(path, headers=edge.operator)).json()
    lines = {
        (line["project"], line["model"], line["price_digest"], line["rate_digest"]): (
            line["requests"],
            -line["amount_pico"],
        )
        for line in found["lines"]
    }
    assert {key: line for key, line in lines.items() if line != (0, 0)} == expected
    rates = {one[4]: one[5] for one in setting.prices[0].rates}
    for line in found["lines"]:
        told = line["exchange_rate"]
        assert told is None if not line["rate_digest"] else Decimal(told) == Decimal(rates[line["rate_digest"]])
    opening = setting.moved({month.BEFORE}) - setting.spent(month.BEFORE, organization)
    closing = setting.moved({month.BEFORE, month.DURING}) - setting.spent(month.DURING, organization)
    assert (found["opening_pico"], found["closing_pico"]) == (opening, closing)
    assert (found["currency"], found["open"], found["shortened"]) == (month.ORGANIZATIONS[organization], False, False)
    moves = [(kind, amount) for phase, kind, amount in MOVES if phase == month.DURING]
    assert [(one["kind"], one["amount_pico"]) for one in found["movements"]] == moves
    usage = -sum(amount for _, amount in expected.values())
    check_tables(await edge.client.get(f"{path}?format=csv", headers=edge.operator), opening, usage, closing)
    page = await edge.client.get(f"{path}?format=html", headers=edge.operator)
    # The first table has the sums; the last cell of each row of the second the line's amount.
    sums, table, *_ = re.findall(r"<table>(.*?)</table>", page.text)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", sums)][1:]
    assert [pico(row[1]) for row in cells] == [opening, usage, sum(amount for _, amount in moves), closing]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)][1:]
    assert sum(pico(row[-1]) for row in cells) == usage
    assert len(cells) == len(found["lines"])
    file = directory / f"{organization}.parquet"
    await asyncio.to_thread(run_command, edge, "statement", setting.name, "--organization", organization, "-o", file)
    written = pq.read_table(file).to_pylist()
    assert sum(pico(row["amount"]) for row in written if row["kind"] == "usage") == usage
    assert sum(pico(row["amount"]) for row in written[:-1]) == pico(written[-1]["amount"]) == closing
    # The month after begins where this one ends, and has what was taken back of it.
    following = (setting.times["end"]).strftime("%Y-%m")
    found = (await edge.client.get(f"/api/v1/statements/{organization}/{following}", headers=edge.operator)).json()
    assert found["opening_pico"] == closing
    everything = {month.BEFORE, month.DURING, month.AFTER}
    assert found["closing_pico"] == setting.moved(everything) - setting.spent(month.AFTER, organization)
    balance = await setting.client.balance(organization)
    assert balance.ledger_pico == balance.wallet_pico == found["closing_pico"]


def check_tables(reply, opening, usage, closing):
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert (pico(rows[0]["amount"]), pico(rows[-1]["amount"])) == (opening, closing)
    assert sum(pico(row["amount"]) for row in rows if row["kind"] == "usage") == usage
    assert sum(pico(row["amount"]) for row in rows[:-1]) == closing


def run_command(edge, *words):
    """Runs a command of `tollgate` against edge's HTTP."""
    token = edge.operator["authorization"].removeprefix("Bearer ")
    environment = os.environ | {"TOLLGATE_URL": f"http://127.0.0.1:{edge.port}", "TOLLGATE_TOKEN": token}
    command = [sys.executable, "-m", "tollgate_cli", *map(str, words), "--format", "parquet"]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr


def pico(amount):
    """Returns a decimal in pico-units."""
    return int(Decimal(amount).scaleb(12))


async def check_evidence(setting, edge):
    """Of requests of every kind: corrected, replaced, repeated, only estimated, charged later."""
    standing = setting.books.standing()
    later = [name for name, (event, _) in standing.items() if event["id"] in setting.books.later]
    names = dict.fromkeys([*list(standing)[::5], *later[:10]])
    priced = 0
    for name in names:
        event, said = standing[name]
        found = (await edge.client.get(f"/api/v1/requests/{name}", headers=edge.operator)).json()
        assert found["charge_pico"] == sum(one["charge_pico"] for one in found["attempts"]) == said["charge"], name
        assert sum(one["cost_pico"] for one in found["attempts"]) == cost_of(setting, name), name
        assert found["mismatches"] == []
        assert (found["model"], found["organization"]["id"]) == (event["model"], event["organization"])
        told = [(one["charged_pico"], one["price_digest"]) for one in found["prices"]]
        if not said["price_digest"] or said["unpriced"]:
            assert not said["charge"]
            continue
        assert told == [(said["charge"], said["price_digest"])], name
        (price,) = found["prices"]
        assert price["agrees"], name
        check_lines(setting, event, said, price)
        priced += 1
    assert priced > 50


def check_lines(setting, event, said, price):
    """What a bill says of each unit is what the oracle's own price list says, and its lines add up to the charge."""
    assert sum(line["amount_pico"] for line in price["lines"]) == said["charge"]
    prices = next(one for one in setting.prices if said["price_digest"] in {book.digest for book in one.books})
    book = next(book for book in prices.books if book.digest == said["price_digest"])
    listed = book.units_of(event, event["group"])
    factor, digest, _ = prices.rate(event["currency"], event["started_us"])
    # Where nothing was used nothing was converted.
    factor = factor if said["rate_digest"] else Fraction(1)
    lines = {line["unit"]: line for line in price["lines"]}
    used = {unit: count for unit, count in said["units"].items() if count and (unit != "request" or unit in listed)}
    assert {unit: line["quantity"] for unit, line in lines.items()} == used
    for unit, line in lines.items():
        assert Fraction(line["price"]) == price_of(listed, unit) * factor * per(unit), unit
    if said["rate_digest"]:
        assert said["rate_digest"] == digest == price["exchange_rate"]["rate_digest"]
        assert price["exchange_rate"]["list_charge_pico"] == said["list_charge"]


def cost_of(setting, name):
    return sum(pico(row["cost"]) for row in setting.books.rows() if row["request_id"] == name)


async def check_refused(setting, edge):
    """They are found, and are nowhere in the money."""
    mine = setting.refused()
    for organization in month.ORGANIZATIONS:
        path = f"/api/v1/requests?kind=refused&limit=100&organization_id={organization}"
        expected = {one["request_id"] for one in mine if one["organization_id"] == organization}
        deadline = time.monotonic() + 60
        # They have a log and a loop of their own.
        while (found := await refusals(edge, path)) != expected:
            assert time.monotonic() < deadline, (found, expected)
            await asyncio.sleep(0.1)
    found = (await edge.client.get("/api/v1/requests/refused-3", headers=edge.operator)).json()
    assert (found["refused"]["http_status"], found["charge_pico"], found["attempts"]) == (429, 0, [])


async def refusals(edge, path):
    found = (await edge.client.get(path, headers=edge.operator)).json()
    return {one["request_id"] for one in found["items"]}


async def check_sums(setting, rows):
    """Raw rows and each rollup add up to what the oracle has, by organization and currency."""
    for organization in month.ORGANIZATIONS:
        mine = [row for row in rows if row["organization_id"] == organization]
        expected = [sum((row[name] for row in mine), Decimal(0)) for name in ("charge", "cost", "loss")]
        for table in ("usage_events", "usage_1m", "usage_1h", "usage_1d"):
            (sums,) = await setting.client.sql(
                f"SELECT sum(charge), sum(cost), sum(loss) FROM {table} WHERE organization_id = '{organization}'"
            )
            assert list(map(Decimal, sums)) == expected, table


async def check_views(setting, rows):
    oracle = usage_views.FakeUsageViews(SimpleNamespace(usage=rows), ())
    since, until = setting.times["begin"], setting.times["end"]
    for organization in ("", *month.ORGANIZATIONS):
        for name in VIEWS:
            if organization and name in FOR_OPERATORS:
                continue
            given = {"since": since, "until": until, "top": "20", "budget": "25.5", "channel": "east"}
            takes = {"burn_rate": "budget", "media": "top", "top_keys": "top", "channel_errors": "channel"}
            sent = {key: f"{given[key]:%Y-%m-%dT%H:%M:%SZ}" for key in ("since", "until")}
            sent |= {key: given[key] for key in [takes.get(name)] if key}
            query = wire_billing.QueryViewRequest(
                name=name, parameters=sent, operator=True, limit=10_000, organization_id=organization
            )
            found = await setting.client.call("QueryView", query)
            names = [column.name for column in found.columns]
            asked = {key: f"{given[key]:%Y-%m-%d %H:%M:%S}" for key in ("since", "until")}
            asked |= {"top": 20, "budget": "25.5", "channel": "east", "organization": organization}
            expected = [[_plain(row[column]) for column in names] for row in getattr(oracle, name)(asked)]
            mine = [json.loads(row) for row in found.rows_json]
            assert expected, name
            exact = [place for place, column in enumerate(names) if column not in INEXACT]
            assert len(mine) == len(expected), name
            for one, other in zip(mine, expected, strict=True):
                for place in exact:
                    same = pytest.approx(other[place], rel=1e-9) if isinstance(other[place], float) else other[place]
                    assert one[place] == same, (name, names[place], one, other)
    await check_requests(setting, rows)


async def check_requests(setting, rows):
    """The twelfth: the rows of a request, by what they add up to."""
    names = list({row["request_id"]: None for row in rows})
    later = [
        event["request_id"] for event, _ in setting.books.standing().values() if event["id"] in setting.books.later
    ]
    for name in [*names[::15], *later[:5]]:
        query = wire_billing.QueryViewRequest(name="request", parameters={"request_id": name}, operator=True, limit=99)
        found = await setting.client.call("QueryView", query)
        columns = [column.name for column in found.columns]
        said = [dict(zip(columns, json.loads(row), strict=True)) for row in found.rows_json]
        mine = [row for row in rows if row["request_id"] == name]
        for column in ("charge", "cost", "loss"):
            assert sum(Decimal(row[column]) for row in said) == sum(row[column] for row in mine), (name, column)
        assert sum(row["kind"] == "usage" for row in said) == len(mine)


def _plain(value):
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value
