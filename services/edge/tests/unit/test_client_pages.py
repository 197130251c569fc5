"""Balances, prices and state as chat clients ask for them, read by these clients' own rules."""

import math

import pytest
from services.edge.tests.fakes.http import check_error

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.billing.v1 import controls_pb2 as controls
from tollgate_edge.ports import EdgeVersion
from tollgate_rating import PICO, ExchangeRate, PriceBook, PriceTable

pytestmark = pytest.mark.unit

PRICES = {
    "gpt": {"input": "2.5", "output": "10"},
    "vendor/pic": {"image": "0.04"},
}
PATHS = (
    "/dashboard/billing/subscription", "/v1/dashboard/billing/subscription", "/dashboard/billing/usage",
    "/v1/dashboard/billing/usage", "/api/usage/token", "/api/usage/token/", "/user/balance", "/v1/user/balance",
    "/api/pricing", "/api/user/self",
)  # fmt: skip


def money(world, *, wallet="12.5", used="0.1786", currency="USD"):
    """The organization has so much left, and the key has used so much."""

    async def balance(request):
        world.billing.asked.append(request)
        return billing.GetBalanceResponse(currency=currency, ledger_pico=0, wallet_pico=pico(wallet))

    world.billing.balance = balance
    world.billing.usage_reply = billing.QueryUsageResponse(
        totals=[
            billing.UsageRow(charge_pico=pico(used), currency=currency),
            billing.UsageRow(charge_pico=pico("99"), currency="JPY"),
        ]
    )


def pico(text):
    return round(float(text) * PICO)


def configure(world, rates=()):
    table = PriceTable([PriceBook(name="public", effective_us=0, currency="USD", models=PRICES)], rates=rates)
    world.version = EdgeVersion("sha256:1", 1, table, world.version.models)


async def get(world, path, headers=None):
    reply = await world.client.get(path, headers=headers or world.bearer)
    assert reply.status_code == 200, reply.text
    assert reply.headers["cache-control"] == "no-store"
    return reply.json()


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_nextchat_reckons_what_is_left(world, prefix):
    money(world)
    period = "?start_date=2026-11-01&end_date=2026-11-30"
    usage = await get(world, f"{prefix}/dashboard/billing/usage{period}")
    subscription = await get(world, f"{prefix}/dashboard/billing/subscription")
    assert usage == {"object": "list", "total_usage": 17.86}
    assert subscription["hard_limit_usd"] == 12.6786
    assert subscription["soft_limit_usd"] == subscription["system_hard_limit_usd"] == 12.6786
    assert (subscription["object"], subscription["has_payment_method"]) == ("billing_subscription", True)
    assert subscription["access_until"] == 0
    # NextChat rounds both to cents and subtracts.
    used, total = math.floor(usage["total_usage"] + 0.5) / 100, subscription["hard_limit_usd"]
    assert round(total - used, 2) == 12.5


async def test_usage_is_the_key_s_own_and_in_the_currency_of_the_wallet(world):
    money(world)
    await get(world, "/dashboard/billing/usage")
    asked = [one for one in world.billing.asked if isinstance(one, billing.QueryUsageRequest)]
    assert {one.filter.api_key_id for one in asked} == {world.key_id}
    assert {one.filter.organization_id for one in asked} == {"org_1"}


async def test_new_api_s_page_of_a_token_counts_in_quota(world):
    money(world)
    found = await get(world, "/api/usage/token/")
    assert (found["code"], found["message"]) == (True, "ok")
    assert found["data"] == {
        "object": "token_usage",
        "name": "first",
        "total_granted": 89_300 + 6_250_000,
        "total_used": 89_300,
        "total_available": 6_250_000,
        "unlimited_quota": False,
        "model_limits": {},
        "model_limits_enabled": False,
        "expires_at": 0,
    }


async def test_a_key_of_some_models_that_expires_says_so(world):
    money(world)
    expires_us = world.clock.now_us() + 3_600_000_000
    record, key = await world.create_key(world.project, "narrow", models=("gpt",), expires_at_us=expires_us)
    bearer = {"authorization": f"Bearer {key.reveal()}"}
    data = (await get(world, "/api/usage/token", bearer))["data"]
    assert (data["name"], data["model_limits"], data["model_limits_enabled"]) == ("narrow", {"gpt": True}, True)
    assert data["expires_at"] == expires_us // 1_000_000
    assert record.expires_at_us == expires_us
    assert (await get(world, "/dashboard/billing/subscription", bearer))["access_until"] == data["expires_at"]
    configure(world)
    assert [one["model_name"] for one in (await get(world, "/api/pricing", bearer))["data"]] == ["gpt"]


async def test_cc_switch_reads_balance_and_self(world):
    money(world)
    found = await get(world, "/user/balance")
    assert (found["balance"], found["is_active"]) == (12.5, True)
    headers = world.bearer | {"new-api-user": "1"}
    found = await get(world, "/api/user/self", headers)
    assert found["success"] is True
    assert {"group": "default", "quota": 6_250_000, "used_quota": 89_300}.items() <= found["data"].items()


@pytest.mark.parametrize(
    ("wallet", "currency", "shown", "available"),
    [("12.509", "USD", "12.50", True), ("7.3", "CNY", "7.30", True), ("0", "USD", "0.00", False),
     ("-0.004", "USD", "-0.01", False)],
)  # fmt: skip
async def test_deepseek_s_balance_is_in_strings_of_the_wallet_s_own_currency(world, wallet, currency, shown, available):
    money(world, wallet=wallet, currency=currency)
    found = await get(world, "/user/balance")
    assert found["is_available"] is available
    (info,) = found["balance_infos"]
    assert info == {
        "currency": currency, "total_balance": shown, "granted_balance": "0.00", "topped_up_balance": shown
    }  # fmt: skip


