"""Money over edge's HTTP: who may move it, what is asked of billing, and what bad input is told."""

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.billing.v1 import ledger_pb2 as ledger
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.errors import public_error

pytestmark = pytest.mark.unit

ORG = "/api/v1/organizations/org_1"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"{ORG}/grants", {"amount": "1"}),
        ("POST", f"{ORG}/refunds", {"amount": "1"}),
        ("POST", f"{ORG}/corrections", {"amount": "-1", "reason": "r"}),
        ("POST", f"{ORG}/transfers", {"amount": "1", "to": "org_2"}),
        ("PUT", f"{ORG}/credit-line", {"amount": "1"}),
        ("POST", "/api/v1/codes", {"amount": "1"}),
        ("GET", "/api/v1/codes", None),
        ("POST", "/api/v1/codes/code_1/revoke", None),
        ("POST", "/api/v1/wallets/rebuild", None),
    ],
)
async def test_only_operators_move_money(world, method, path, body):
    reply = await world.client.request(method, path, json=body, headers=world.bearer)
    check_error(reply, 403, "forbidden")
    assert world.ledger.asked == []
    assert (await world.client.request(method, path, json=body, headers=world.operator)).status_code in {200, 201}


async def test_a_grant_is_asked_for_with_its_expiry_priority_and_key(world):
    world.ledger.replies["grant_bonus"] = ledger.GrantBonusResponse(moved=ledger.Moved(balance_pico=25 * 10**11))
    body = {"amount": "2.5", "expires_at": "2027-01-01", "priority": 7, "reason": "welcome"}
    headers = world.operator | {"idempotency-key": "k1"}
    reply = await world.client.post(f"{ORG}/grants", json=body, headers=headers)
    assert reply.status_code == 201
    assert (reply.json()["balance"], reply.json()["amount"], reply.json()["repeated"]) == ("2.5", "2.5", False)
    ((_, asked),) = world.ledger.asked
    assert (asked.organization_id, asked.currency, asked.amount_pico) == ("org_1", "USD", 25 * 10**11)
    assert (asked.idempotency_key, asked.priority) == ("grant:org_1:k1", 7)
    assert asked.expires_us == 1_798_761_600_000_000


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (f"{ORG}/grants", {"amount": 1}, "amount"),
        (f"{ORG}/grants", {"amount": "0"}, "amount"),
        (f"{ORG}/grants", {"amount": "1", "expires_at": "soon"}, "expires_at"),
        (f"{ORG}/grants", {"amount": "1", "priority": -1}, "priority"),
        (f"{ORG}/refunds", {"amount": "-1"}, "amount"),
        (f"{ORG}/refunds", {"amount": "1e3"}, "amount"),
        (f"{ORG}/corrections", {"amount": "--1", "reason": "r"}, "amount"),
        (f"{ORG}/corrections", {"amount": "-0", "reason": "r"}, "amount"),
        (f"{ORG}/corrections", {"amount": "1"}, "reason"),
        (f"{ORG}/transfers", {"amount": "1"}, "to"),
        (f"{ORG}/refunds", {"amount": "1", "reason": "a\x00b"}, "reason"),
        ("/api/v1/codes", {"amount": "1", "count": 0}, "count"),
        ("/api/v1/codes", {"amount": "1", "count": 1001}, "count"),
        ("/api/v1/codes", {"amount": "1", "currency": "EUR"}, "currency"),
        ("/api/v1/codes", {"amount": "1", "valid_days": 1.5}, "valid_days"),
        ("/api/v1/codes/redeem", {}, "code"),
        ("/api/v1/codes/redeem", {"code": "x" * 101}, "code"),
    ],
)
async def test_wrong_fields_are_named_and_billing_is_not_asked(world, path, body, param):
    check_error(await world.client.post(path, json=body, headers=world.operator), 400, "invalid_request", param)
    assert world.ledger.asked == []


async def test_a_negative_correction_keeps_its_sign(world):
    body = {"amount": "-1.5", "reason": "twice"}
    assert (await world.client.post(f"{ORG}/corrections", json=body, headers=world.operator)).status_code == 201
    assert world.ledger.asked[0][1].amount_pico == -15 * 10**11


async def test_unknown_organizations_are_404(world):
    for path, body in (("org_none/refunds", {"amount": "1"}), ("org_1/transfers", {"amount": "1", "to": "org_none"})):
        reply = await world.client.post(f"/api/v1/organizations/{path}", json=body, headers=world.operator)
        check_error(reply, 404, "not_found", "organization_id")


