"""Price books by command: checked, compared, imported, tried on real usage; and the statement of what was paid."""

import csv
import io
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
import yaml
from tests.integration.metrics import admin_address, scrape
from tests.integration.product import Product, steady_month

pytestmark = pytest.mark.integration

CHAT = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "What does it cost?"}]}
RISING = "gpt-5-nano"
# How far ahead of now a book is applied: the first will do unless the machine is busy.
AHEAD_SECONDS = (5, 30, 150)
DRAFT = """price_books:
  - name: public
    effective: 2030-01-01T00:00:00Z
    currency: USD
    models:
      gpt-5-mini: {input: "0.5", output: "4", cache_read: "0.05", search: "0.01"}
"""

# Names of the operator's own for models that search, a unit of one vendor, and a group with prices of its own.
LED = """channels:
  - name: a
    provider: anthropic
    credentials: [{env: A_KEY}]
    models: [{name: our-claude, upstream: claude-opus-5}, {name: our-words, upstream: another}]
routes:
  - model: our-route
    levels: [{targets: [{channel: a, upstream: claude-opus-5}]}]
price_books:
  - name: public
    effective: 2030-01-01T00:00:00Z
    currency: USD
    models:
      our-claude: {input: "5", output: "25"}
      our-route: {input: "5", output: "25"}
      our-words: {input: "5", output: "25"}
      grok-4.7: {input: "2", output: "6", search: "0.005"}
      gpt-5: {input: "1.25", output: "10", search: "0.01"}
    groups: {vip: {models: {gpt-5: {input: "1", output: "8"}}}}
"""


