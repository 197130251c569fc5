"""Credit, codes and wallets by command, against the whole product and under traffic."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from tests.integration.audit import Auditor, check_money
from tests.integration.product import Product

from tollgate_cli.home import Home
from tollgate_holds.holds import Holds

pytestmark = pytest.mark.integration

CHAT = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "About money."}]}


def run(product: Product, *words: str) -> dict[str, Any]:
    done = product.cli(*words, "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def refused(product: Product, *words: str) -> tuple[int, str]:
    done = product.cli(*words, "--json")
    assert done.returncode == 1, done.stdout
    error = json.loads(done.stdout)["error"]
    return error["details"]["status"], error["message"]


def test_money_goes_in_and_out_by_command(product: Product) -> None:
    for name in ("money-one", "money-two"):
        run(product, "organizations", "create", name)
    run(product, "organizations", "credit", "money-one", "100")
    granted = ("credit", "grant", "money-one", "20", "--expires", "2090-01-01", "--idempotency-key", "welcome")
    assert run(product, *granted)["balance"] == "120"
    again = run(product, *granted)
    assert (again["balance"], again["repeated"]) == ("120", True)
    assert refused(product, *granted[:3], "21", *granted[4:])[0] == 409
    assert run(product, "credit", "refund", "money-one", "30")["balance"] == "90"
    status, said = refused(product, "credit", "refund", "money-one", "70.5")
    assert (status, "70 USD of paid money" in said) == (400, True)
    assert run(product, "credit", "correct", "money-one", "5", "--take", "--reason", "twice")["balance"] == "85"
    assert run(product, "credit", "transfer", "money-one", "money-two", "40")["balance"] == "45"
    assert run(product, "credit", "line", "money-two", "7.5")["balance"] == "47.5"
    books = run(product, "ledger", "show", "--organization", "money-one")
    accounts = {one["account"]: one["balance"] for one in books["accounts"]}
    assert accounts == {"adjustment": "-15", "bonus": "20", "clearing": "40", "funding": "-70", "wallet": "25"}
    assert [(one["remaining"], one["priority"]) for one in books["grants"]] == [("20", 100)]
    assert {one["reason"] for one in books["transfers"]} >= {"credit", "grant", "refund", "twice", "transfer"}
    assert "money-one" not in product.cli("ledger", "show", "--organization", "money-two").stderr
    shown = product.cli("ledger", "show", "--organization", "money-two").stdout
    assert "of which 7.5 is a credit line" in shown
    for name, balance in (("money-one", "45"), ("money-two", "47.5")):
        (one,) = product.get("organizations", name=name)["items"]
        found = product.balance(one["id"])
        assert (found["wallet"], found["ledger"]) == (balance, balance)


def test_a_code_pays_once_and_its_money_answers_requests(product: Product) -> None:
    organization = run(product, "organizations", "create", "code-club")["id"]
    run(product, "projects", "create", "web", "--organization", "code-club")
    key = product.create_key("club", organization_id=organization)["key"]
    headers = {"authorization": f"Bearer {key}"}

    def ask() -> int:
        return httpx.post(
            f"{product.base_url}/chat/completions", json=CHAT, headers=headers, timeout=60, trust_env=False
        ).status_code

    assert ask() in {429, 503}
    made = run(product, "codes", "create", "3", "--count", "2", "--label", "club", "--valid-days", "30")["items"]
    assert len({one["code"] for one in made}) == 2
    code = made[0]["code"]
    redeemed = httpx.post(
        f"{product.url}/api/v1/codes/redeem", json={"code": code.lower()}, headers=headers, timeout=60, trust_env=False
    ).json()
    assert (redeemed["amount"], redeemed["balance"], redeemed["repeated"]) == ("3", "3", False)
    assert run(product, "codes", "redeem", code, "--organization", "code-club")["repeated"] is True
    assert refused(product, "codes", "redeem", code)[0] == 400
    assert ask() == 200
    product.wait(lambda: product.balance(organization)["ledger_pico"] < 3 * 10**12, "the request to be booked")
    assert run(product, "codes", "revoke", made[1]["id"])["state"] == "revoked"
    listed = {one["id"]: one for one in run(product, "codes", "list")["items"]}
    assert (listed[made[0]["id"]]["state"], listed[made[0]["id"]]["redeemed_by"]) == ("redeemed", organization)
    assert code not in json.dumps(listed)
    for number in range(10):
        wrong = {"code": f"TG-WRONG-{number}", "organization_id": organization}
        assert product.api.post("/api/v1/codes/redeem", json=wrong).status_code == 400
    reply = product.api.post("/api/v1/codes/redeem", json={"code": code, "organization_id": organization})
    assert (reply.status_code, 0 < int(reply.headers["retry-after"]) <= 600) == (429, True)


@contextmanager
def traffic(product: Product, key: str, clients: int = 4) -> Iterator[list[str]]:
    """Sends requests until the block ends; yields the ids of those that were answered."""
    stop, answered = threading.Event(), list[str]()

    def send() -> None:
        headers = {"authorization": f"Bearer {key}"}
        with httpx.Client(base_url=product.base_url, headers=headers, timeout=60, trust_env=False) as client:
            while not stop.is_set():
                reply = client.post("/chat/completions", json=CHAT)
                if reply.status_code == 200:
                    answered.append(reply.headers["x-request-id"])

    threads = [threading.Thread(target=send) for _ in range(clients)]
    for one in threads:
        one.start()
    try:
        yield answered
    finally:
        stop.set()
        for one in threads:
            one.join()


def test_wallets_that_are_rebuilt_under_traffic_end_equal(product: Product) -> None:
    auditor = Auditor(product)
    organization = product.balance()["organization_id"]

    async def spoil(*command: str) -> None:
        holds = Holds(f"unix://{Home(product.home).socket('valkey')}")
        await holds.start()
        try:
            assert await holds.wait_ready(60)
            await holds.pipe.call(*command)
        finally:
            await holds.close()

    wallet = f"{{{organization}}}:wallet"
    with traffic(product, auditor.key) as answered:
        for number in range(6):
            seen = len(answered)
            asyncio.run(spoil("DEL", wallet) if number % 2 else spoil("INCRBY", wallet, str(10**12)))
            rebuilt = run(product, "wallets", "rebuild")["items"]
            assert organization in {one["organization_id"] for one in rebuilt}
            product.wait(lambda seen=seen: len(answered) > seen, "a request to be answered")
    books = auditor.close(answered)
    check_money(books)
    assert len(answered) == books.usage["requests"]
    one = run(product, "wallets", "rebuild", "--organization", organization)["items"]
    assert [item["changed"] for item in one] == [False]
    assert refused(product, "wallets", "rebuild", "--organization", "nobody")[0] == 404