async def test_who_pays_later_has_no_end(world):
    money(world)
    await world.client.patch("/api/v1/limits/org_1", json={"payment": "postpaid"}, headers=world.operator)
    world.authenticator.apply(await world.keys.changes_since(0))
    assert (await get(world, "/dashboard/billing/subscription"))["hard_limit_usd"] == 100_000_000
    data = (await get(world, "/api/usage/token"))["data"]
    assert (data["unlimited_quota"], data["total_available"], data["total_used"]) == (True, 0, 89_300)
    assert (await get(world, "/user/balance"))["is_available"] is True


async def test_the_narrowest_budget_is_what_is_left(world):
    money(world, used="1")
    budget = {"budget": {"amount": "3", "window": "month"}}
    await world.client.patch(f"/api/v1/limits/{world.key_id}", json=budget, headers=world.operator)
    world.authenticator.apply(await world.keys.changes_since(0))
    found = await get(world, "/dashboard/billing/subscription")
    assert found["hard_limit_usd"] == 1 + 2
    of_month = [one.filter for one in world.billing.asked if isinstance(one, billing.QueryUsageRequest)][-1]
    assert of_month.from_us < world.clock.now_us() < of_month.to_us
    assert of_month.api_key_id == world.key_id


@pytest.mark.parametrize(
    ("scope", "owner", "action", "left"),
    [
        ("organization", "", "block", 1),
        ("key", "KEY", "block", 1),
        ("project", "proj_1", "block", 1),
        ("project", "proj_2", "block", 12.5),
        ("key", "key_other", "block", 12.5),
        ("model", "gpt", "block", 12.5),
        ("organization", "", "notify", 12.5),
    ],
)
async def test_a_budget_of_billing_that_blocks_counts_where_the_key_is_within_it(world, scope, owner, action, left):
    money(world)
    budget = controls.Budget(
        scope=scope,
        scope_id=world.key_id if owner == "KEY" else owner,
        amount_pico=10 * PICO,
        thresholds=[controls.Threshold(percent=80, action=action)],
    )
    world.ledger.replies["budgets"] = controls.ListBudgetsResponse(
        budgets=[controls.BudgetWithState(budget=budget, state=controls.BudgetState(spent_pico=7 * PICO))]
    )
    assert (await get(world, "/user/balance"))["balance"] == left


@pytest.mark.parametrize(
    ("rate", "limit"),
    [({"base": "CNY", "quote": "USD", "rate": "0.5"}, 2), ({"base": "USD", "quote": "CNY", "rate": "8"}, 0.5)],
)
async def test_another_currency_is_shown_in_usd_by_the_rate_in_force(world, rate, limit):
    money(world, wallet="4", used="0", currency="CNY")
    configure(world, [ExchangeRate(**rate, effective_us=0)])
    assert (await get(world, "/dashboard/billing/subscription"))["hard_limit_usd"] == limit
    assert (await get(world, "/api/usage/token"))["data"]["total_available"] == limit * 500_000


async def test_without_a_rate_it_says_so(world):
    money(world, currency="EUR")
    for path in ("/dashboard/billing/usage", "/api/usage/token", "/user/balance"):
        reply = await world.client.get(path, headers=world.bearer)
        check_error(reply, 503, "no_exchange_rate")
        assert "EUR" in reply.text


async def test_lobehub_reads_prices_as_ratios(world):
    configure(world)
    found = await get(world, "/api/pricing")
    assert found["success"] is True
    assert (found["group_ratio"], found["usable_group"]) == ({"default": 1}, {"default": "default"})
    by_name = {one["model_name"]: one for one in found["data"]}
    assert by_name.keys() == PRICES.keys(), "a model without a price is not served"
    gpt, pic = by_name["gpt"], by_name["vendor/pic"]
    assert (gpt["quota_type"], gpt["model_price"], gpt["enable_groups"]) == (0, 0, ["default"])
    # LobeHub: input is ratio * 2 USD for a million tokens, output that times the completion ratio.
    assert (gpt["model_ratio"] * 2, gpt["model_ratio"] * 2 * gpt["completion_ratio"]) == (2.5, 10)
    assert "openai" in gpt["supported_endpoint_types"]
    assert (pic["quota_type"], pic["model_price"]) == (1, 0.04)


async def test_the_state_needs_no_key_and_says_what_quota_is_worth(world):
    reply = await world.client.get("/api/status")
    found = reply.json()
    assert found["success"] is True
    assert found["data"]["quota_per_unit"] == 500_000
    assert found["data"]["server_address"] == "http://edge.test"
    assert found["data"]["start_time"] == world.clock.now_us() // 1_000_000
    assert found["data"]["display_in_currency"] is True


@pytest.mark.parametrize("path", PATHS)
async def test_they_want_a_key_and_not_a_token_and_answer_browsers(world, path):
    check_error(await world.client.get(path), 401, "invalid_api_key")
    check_error(await world.client.get(path, headers=world.operator), 403, "forbidden")
    reply = await world.client.get(path, headers={"origin": "https://app.example"})
    assert reply.headers["access-control-allow-origin"] == "*"
    check_error(await world.client.post(path, headers=world.bearer), 405, "method_not_allowed")
    asked = {"origin": "https://app.example", "access-control-request-method": "GET"}
    reply = await world.client.options(path, headers=asked | {"access-control-request-private-network": "true"})
    assert reply.status_code == 204
    assert reply.headers["access-control-allow-private-network"] == "true"


async def test_billing_that_is_away_is_a_503(world):
    world.billing.away = 1
    check_error(await world.client.get("/dashboard/billing/usage", headers=world.bearer), 503, "service_unavailable")
