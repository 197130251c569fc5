"""A generated month through a real billing process, against the oracle: statement, evidence and the twelve views."""

import ast
import json
import sys
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from services.billing.tests.fakes import usage_views
from services.billing.tests.fakes.events import BOOK, CONFIRMED, UNCONFIRMED, WITNESS
from services.billing.tests.integration.running import BillingProcess, send, servers_of

from tests.oracle import books, month
from tollgate.billing.v1 import billing_pb2 as wire_billing
from tollgate.billing.v1 import reports_pb2, reports_pb2_grpc
from tollgate.events.v1 import usage_pb2
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_kit.grpc_io import new_channel

pytestmark = pytest.mark.integration

FUNDS = 10**15
STATUSES = {"confirmed": CONFIRMED, "unconfirmed": UNCONFIRMED, "witness": WITNESS}
VIEWS = (
    *("burn_rate", "cache_share", "channel_errors", "invoice_lines", "latency", "margin_by_provider", "media"),
    *("output_price", "spend_by_model", "spend_by_project", "top_keys"),
)
# What a digest says is not exact; how many it is of, is.
INEXACT = {"p50_ms", "p95_ms", "p99_ms", "first_byte_p50_ms", "first_byte_p95_ms", "first_byte_p99_ms"}


def test_the_oracle_shares_no_code_with_the_product():
    known = sys.stdlib_module_names
    for module in (books, month, usage_views):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert all(name.partition(".")[0] in known for name in names), (module.__name__, names)


def message(event):
    """Returns a raw event on the wire."""
    priced = event["model"] != "unknown"
    return usage_pb2.UsageRecorded(
        event_id=event["id"],
        request_id=event["request_id"],
        attempt=event["attempt"],
        source=usage_pb2.EventSource.Value(f"EVENT_SOURCE_{event['source'].upper()}"),
        status=STATUSES[event["status"]],
        final=event["final"],
        replay=event["replay"],
        started_at_us=event["started_us"],
        ended_at_us=event["ended_us"],
        tenant=wire.Tenant(organization_id=event["organization"], project_id=event["project"], api_key_id=event["key"]),
        model=event["model"],
        provider=event["provider"],
        channel=event["channel"],
        outcome=wire.Outcome.Value(f"OUTCOME_{event['outcome'].upper()}"),
        usage=wire.Usage(
            input_tokens=event["input"],
            cache_read_tokens=event["cached"],
            output_tokens=event["output"],
            images=[wire.ImageCount(size=size, count=count) for size, count in event["images"]],
        ),
        charge_pico=event["charge"],
        cost_pico=event["cost"],
        unpriced=event["unpriced"],
        currency="USD",
        price_digest=BOOK.digest if priced else "",
        timings=wire.Timings(first_byte_us=event["first_byte_us"], total_us=event["total_us"]),
        **{"try": event["try"]},
    )


@pytest.mark.parametrize("profile", ["embedded"])
async def test_a_month_is_what_the_oracle_says(request, tmp_path, valkey, profile):
    valkey.clear()
    billing = BillingProcess(tmp_path, servers_of(profile, request, tmp_path, valkey))
    now_us = time.time_ns() // 1000
    events = month.events_of(3, 400, now_us)
    settled = books.settle(events)
    try:
        billing.start()
        client = billing.client()
        for organization in ("org-a", "org-b"):
            await client.grant(FUNDS, key=organization, organization=organization)
        await send(billing.servers["TOLLGATE_BILLING_EVENT_LOG_URL"], [message(event) for event in events])
        status = await client.booked(len(settled))
        assert (status.poison, status.mismatches) == (0, 0)
        await check_statements(billing, client, settled)
        await check_evidence(client, settled)
        await check_views(client, books.rows(settled, BOOK.digest), now_us)
        await client.close()
    finally:
        billing.clean()


async def check_statements(billing, client, settled):
    channel = new_channel(billing.socket)
    for organization in ("org-a", "org-b"):
        asked = reports_pb2.GetStatementRequest(organization_id=organization, from_us=1, to_us=1 << 62)
        found = await reports_pb2_grpc.ReportServiceStub(channel).GetStatement(asked, timeout=60)
        lines = {
            (line.project_id, line.model, line.price_digest): (
                line.requests - line.taken_back_requests,
                line.charged_pico - line.taken_back_pico,
            )
            for line in found.lines
        }
        expected = books.statement(settled, organization, BOOK.digest)
        assert {key: line for key, line in lines.items() if line != (0, 0)} == expected
        spent = sum(amount for _, amount in expected.values())
        assert found.closing_pico == FUNDS - spent
        balance = await client.balance(organization)
        assert balance.ledger_pico == balance.wallet_pico == FUNDS - spent
    await channel.close()


async def check_evidence(client, settled):
    """Of every kind of request: one that was corrected, replaced, repeated or only estimated among them."""
    charges = books.charges(settled)
    for name in list(charges)[:40]:
        found = await client.call("GetEvidence", wire_billing.GetEvidenceRequest(request_id=name))
        assert found.charge_pico == charges[name], name
        assert sum(row.charge_pico for row in found.rows) == charges[name], name


async def check_views(client, rows, now_us):
    oracle = usage_views.FakeUsageViews(SimpleNamespace(usage=rows), ())
    since, until = (datetime.fromtimestamp(at // 10**6, UTC) for at in (now_us - 29 * month.DAY_US, now_us))
    for organization in ("", "org-a"):
        for name in VIEWS:
            given = {"since": since, "until": until, "top": "20", "budget": "25.5", "channel": "east"}
            takes = {"burn_rate": "budget", "media": "top", "top_keys": "top", "channel_errors": "channel"}
            sent = {key: f"{given[key]:%Y-%m-%dT%H:%M:%SZ}" for key in ("since", "until")}
            sent |= {key: given[key] for key in [takes.get(name)] if key}
            query = wire_billing.QueryViewRequest(
                name=name, parameters=sent, operator=True, limit=10_000, organization_id=organization
            )
            if organization and name in {"channel_errors", "latency", "margin_by_provider"}:
                continue
            found = await client.call("QueryView", query)
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
    await check_requests(client, rows)


async def check_requests(client, rows):
    """The twelfth: the rows of a request, by what they add up to."""
    for name in list({row["request_id"]: None for row in rows})[:20]:
        query = wire_billing.QueryViewRequest(name="request", parameters={"request_id": name}, operator=True, limit=99)
        found = await client.call("QueryView", query)
        names = [column.name for column in found.columns]
        said = [dict(zip(names, json.loads(row), strict=True)) for row in found.rows_json]
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