def run(product: Product, *words: str | Path) -> dict[str, Any]:
    done = product.cli(*words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def test_a_month_is_tried_under_a_draft_and_stated(product: Product, tmp_path: Path) -> None:
    month = steady_month()
    organization = run(product, "organizations", "create", "priced")["id"]
    project = run(product, "projects", "create", "web", "--organization", "priced")["id"]
    run(product, "organizations", "credit", "priced", "10")
    run(product, "credit", "grant", "priced", "0.000001", "--reason", "=welcome")
    key = product.create_key("priced", organization_id=organization)["key"]
    headers = {"authorization": f"Bearer {key}"}
    for _ in range(5):
        reply = httpx.post(
            f"{product.base_url}/chat/completions", json=CHAT, headers=headers, timeout=60, trust_env=False
        )
        assert reply.status_code == 200, reply.text
    product.wait(lambda: product.usage(organization_id=organization)["requests"] == 5, "five requests to be booked")
    rows = product.requests(organization_id=organization)
    draft = tmp_path / "draft.yaml"
    draft.write_text(DRAFT)
    start = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    end = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    words = ("prices", "what-if", draft, "--from", start, "--to", end, "--organization", "priced")
    found = run(product, *words)
    (row,) = found["rows"]
    assert (row["organization_id"], row["project_id"], row["model"], row["requests"]) == (
        organization,
        project,
        "gpt-5-mini",
        5,
    )
    would = sum(
        Decimal("0.5") * one["input_tokens"]
        + Decimal(4) * (one["output_tokens"] + one["reasoning_tokens"])
        + Decimal("0.05") * one["cache_read_tokens"]
        for one in rows
    )
    assert row["would_pico"] == int(would * 10**6)
    assert row["charged_pico"] == sum(int(one["charge_pico"]) for one in rows)
    assert "5 requests" in product.cli(*words).stdout
    statement = run(product, "statement", month, "--organization", "priced")
    (line,) = statement["lines"]
    assert (line["project"], line["model"], line["requests"]) == ("web", "gpt-5-mini", 5)
    assert line["price_digest"] == rows[0]["price_digest"]
    assert -line["amount_pico"] == row["charged_pico"]
    assert statement["closing_pico"] == product.balance(organization)["ledger_pico"]
    assert (statement["open"], statement["opening"]) == (True, "0")
    table = product.cli("statement", month, "--organization", "priced", "--format", "csv").stdout
    kinds = [one["kind"] for one in csv.DictReader(io.StringIO(table))]
    assert kinds == ["opening", "usage", "payment", "grant", "closing"]
    file = tmp_path / "statement.parquet"
    words = ("statement", month, "--organization", "priced", "--format", "parquet")
    assert "--output" in product.cli(*words).stderr
    assert product.cli(*words, "-o", file).returncode == 0
    written = pq.read_table(file).to_pylist()
    assert [one["kind"] for one in written] == kinds
    assert written[1]["requests"] == 5
    assert sum(one["amount"] for one in written[:-1]) == written[-1]["amount"] == Decimal(statement["closing"])
    page = tmp_path / "statement.html"
    assert product.cli("statement", month, "--organization", "priced", "--format", "html", "-o", page).returncode == 0
    assert "<h1>Statement" in page.read_text()
    assert "opening balance" in product.cli("statement", month, "--organization", "priced").stdout
    assert product.cli("statement", "2026-13", "--organization", "priced").returncode == 1
    assert product.cli("statement", month, "--format", "pdf").returncode == 1


def test_books_are_checked_compared_and_imported_without_a_product(product: Product, tmp_path: Path) -> None:
    old, new, bad = tmp_path / "old.yaml", tmp_path / "new.yaml", tmp_path / "bad.yaml"
    old.write_text(DRAFT)
    new.write_text(DRAFT.replace('input: "0.5"', 'input: "0.6"'))
    bad.write_text(DRAFT.replace('input: "0.5"', "input: 0.5"))
    nowhere = tmp_path / "nowhere"
    done = product.cli("prices", "diff", old, new, "--json", home=nowhere)
    assert json.loads(done.stdout)["items"] == [
        {"model": "gpt-5-mini", "where": "", "unit": "input", "old": "0.5", "new": "0.6", "percent": "+20"}
    ]
    assert "No price differs." in product.cli("prices", "diff", old, old, home=nowhere).stdout
    wrong = product.cli("prices", "check", bad, home=nowhere)
    assert wrong.returncode == 1
    assert f"{bad}:6" in wrong.stderr
    sound = product.cli("prices", "check", old, home=nowhere)
    assert "sha256:" in sound.stdout
    assert sound.stderr == ""
    half = tmp_path / "half.yaml"
    text = DRAFT.replace(', output: "4"', "").replace(', search: "0.01"', "")
    half.write_text(text + '      drawn: {image: "1"}\n      called: {request: "1"}\n')
    warned = product.cli("prices", "check", half, home=nowhere)
    assert (warned.returncode, "sha256:" in warned.stdout) == (0, True)
    assert "model gpt-5-mini: no price of output and search" in warned.stderr
    told = json.loads(product.cli("prices", "check", half, "--json", home=nowhere).stdout)["warnings"]
    assert [one.partition("model ")[2].partition(";")[0] for one in told] == [
        "called: no price of input and output",
        "gpt-5-mini: no price of output and search",
    ]
    assert "a chat that asks for search is refused" in told[1]
    led = tmp_path / "led.yaml"
    led.write_text(LED)
    told = json.loads(product.cli("prices", "check", led, "--json", home=nowhere).stdout)["warnings"]
    assert [one.partition("00:00, ")[2].partition(";")[0] for one in told] == [
        "model grok-4.7: no price of tool_call:x_search",
        "model our-claude: no price of search",
        "model our-route: no price of search",
        "group vip, model gpt-5: no price of search",
    ]
    assert json.loads(product.cli("prices", "schema", home=nowhere).stdout)["$defs"]["PriceTier"]
    source, made = tmp_path / "map.json", tmp_path / "made.yaml"
    source.write_text(json.dumps({"m": {"input_cost_per_token": 1e-6}, "n": {"input_cost_per_token": "?"}}, indent=1))
    words = ("prices", "import", source, "--format", "litellm", "-o", made)
    refused = product.cli(*words, home=nowhere)
    assert (refused.returncode, made.exists()) == (1, False)
    assert "line 5, n: input_cost_per_token" in refused.stderr
    assert product.cli(*words, "--skip-bad", home=nowhere).returncode == 0
    assert yaml.safe_load(made.read_text())["price_books"][0]["models"] == {"m": {"input": "1"}}
    assert product.cli("prices", "check", made, home=nowhere).returncode == 0
    assert product.cli("prices", "import", source, "--format", "other", home=nowhere).returncode == 2


RATIOS = {
    "ModelPrice": {"gpt-5-mini": 0.02, "text-embedding-3-small": 0.003, "gpt-image-2": 0.04},
    "ModelRatio": {"gpt-5-nano": 0.125},
    "CompletionRatio": {"gpt-5-nano": 8},
}


@pytest.fixture(scope="module")
def by_call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product whose prices come from another gateway's settings, most of them for a call."""
    directory = tmp_path_factory.mktemp("by_call")
    source, made = directory / "ratios.json", directory / "tollgate.yaml"
    source.write_text(json.dumps(RATIOS))
    running = Product(directory, ["--config", str(made)])
    words = ("prices", "import", source, "--format", "newapi", "--effective", "2026-01-01T00:00:00Z", "-o", made)
    done = running.cli(*words, home=directory / "nowhere")
    assert done.returncode == 0, done.stdout + done.stderr
    try:
        yield running.start()
    finally:
        running.stop()


def test_a_price_for_a_call_is_charged_once_for_every_kind_of_answer(by_call: Product) -> None:
    organization = run(by_call, "organizations", "create", "called")["id"]
    run(by_call, "projects", "create", "web", "--organization", "called")
    run(by_call, "organizations", "credit", "called", "10")
    headers = {"authorization": f"Bearer {by_call.create_key('called', organization_id=organization)['key']}"}
    expected = {}
    for path, body, price in (
        ("chat/completions", CHAT, "0.02"),
        ("chat/completions", CHAT | {"stream": True}, "0.02"),
        ("embeddings", {"model": "text-embedding-3-small", "input": "x"}, "0.003"),
        ("images/generations", {"model": "gpt-image-2", "prompt": "A toll gate"}, "0.04"),
    ):
        reply = httpx.post(f"{by_call.base_url}/{path}", json=body, headers=headers, timeout=60, trust_env=False)
        assert reply.status_code == 200, reply.text
        expected[reply.headers["x-request-id"]] = int(Decimal(price) * 10**12)
    by_call.wait(lambda: by_call.usage(organization_id=organization)["requests"] == 4, "four requests to be booked")
    rows = by_call.requests(organization_id=organization, kind="usage")
    assert {row["request_id"]: int(row["charge_pico"]) for row in rows} == expected
    assert [row["units"]["request"] for row in rows] == [1] * 4
    left = 10 * 10**12 - sum(expected.values())

    def settled() -> bool:
        balance = by_call.balance(organization)
        return bool(int(balance["wallet_pico"]) == int(balance["ledger_pico"]) == left)

    by_call.wait(settled, "holds to be settled with what was charged")
    for request_id, charge in expected.items():
        evidence = run(by_call, "evidence", request_id)
        assert (int(evidence["charge_pico"]), evidence["mismatches"]) == (charge, [])


def config_digests(product: Product) -> list[str]:
    """Returns the version that is in force at edge, and the one at the router."""
    return [
        labels["digest"]
        for service in ("edge", "router")
        for labels in scrape(admin_address(product, f"{service}-0")).labels(f"tollgate_{service}_config_info")
    ]


def ask_for_rising(product: Product, key: str) -> dict[str, Any]:
    """Returns the row of a request for the model whose price changes."""
    headers = {"authorization": f"Bearer {key}"}
    body = CHAT | {"model": RISING}
    reply = httpx.post(f"{product.base_url}/chat/completions", json=body, headers=headers, timeout=60, trust_env=False)
    assert reply.status_code == 200, reply.text
    return product.wait_row(reply.headers["x-request-id"])


def apply_ahead(product: Product, key: str, old: dict[str, Any], prices: dict[str, str]) -> tuple[datetime, dict]:
    """Applies a book with these prices that is in force soon; returns when, and the row of a request before that.

    A machine that is so busy that the moment passes meanwhile gets a later one.
    """
    file = product.directory / "tollgate.yaml"
    for seconds in AHEAD_SECONDS:
        before = config_digests(product)
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        new = old | {"effective": moment.isoformat(), "models": old["models"] | {RISING: prices}}
        file.write_text(yaml.safe_dump({"price_books": [old, new]}))
        os.kill(product.ready["pid"], signal.SIGHUP)
        product.wait(lambda before=before: not set(before) & set(config_digests(product)), "the book to be applied")
        row = ask_for_rising(product, key)
        if datetime.fromisoformat(row["started_at"]) < moment:
            assert row["config_digest"] in config_digests(product)
            return moment, row
    pytest.fail(f"no request began within {AHEAD_SECONDS[-1]} s")


def test_a_book_that_is_applied_ahead_changes_nothing_before_its_moment(by_call: Product) -> None:
    product = by_call
    organization = run(product, "organizations", "create", "rising")["id"]
    run(product, "projects", "create", "web", "--organization", "rising")
    run(product, "organizations", "credit", "rising", "10")
    key = product.create_key("rising", organization_id=organization)["key"]
    (old,) = yaml.safe_load((product.directory / "tollgate.yaml").read_text())["price_books"]
    unaware = ask_for_rising(product, key)
    new = {"input": "7", "output": "70"}
    moment, waiting = apply_ahead(product, key, old, new)
    product.wait(lambda: datetime.now(UTC) >= moment, "the moment of the book")
    risen = ask_for_rising(product, key)
    assert datetime.fromisoformat(risen["started_at"]) >= moment

    # The book was there when the second one began and did not count yet; it counted for the third.
    assert unaware["config_digest"] != waiting["config_digest"] == risen["config_digest"]
    assert unaware["price_digest"] == waiting["price_digest"] != risen["price_digest"]
    listed = old["models"][RISING]
    for row, prices in ((unaware, listed), (waiting, listed), (risen, new)):
        written = row["output_tokens"] + row["reasoning_tokens"]
        charge = Decimal(prices["input"]) * row["input_tokens"] + Decimal(prices["output"]) * written
        assert row["charge_pico"] == charge * 10**6 > 0

    # Nothing of what was before has changed, in no book.
    rows = {row["request_id"]: row for row in product.requests(organization_id=organization)}
    asked = (unaware, waiting, risen)
    assert rows == {row["request_id"]: row for row in asked}
    product.wait(lambda: product.balance(organization)["wallet_pico"] == left(asked), "the wallet to have all three")
    assert product.balance(organization)["ledger_pico"] == left(asked)
    evidence = run(product, "evidence", waiting["request_id"])
    assert [(one["price_digest"], one["agrees"]) for one in evidence["prices"]] == [(waiting["price_digest"], True)]


def left(rows: tuple[dict[str, Any], ...]) -> int:
    return 10 * 10**12 - sum(row["charge_pico"] for row in rows)