async def test_a_key_redeems_for_its_own_organization_only(world):
    world.ledger.replies["redeem"] = ledger.RedeemCodeResponse(amount_pico=10**12, balance_pico=3 * 10**12)
    reply = await world.client.post("/api/v1/codes/redeem", json={"code": "TG-1"}, headers=world.bearer)
    assert (reply.status_code, reply.json()["organization_id"], reply.json()["balance"]) == (200, "org_1", "3")
    other = {"code": "TG-1", "organization_id": "org_2"}
    check_error(await world.client.post("/api/v1/codes/redeem", json=other, headers=world.bearer), 403, "forbidden")


async def test_guessing_is_told_when_to_come_back(world):
    world.ledger.replies["redeem"] = public_error(errors.ERROR_KIND_RATE_LIMITED, "Too many.", retry_after_ms=90_000)
    reply = await world.client.post("/api/v1/codes/redeem", json={"code": "TG-1"}, headers=world.bearer)
    check_error(reply, 429, "rate_limit_exceeded")
    assert reply.headers["retry-after"] == "90"


async def test_the_ledger_of_ones_own_organization_without_what_providers_cost(world):
    rows = [
        ledger.TransferRow(id=2, debit="wallet", credit="revenue", amount_pico=5, created_us=1_764_000_000_000_000),
        ledger.TransferRow(id=1, debit="provider_cost", credit="payable", amount_pico=3),
    ]
    world.ledger.replies["transfers"] = ledger.ListTransfersResponse(rows=rows, next_cursor="1")
    world.ledger.replies["accounts"] = ledger.GetAccountsResponse(
        currency="USD",
        accounts=[
            ledger.Account(account="wallet", currency="USD", balance_pico=10**12),
            ledger.Account(account="provider_cost", currency="USD", balance_pico=-5),
            ledger.Account(account="revenue", currency="USD", balance_pico=2**63 - 1, exact_pico=str(10**20)),
        ],
        bonuses=[ledger.Bonus(key="grant:org_1:secret", remaining_pico=1, amount_pico=2)],
    )
    mine = (await world.client.get("/api/v1/ledger/transfers", headers=world.bearer)).json()
    assert ([row["credit"] for row in mine["items"]], mine["next"]) == (["revenue"], "1")
    all_of = (await world.client.get("/api/v1/ledger/transfers?organization_id=org_1", headers=world.operator)).json()
    assert len(all_of["items"]) == 2
    books = (await world.client.get("/api/v1/ledger", headers=world.bearer)).json()
    assert [(one["account"], one["balance"], one["balance_pico"]) for one in books["accounts"]] == [
        ("wallet", "1", 10**12),
        ("revenue", "100000000", 10**20),
    ]
    assert "secret" not in str(books)
    other = await world.client.get("/api/v1/ledger?organization_id=org_2", headers=world.bearer)
    check_error(other, 403, "forbidden")


async def test_amounts_beyond_int64_are_said_whole(world):
    exact = -(10**20)
    moved = ledger.Moved(balance_pico=-(2**63) + 1, exact_pico=str(exact))
    world.ledger.replies["correct"] = ledger.CorrectResponse(moved=moved)
    world.ledger.replies["accounts"] = ledger.GetAccountsResponse(
        currency="USD", balance_pico=moved.balance_pico, exact_pico=moved.exact_pico
    )

    async def balance(_request):
        return billing.GetBalanceResponse(ledger_pico=moved.balance_pico, exact_ledger_pico=moved.exact_pico)

    async def grant(_request):
        return billing.GrantResponse(balance_pico=moved.balance_pico, exact_pico=moved.exact_pico)

    world.billing.balance, world.billing.grant = balance, grant
    said = [
        (await world.client.get("/api/v1/ledger", headers=world.bearer)).json()["balance_pico"],
        (await world.client.get("/api/v1/balance", headers=world.bearer)).json()["ledger_pico"],
    ]
    for path, body in ((f"{ORG}/corrections", {"amount": "1", "reason": "r"}), (f"{ORG}/credit", {"amount": "1"})):
        said.append((await world.client.post(path, json=body, headers=world.operator)).json()["balance_pico"])
    assert said == [exact] * 4
