"""Statements and what-if over edge's HTTP: forms, escapes, who may ask, and what bad input is told."""

import csv
import io

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate.billing.v1 import reports_pb2 as reports
from tollgate_edge.domain.statement import month_bounds
from tollgate_rating import PriceBook

pytestmark = pytest.mark.unit

PATH = "/api/v1/statements/org_1/2025-11"
EVIL = '<script>alert("x")</script>'
FOUND = reports.GetStatementResponse(
    currency="USD",
    opening_pico=10**12,
    closing_pico=2 * 10**12 - 25 * 10**10,
    lines=[
        reports.StatementLine(
            project_id="proj_1",
            model="gpt",
            price_digest="sha256:abc",
            requests=3,
            charged_pico=3 * 10**11,
            taken_back_requests=1,
            taken_back_pico=5 * 10**10,
        )
    ],
    movements=[
        reports.StatementMovement(at_us=1_762_000_000_000_000, kind="payment", reason=EVIL, amount_pico=10**12),
        reports.StatementMovement(at_us=1_762_000_000_000_001, kind="grant", reason="=1+1", amount_pico=0),
    ],
)
BOOK = {"name": "public", "effective": "2026-11-01T00:00:00Z", "currency": "USD", "models": {"gpt": {"input": "1"}}}


async def test_a_statement_adds_up_and_names_projects(world):
    world.ledger.replies["statement"] = FOUND
    found = (await world.client.get(PATH, headers=world.operator)).json()
    ((_, asked),) = world.ledger.asked
    assert (asked.organization_id, asked.from_us, asked.to_us) == (
        "org_1",
        1_761_955_200_000_000,
        1_764_547_200_000_000,
    )
    (line,) = found["lines"]
    assert (line["project"], line["requests"], line["charged"], line["amount"]) == ("default", 2, "0.3", "-0.25")
    sums = [found[name] for name in ("opening", "usage", "moved", "closing")]
    assert sums == ["1", "-0.25", "1", "1.75"]
    assert found["opening_pico"] + found["usage_pico"] + found["moved_pico"] == found["closing_pico"]
    assert found["organization"] == "demo"


async def test_html_and_csv_carry_what_people_named_without_running_it(world):
    world.ledger.replies["statement"] = FOUND
    page = await world.client.get(f"{PATH}?format=html", headers=world.operator)
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert EVIL not in page.text
    assert "&lt;script&gt;" in page.text
    table = await world.client.get(f"{PATH}?format=csv", headers=world.operator)
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["kind"] for row in rows] == ["opening", "usage", "payment", "grant", "closing"]
    assert rows[1]["amount"] == "-0.25"
    assert rows[3]["reason"] == "'=1+1"


async def test_a_key_sees_its_own_organization_only(world):
    assert (await world.client.get(PATH, headers=world.bearer)).status_code == 200
    check_error(await world.client.get("/api/v1/statements/org_2/2025-11", headers=world.bearer), 403, "forbidden")
    check_error(
        await world.client.get("/api/v1/statements/none/2025-11", headers=world.operator),
        404,
        "not_found",
        "organization_id",
    )


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("2025-13", "month"),
        ("2025-1", "month"),
        ("november", "month"),
        ("1999-01", "month"),
        ("2025-11?format=pdf", "format"),
    ],
)
async def test_months_and_forms_that_are_none(world, path, param):
    reply = await world.client.get(f"/api/v1/statements/org_1/{path}", headers=world.operator)
    check_error(reply, 400, "invalid_request", param)


def test_a_december_ends_with_the_year():
    assert month_bounds("2026-12") == (1_796_083_200_000_000, 1_798_761_600_000_000)


