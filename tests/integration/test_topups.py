"""A top-up by command and by a signed message, against the whole product with a payment provider set up."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.integration.product import Product
from tests.servers.payment import message, signed

pytestmark = pytest.mark.integration

SECRET = b"the secret of a provider that is simulated"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    directory = tmp_path_factory.mktemp("shop")
    (directory / "secret").write_bytes(SECRET)
    environment = {
        "TOLLGATE_BILLING_PAYMENT_PROVIDER": "simulated",
        "TOLLGATE_BILLING_PAYMENT_CHECKOUT_URL": "https://pay.example/checkout",
        "TOLLGATE_BILLING_PAYMENT_WEBHOOK_SECRET_FILE": str(directory / "secret"),
    }
    running = Product(directory, environment=environment)
    try:
        yield running.start()
    finally:
        running.stop()


def tell(product: Product, body: bytes, webhook_id: str, secret: bytes = SECRET, age: int = 0) -> httpx.Response:
    headers = signed(secret, webhook_id, int(time.time()) - age, body)
    url = f"{product.url}/api/v1/payments/webhook"
    return httpx.post(url, content=body, headers=headers, timeout=60, trust_env=False)


def test_money_comes_in_by_a_signed_message_once(shop: Product) -> None:
    before = shop.wait_settled()["ledger_pico"]
    words = ("topups", "create", "12.5", "--idempotency-key", "order-1", "--json")
    made = json.loads(shop.cli(*words).stdout)
    assert (made["state"], made["checkout_url"]) == ("open", f"https://pay.example/checkout/{made['id']}")
    assert json.loads(shop.cli(*words).stdout)["id"] == made["id"]
    body = message("payment.succeeded", made["id"], "12.5")
    assert tell(shop, body, "m1", secret=b"somebody who guesses a secret").status_code == 401
    assert tell(shop, body, "m1", age=3600).status_code == 401
    assert tell(shop, message("payment.succeeded", made["id"], "1250"), "m1").status_code == 400
    assert tell(shop, message("payment.succeeded", "pay_none", "12.5"), "m1").status_code == 404
    assert shop.balance()["ledger_pico"] == before
    assert tell(shop, body, "m1").json() == {"result": "paid"}
    assert [tell(shop, body, name).json()["result"] for name in ("m1", "m2")] == ["nothing"] * 2
    balance = shop.balance()
    assert balance["ledger_pico"] - before == 125 * 10**11
    assert balance["wallet_pico"] == balance["ledger_pico"]
    (listed,) = json.loads(shop.cli("topups", "list", "--json").stdout)["items"]
    assert (listed["id"], listed["state"]) == (made["id"], "paid")
    assert tell(shop, message("payment.refunded", made["id"], "12.5"), "m3").json() == {"result": "refunded"}
    assert shop.balance()["ledger_pico"] == before


def test_billing_without_a_secret_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    environment = {
        "TOLLGATE_BILLING_ADDRESS": "unix:/nowhere",
        "TOLLGATE_BILLING_CONFIG_ADDRESSES": "unix:/nowhere",
        "TOLLGATE_BILLING_STATE_DIRECTORY": "/nowhere",
        "TOLLGATE_BILLING_DATABASE_URL": "sqlite:////nowhere",
        "TOLLGATE_BILLING_CLICKHOUSE_DSN": "chdb:///nowhere",
        "TOLLGATE_BILLING_REDIS_URL": "unix:///nowhere",
        "TOLLGATE_BILLING_EVENT_LOG_URL": "sqlite:///nowhere",
        "TOLLGATE_BILLING_PAYMENT_PROVIDER": "simulated",
        "TOLLGATE_BILLING_PAYMENT_CHECKOUT_URL": "https://pay.example",
        "TOLLGATE_BILLING_PAYMENT_WEBHOOK_SECRET_FILE": str(tmp_path / "empty"),
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tollgate_billing"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "TOLLGATE_BILLING_PAYMENT_WEBHOOK_SECRET_FILE" in done.stderr
    assert "0 bytes" in done.stderr


def test_without_a_provider_top_ups_say_so(product: Product) -> None:
    refused = product.cli("topups", "create", "5", "--json")
    assert refused.returncode == 1
    assert "no payment provider" in json.loads(refused.stdout)["error"]["message"].lower()
    assert product.api.post("/api/v1/payments/webhook", content=b"{}").status_code == 404
