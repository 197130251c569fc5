"""An organization that pays in CNY while prices are in USD: held, charged, booked, stated and shown in its currency."""

import json
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.product import Product, steady_month

pytestmark = pytest.mark.integration

RATE = "7.123456789012"
DECLARED = f"""exchange_rates:
  - base: USD
    quote: CNY
    rate: "{RATE}"
    effective: 2026-01-01T00:00:00Z
  - base: USD
    quote: CNY
    rate: "9"
    effective: 2099-01-01T00:00:00Z
price_books:
  - name: public
    effective: 2026-01-01T00:00:00Z
    currency: CNY
    models:
      gpt-5-nano: {{input: "1", output: "2"}}
"""
CHAT = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "What does it cost in yuan?"}]}


@pytest.fixture(scope="module")
def yuan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    directory = tmp_path_factory.mktemp("yuan")
    file = directory / "tollgate.yaml"
    file.write_text(DECLARED)
    running = Product(directory, ["--config", str(file)])
    try:
        yield running.start()
    finally:
        running.stop()


def run(product: Product, *words: str | Path) -> dict[str, Any]:
    done = product.cli(*words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def made(product: Product, name: str, currency: str, credit: str) -> tuple[str, dict[str, str]]:
    """Returns a new organization's id and the headers of a key of its own."""
    organization = run(product, "organizations", "create", name, "--currency", currency)
    assert organization["currency"] == currency
    run(product, "projects", "create", "web", "--organization", name)
    given = run(product, "organizations", "credit", name, credit)
    assert (given["currency"], given["balance"]) == (currency, credit)
    limits = {"requests_per_minute": 600, "budget": {"amount": "50", "window": "month"}}
    key = product.create_key(name, organization_id=organization["id"], limits=limits)["key"]
    return organization["id"], {"authorization": f"Bearer {key}"}


def post(product: Product, path: str, headers: dict[str, str], body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{product.base_url}/{path}", json=body, headers=headers, timeout=60, trust_env=False)


def wait_booked(product: Product, organization: str) -> dict[str, Any]:
    """Returns the row of the one request of an organization, once ledger and wallet have it too."""
    product.wait(lambda: product.usage(organization_id=organization)["requests"] == 1, "the request to be booked")
    (row,) = product.requests(organization_id=organization, kind="usage")

    def settled() -> bool:
        found = product.balance(organization)
        under_way = found["held_pico"] or found["settled_unbooked_pico"]
        return not under_way and found["wallet_pico"] == found["ledger_pico"] == 100 * 10**12 - row["charge_pico"]

    product.wait(settled, "row, posting and wallet to say the same")
    return row


def pico(amount: Decimal) -> int:
    return int(amount.scaleb(12).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def test_a_request_is_held_charged_and_booked_in_the_organizations_currency(yuan: Product) -> None:
    month = steady_month()
    organization, headers = made(yuan, "yuan", "CNY", "100")
    reply = post(yuan, "chat/completions", headers, CHAT)
    assert reply.status_code == 200, reply.text
    row = wait_booked(yuan, organization)
    # The list price is in USD; what is paid is rounded once, after the conversion.
    listed = Decimal("0.25") * row["input_tokens"] + Decimal(2) * (row["output_tokens"] + row["reasoning_tokens"])
    listed = (listed + Decimal("0.025") * row["cache_read_tokens"]) / 1_000_000
    assert (row["list_currency"], row["list_charge_pico"]) == ("USD", pico(listed))
    charge = pico(listed * Decimal(RATE))
    assert (row["currency"], row["charge_pico"], row["unpriced"]) == ("CNY", charge, False)
    assert (row["provider_currency"], row["provider_cost_pico"], row["cost_pico"]) == ("USD", pico(listed), charge)
    rates = {one["rate"]: one for one in run(yuan, "rates", "list")["items"]}
    assert (rates[RATE]["in_force"], rates["9"]["in_force"]) == (True, False)
    assert row["rate_digest"] == rates[RATE]["digest"]

    # Row, posting and wallet say the same, to the last unit.
    balance = yuan.balance(organization)
    assert (balance["currency"], balance["held_pico"], balance["settled_unbooked_pico"]) == ("CNY", 0, 0)
    assert balance["ledger_pico"] == balance["wallet_pico"] == 100 * 10**12 - charge
    assert run(yuan, "reconcile")["differences"] == []
    evidence = run(yuan, "evidence", row["request_id"])
    posted = {(one["debit"], one["credit"]): (one["amount_pico"], one["currency"]) for one in evidence["ledger"]}
    assert posted["wallet", "revenue"] == (charge, "CNY")
    assert posted["provider_cost", "payable"] == (charge, "CNY")

    (price,) = evidence["prices"]
    assert (price["agrees"], price["currency"], price["charged_pico"]) == (True, "CNY", charge)
    exchange = price["exchange_rate"]
    assert (exchange["rate"], exchange["from"], exchange["to"]) == (RATE, "USD", "CNY")
    assert (exchange["rate_digest"], exchange["list_charge_pico"]) == (row["rate_digest"], pico(listed))
    # What was held is kept, in the wallet's currency, and so are the limits of that moment.
    assert charge <= evidence["hold"]["held_pico"] < 100 * 10**12
    assert (evidence["hold"]["state"], row["hold_pico"]) == ("none", evidence["hold"]["held_pico"])
    (limit,) = evidence["limits"]
    assert limit["kind"] == "key"
    run(yuan, "limits", "set", limit["id"], "--requests-per-minute", "5")
    again = run(yuan, "evidence", row["request_id"])
    assert again["limits"][0]["limits"]["requests_per_minute"] == 600
    assert again["limits"][0]["limits"]["budget"] == {"amount": "50", "window": "month"}
    assert again["limits_now"][0]["limits"]["requests_per_minute"] == 5
    text = yuan.cli("evidence", row["request_id"]).stdout
    assert f"1 USD is {RATE} CNY" in text
    assert "CNY were held" in text
    assert "limits that it was admitted within" in text

    statement = run(yuan, "statement", month, "--organization", "yuan")
    (line,) = statement["lines"]
    assert (statement["currency"], line["charged_pico"]) == ("CNY", charge)
    assert (line["exchange_rate"], line["rate_digest"]) == (RATE, row["rate_digest"])
    assert statement["closing_pico"] == balance["ledger_pico"]
    assert RATE in yuan.cli("statement", month, "--organization", "yuan", "--format", "csv").stdout
    assert "in CNY" in yuan.cli("statement", month, "--organization", "yuan").stdout
    head, spent = yuan.cli("usage", "--organization", "yuan", "--csv").stdout.splitlines()
    assert (head.split(",")[-2:], spent.split(",")[-1]) == (["charge", "currency"], "CNY")


def test_pictures_are_charged_in_the_organizations_currency_too(yuan: Product) -> None:
    organization, headers = made(yuan, "painter", "CNY", "100")
    asked = {"model": "gpt-image-2", "prompt": "a yuan", "size": "1024x1024", "quality": "low"}
    reply = post(yuan, "images/generations", headers, asked)
    assert reply.status_code == 200, reply.text
    row = wait_booked(yuan, organization)
    listed = Decimal(row["list_charge_pico"]).scaleb(-12)
    assert listed > 0
    assert (row["list_currency"], row["currency"]) == ("USD", "CNY")
    assert abs(row["charge_pico"] - pico(listed * Decimal(RATE))) <= 4
    assert row["hold_pico"] >= row["charge_pico"]


def test_without_a_rate_a_request_is_refused_before_it_is_sent(yuan: Product) -> None:
    organization, headers = made(yuan, "dollars", "USD", "100")
    reply = post(yuan, "chat/completions", headers, CHAT | {"model": "gpt-5-nano"})
    assert reply.status_code == 503
    error = reply.json()["error"]
    assert error["code"] == "no_exchange_rate"
    assert "from CNY to USD" in error["message"]
    assert post(yuan, "chat/completions", headers, CHAT).status_code == 200
    row = wait_booked(yuan, organization)
    assert (row["model"], row["currency"], row["rate_digest"]) == ("gpt-5-mini", "USD", "")
    # Who pays in the book's currency needs no rate.
    _, own = made(yuan, "at home", "CNY", "10")
    assert post(yuan, "chat/completions", own, CHAT | {"model": "gpt-5-nano"}).status_code == 200


def test_money_of_two_currencies_is_not_mixed(yuan: Product) -> None:
    one, _ = made(yuan, "here", "CNY", "10")
    other, _ = made(yuan, "there", "USD", "10")
    refused = yuan.cli("credit", "transfer", "here", "there", "1")
    assert refused.returncode == 1
    assert "pays in USD, not in CNY" in refused.stderr
    assert (yuan.balance(one)["ledger"], yuan.balance(other)["ledger"]) == ("10", "10")
    code = run(yuan, "codes", "create", "5", "--currency", "CNY")["items"][0]["code"]
    wrong = yuan.cli("codes", "redeem", code, "--organization", "there")
    assert wrong.returncode == 1
    assert "pays in USD" in wrong.stderr
    assert run(yuan, "codes", "redeem", code, "--organization", "here")["currency"] == "CNY"
    assert yuan.cli("credit", "refund", "here", "3").stdout.rstrip().endswith("CNY.")
    assert yuan.balance(one)["wallet"] == "12"
    bare = run(yuan, "organizations", "create", "bare", "--currency", "CNY")
    assert yuan.balance(bare["id"])["currency"] == "CNY"
    assert yuan.cli("organizations", "create", "euros", "--currency", "EUR").returncode == 1


def test_sums_over_two_currencies_are_one_for_each(yuan: Product) -> None:
    found = yuan.get("usage", group_by="model")
    assert {one["currency"] for one in found["totals"]} == {"CNY", "USD"}
    assert (found["total"]["currency"], found["total"]["charge"]) == (None, None)
    assert found["total"]["requests"] == sum(one["requests"] for one in found["rows"])
    for total in found["totals"]:
        rows = [one["charge_pico"] for one in found["rows"] if one["currency"] == total["currency"]]
        assert total["charge_pico"] == sum(rows)


def test_rates_are_checked_by_line_without_a_product(yuan: Product, tmp_path: Path) -> None:
    good, bad = tmp_path / "rates.yaml", tmp_path / "bad.yaml"
    good.write_text(DECLARED)
    bad.write_text(DECLARED.replace(f'"{RATE}"', "7.1"))
    nowhere = tmp_path / "nowhere"
    found = json.loads(yuan.cli("rates", "check", good, "--json", home=nowhere).stdout)["items"]
    assert [one["rate"] for one in found] == [RATE, "9"]
    wrong = yuan.cli("rates", "check", bad, home=nowhere)
    assert wrong.returncode == 1
    assert f"{bad}:4" in wrong.stderr
