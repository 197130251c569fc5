"""What had no price is charged by command once a book has one; and what accounts pay, beside what providers say."""

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.integration.product import Product, steady_month
from tests.integration.simulators import Simulator, simulated

pytestmark = pytest.mark.integration

CHAT = {"model": "half-priced", "messages": [{"role": "user", "content": "What will it cost one day?"}]}
PICTURE = {"model": "gpt-image-2", "prompt": "A toll gate"}


def book(**prices: dict[str, str]) -> dict[str, Any]:
    models = {"half-priced": {"input": "1"}, "gpt-image-2": {"image": "0.04"}} | prices
    return {"name": "public", "effective": "2026-01-01T00:00:00Z", "currency": "USD", "models": models}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    yield from simulated(tmp_path_factory.mktemp("provider"), "account")


@pytest.fixture(scope="module")
def config(provider: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rerate") / "tollgate.yaml"


def declare(config: Path, provider: Simulator, prices: dict[str, Any]) -> None:
    models = ["half-priced", {"name": "gpt-image-2", "cost": {"image": "0.01"}}]
    # Said to be OpenAI, whose statements can be read.
    named = {"provider": "openai", "credentials": [{"file": str(config.parent / "secret")}]}
    (config.parent / "secret").write_text("sk-not-a-secret")
    channel = provider.channel(*models, **named)
    config.write_text(yaml.safe_dump({"channels": [channel], "price_books": [prices]}))


@pytest.fixture(scope="module")
def priced_later(config: Path, provider: Simulator) -> Iterator[Product]:
    declare(config, provider, book())
    running = Product(config.parent, ["--config", str(config)])
    try:
        yield running.start()
    finally:
        running.stop()


def run(product: Product, *words: str | Path) -> dict[str, Any]:
    done = product.cli(*words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def post(product: Product, key: str, path: str, body: dict[str, Any]) -> str:
    headers = {"authorization": f"Bearer {key}"}
    reply = httpx.post(f"{product.base_url}/{path}", json=body, headers=headers, timeout=60, trust_env=False)
    assert reply.status_code == 200, reply.text
    return reply.headers["x-request-id"]


def test_what_had_no_price_is_charged_once_a_book_has_one(
    priced_later: Product, config: Path, provider: Simulator
) -> None:
    product, month = priced_later, steady_month()
    organization = run(product, "organizations", "create", "later")["id"]
    run(product, "projects", "create", "web", "--organization", "later")
    run(product, "organizations", "credit", "later", "10")
    key = product.create_key("later", organization_id=organization)["key"]
    names = [post(product, key, "chat/completions", CHAT) for _ in range(3)]
    drawn = post(product, key, "images/generations", PICTURE)
    product.wait(lambda: product.usage(organization_id=organization)["requests"] == 4, "four requests to be booked")
    rows = {row["request_id"]: row for row in product.requests(organization_id=organization)}
    assert {rows[name]["unpriced"] for name in names} == {True}
    assert {rows[name]["charge_pico"] for name in names} == {0}
    # The caller pays the book, and we what the account says.
    assert (rows[drawn]["charge_pico"], rows[drawn]["cost_pico"]) == (4 * 10**10, 10**10)

    product.stop()
    declare(config, provider, book(**{"half-priced": {"input": "1", "output": "6"}}))
    product.start()
    (checked,) = run(product, "prices", "check", config)["items"]
    span = ("--from", (datetime.now(UTC) - timedelta(days=1)).isoformat())
    span += ("--to", (datetime.now(UTC) + timedelta(days=1)).isoformat())
    words = ("prices", "rerate", *span, "--organization", "later", "--model", "half-priced")
    product.wait(lambda: run(product, *words)["rows"], "billing to have the book")
    planned = run(product, *words)
    (line,) = planned["rows"]
    charge = sum(
        int(
            (rows[name]["input_tokens"] + 6 * (rows[name]["output_tokens"] + rows[name]["reasoning_tokens"]))
            * Decimal(10**6)
        )
        for name in names
    )
    assert (line["requests"], line["charge_pico"], line["price_digest"]) == (3, charge, checked["digest"])
    assert (planned["applied"], planned["sent"], planned["left_out"]) == (False, 0, {})
    assert product.usage(organization_id=organization)["total"]["charge_pico"] == 4 * 10**10
    told = product.cli(*words)
    assert "--apply" in told.stdout, told.stderr

    assert run(product, *words, "--apply")["sent"] == 3
    left = 10 * 10**12 - charge - 4 * 10**10

    def settled() -> bool:
        balance = product.balance(organization)
        return bool(int(balance["wallet_pico"]) == int(balance["ledger_pico"]) == left)

    product.wait(settled, "wallet and ledger to have the charge")
    again = run(product, *words, "--apply")
    assert (again["rows"], again["sent"]) == ([], 0)
    assert "nothing to charge" in product.cli(*words).stdout
    assert run(product, "reconcile")["differences"] == []

    check_shown(product, names[0], checked["digest"], charge, left, month)
    refused = product.cli("prices", "rerate", *span, "--book", "sha256:nowhere")
    assert refused.returncode == 1
    assert "No price book" in refused.stderr


def check_shown(product: Product, name: str, digest: str, charge: int, left: int, month: str) -> None:
    """Evidence of one of the requests and the organization's statement name the book that they were charged by."""
    found = run(product, "evidence", name)
    assert [(one["kind"], one["source"]) for one in found["attempts"]] == [
        ("usage", "router"),
        ("usage", "billing"),
        ("adjustment", "router"),
    ]
    (price,) = found["prices"]
    assert (price["price_digest"], price["agrees"]) == (digest, True)
    assert "rated later" in product.cli("evidence", name).stdout
    statement = run(product, "statement", month, "--organization", "later")
    lines = {one["model"]: one for one in statement["lines"]}
    assert (lines["half-priced"]["price_digest"], lines["half-priced"]["amount_pico"]) == (digest, -charge)
    assert statement["closing_pico"] == left


COLUMNS = ("start_time_iso", "amount_value", "amount_currency", "line_item")


def export(file: Path, costs: Mapping[tuple[str, str], int]) -> Path:
    """Writes what an account of OpenAI exports: two line items for each day and model, in dollars."""
    with file.open("w", newline="", encoding="utf-8") as out:
        lines = csv.writer(out)
        lines.writerow(COLUMNS)
        for (day, model), pico in costs.items():
            for part, unit in ((pico // 3, "input"), (pico - pico // 3, "output")):
                value = format(Decimal(part).scaleb(-12), "f")
                lines.writerow((f"{day}T00:00:00+00:00", value, "usd", f"{model}-2026-04-14, {unit}"))
    return file


def test_a_providers_statement_is_held_against_what_its_calls_cost(priced_later: Product, tmp_path: Path) -> None:
    product = priced_later
    organization = run(product, "organizations", "create", "billed")["id"]
    run(product, "projects", "create", "web", "--organization", "billed")
    run(product, "organizations", "credit", "billed", "10")
    key = product.create_key("billed", organization_id=organization)["key"]
    for _ in range(2):
        product.wait_row(post(product, key, "images/generations", PICTURE))
    product.wait_row(post(product, key, "chat/completions", CHAT))
    costs: Counter[tuple[str, str]] = Counter()
    for row in product.requests():
        costs[row["started_at"][:10], row["upstream_model"]] += int(row["provider_cost_pico"])
    drawn = max(place for place in costs if place[1] == "gpt-image-2")
    assert costs[drawn] >= 10**10

    words = ("reconcile", "--provider", "openai", "--statement")
    agreed = run(product, *words, export(tmp_path / "same.csv", costs))
    said = {(one["day"], one["model"]): (one["theirs_pico"], one["ours_pico"]) for one in agreed["items"]}
    assert said == {place: (pico, pico) for place, pico in costs.items()}
    assert "agree within 1 percent" in product.cli(*words, tmp_path / "same.csv").stdout

    # One dollar more than we know of, on one day and for one model: that is named, and nothing else.
    dearer = export(tmp_path / "dearer.csv", costs + Counter({drawn: 10**12}))
    done = product.cli(*words, dearer, "--json")
    assert done.returncode == 1
    items = json.loads(done.stdout)["error"]["details"]["items"]
    assert [(one["day"], one["model"], one["difference_pico"]) for one in items if one["differs"]] == [(*drawn, 10**12)]
    assert product.cli(*words, dearer, "--tolerance", "100").returncode == 0
    nothing = tmp_path / "nothing.csv"
    nothing.write_text("day;what;amount")
    refused = product.cli(*words, nothing)
    assert (refused.returncode, "neither JSON nor CSV" in refused.stderr) == (1, True)