async def test_a_draft_reaches_billing_as_rating_reads_it(world):
    world.ledger.replies["what_if"] = reports.WhatIfResponse(
        currency="USD",
        digest="sha256:draft",
        total=reports.WhatIfRow(requests=2, charged_pico=10**12, would_pico=5 * 10**11),
        rows=[reports.WhatIfRow(organization_id="org_1", requests=2, charged_pico=10**12, would_pico=5 * 10**11)],
    )
    draft = BOOK | {"tiers": {"gpt": [{"service": "flex", "multiply": "0.5"}]}}
    body = {"book": draft, "from": "2026-11-01", "to": "2026-11-08"}
    reply = await world.client.post("/api/v1/prices/what-if", json=body, headers=world.operator)
    assert reply.status_code == 200
    assert (reply.json()["total"]["difference"], reply.json()["rows"][0]["difference_pico"]) == ("-0.5", -5 * 10**11)
    ((_, asked),) = world.ledger.asked
    assert PriceBook.from_canonical(asked.book).price("gpt", "").rate({"input": 2}, 0, "flex") == 10**6
    assert asked.to_us - asked.from_us == 7 * 24 * 3600 * 10**6


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({}, "book", "name"),
        ({"book": {**BOOK, "models": {"gpt": {"input": 1.5}}}}, "book", "decimal string"),
        ({"book": {**BOOK, "models": {"gpt": {"word": "1"}}}}, "book", "input"),
        ({"book": {**BOOK, "surprise": 1}}, "book", "surprise"),
        ({"book": {**BOOK, "tiers": {"other": [{"service": "flex", "multiply": "2"}]}}}, "book", "no price"),
        ({"book": BOOK}, "from", ""),
        ({"book": BOOK, "from": "yesterday", "to": "2026-11-01"}, "from", ""),
        ({"book": BOOK, "from": "2026-11-02", "to": "2026-11-01"}, "from", "before"),
    ],
)
async def test_a_draft_or_span_that_is_wrong_is_named(world, body, param, said):
    reply = await world.client.post("/api/v1/prices/what-if", json=body, headers=world.operator)
    check_error(reply, 400, "invalid_request", param)
    assert said in reply.json()["error"]["message"]
    assert world.ledger.asked == []
    check_error(await world.client.post("/api/v1/prices/what-if", json=body, headers=world.bearer), 403, "forbidden")


async def test_what_had_no_price_is_rated_for_operators_only_and_charged_only_when_asked(world):
    row = reports.RerateUnpricedRow(
        organization_id="org_1", model="gpt", price_digest="sha256:x", currency="USD", requests=2, charge_pico=10**12
    )
    world.ledger.replies["rerate_unpriced"] = reports.RerateUnpricedResponse(rows=[row], left_out={"no_price": 3})
    body = {"from": "2026-11-01", "to": "2026-11-08", "organization_id": "org_1", "model": "gpt"}
    reply = await world.client.post("/api/v1/prices/rerate", json=body, headers=world.operator)
    found = reply.json()
    assert (found["applied"], found["sent"], found["left_out"]) == (False, 0, {"no_price": 3})
    assert (found["rows"][0]["charge"], found["rows"][0]["requests"]) == ("1", 2)
    more = body | {"apply": True, "price_digest": "sha256:y"}
    assert (await world.client.post("/api/v1/prices/rerate", json=more, headers=world.operator)).status_code == 200
    (_, shown), (_, charged) = world.ledger.asked
    assert (shown.apply, shown.price_digest, shown.organization_id, shown.model) == (False, "", "org_1", "gpt")
    assert (charged.apply, charged.price_digest) == (True, "sha256:y")
    check_error(await world.client.post("/api/v1/prices/rerate", json=more, headers=world.bearer), 403, "forbidden")


@pytest.mark.parametrize(
    ("more", "status", "param"),
    [
        ({"from": None}, 400, "from"),
        ({"from": "2026-11-09"}, 400, "from"),
        ({"apply": "yes"}, 400, "apply"),
        ({"model": 5}, 400, "model"),
        ({"price_digest": "x" * 101}, 400, "price_digest"),
        ({"organization_id": "nobody"}, 404, "organization_id"),
    ],
)
async def test_what_is_to_be_rated_later_and_cannot_be_is_named(world, more, status, param):
    body = {"from": "2026-11-01", "to": "2026-11-08"} | more
    reply = await world.client.post("/api/v1/prices/rerate", json=body, headers=world.operator)
    check_error(reply, status, "invalid_request" if status == 400 else "not_found", param)
    assert world.ledger.asked == []
