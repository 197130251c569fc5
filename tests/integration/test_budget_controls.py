"""Budgets from the command to the refusal, the message and the opening, on the whole product."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.product import Product
from tests.servers.notify import Receivers

pytestmark = pytest.mark.integration

DEAR, CHEAP = "gpt-5", "gpt-5-mini"
DEAR_IMAGE, CHEAP_IMAGE = "gpt-image-2", "gpt-image-1-mini"
CANARY = "http://localhost:1/canary-path"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="module")
def receivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receivers]:
    running = Receivers(tmp_path_factory.mktemp("receivers"))
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="module")
def budgeted(tmp_path_factory: pytest.TempPathFactory, receivers: Receivers) -> Iterator[Product]:
    environment = {
        "TOLLGATE_BILLING_NOTIFY_PRIVATE_NETWORK": "true",
        "TOLLGATE_BILLING_SMTP_HOST": "127.0.0.1",
        "TOLLGATE_BILLING_SMTP_PORT": str(receivers.smtp_port),
        "TOLLGATE_BILLING_SMTP_SECURITY": "none",
        "TOLLGATE_BILLING_SMTP_SENDER": "tollgate@example.com",
    }
    running = Product(tmp_path_factory.mktemp("budgeted"), environment=environment)
    try:
        yield running.start()
    finally:
        running.stop()


def run(product: Product, *words: str | Path) -> dict[str, Any]:
    done = product.cli(*words, "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def chat(product: Product, key: str, model: str = DEAR) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "About budgets."}]}
    url, headers = f"{product.url}/v1/chat/completions", {"authorization": f"Bearer {key}"}
    return httpx.post(url, json=body, headers=headers, timeout=60, trust_env=False)


def zone() -> tuple[str, str]:
    """Returns the option that puts a budget where it is noon now: its day and its month do not end in a test."""
    # The sign of these names is that of the way to UTC: Etc/GMT-8 is eight hours ahead of it.
    return "--time-zone", f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


def held(product: Product, budget_id: str) -> str:
    return str(run(product, "budgets", "show", budget_id)["state"]["action"] or "")


def test_a_budget_that_is_used_up_refuses_tells_and_opens(budgeted: Product, receivers: Receivers) -> None:
    url = receivers.add("hook", "webhook", WEBHOOK_SECRET)
    (budgeted.directory / "hook.secret").write_text(WEBHOOK_SECRET)
    hook = run(budgeted, "notify", "add", "hook", "webhook", url, "--secret-file", budgeted.directory / "hook.secret")
    assert (hook["address"], hook["has_secret"]) == ("localhost", True)
    assert WEBHOOK_SECRET not in json.dumps(hook) + budgeted.cli("notify", "list", "--json").stdout
    assert url not in json.dumps(hook)
    key = budgeted.create_key("spender")
    made = run(
        budgeted,
        "budgets",
        "create",
        "tiny",
        "0.000001",
        "--key",
        key["id"],
        "--period",
        "day",
        "--block",
        "100",
        *zone(),
    )
    assert chat(budgeted, key["key"]).status_code == 200
    budgeted.wait(lambda: chat(budgeted, key["key"]).status_code == 429, "the budget to refuse")
    refused = chat(budgeted, key["key"])
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert f"'tiny' ({made['id']})" in error["message"]
    assert "It opens at 20" in error["message"]
    assert refused.headers["x-tollgate-budget"] == made["id"]
    assert refused.headers["x-should-retry"] == "false"
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    shown = run(budgeted, "budgets", "show", made["id"])
    assert (shown["state"]["action"], shown["state"]["reached_percent"]) == ("block", 100)
    assert shown["state"]["opens_at"] == shown["state"]["ends_at"]
    assert shown["forecast"]["runs_out_at"] is not None
    assert shown["wallet"]["runs_out_at"] is not None
    (message,) = receivers.messages("hook", 1, 60)
    assert message["problem"] == ""
    payload = json.loads(message["text"])
    (item,) = payload["data"]["items"]
    assert (payload["type"], item["budget_id"], item["percent"], item["action"]) == (
        "tollgate.budget", made["id"], 100, "block",
    )  # fmt: skip
    other = budgeted.create_key("bystander")
    assert chat(budgeted, other["key"]).status_code == 200
    run(budgeted, "budgets", "delete", made["id"])
    budgeted.wait(lambda: chat(budgeted, key["key"]).status_code == 200, "the key to be served again")


def test_a_downgrade_turns_to_the_cheaper_model_and_says_so(budgeted: Product) -> None:
    key = budgeted.create_key("downgraded")
    words = ("budgets", "create", "cheaper", "0.000001", "--key", key["id"], "--downgrade", f"50:{CHEAP}", *zone())
    made = run(budgeted, *words)
    assert "x-tollgate-downgraded" not in chat(budgeted, key["key"]).headers
    said = f"{CHEAP}; budget={made['id']}"
    budgeted.wait(
        lambda: chat(budgeted, key["key"]).headers.get("x-tollgate-downgraded") == said, "requests to be downgraded"
    )
    reply = chat(budgeted, key["key"])
    assert reply.status_code == 200
    row = budgeted.wait_row(reply.headers["x-request-id"])
    assert (row["model"], row["requested_model"], row["fallback_reason"]) == (CHEAP, DEAR, "budget")
    assert (row["routing"]["fallback_model"], row["routing"]["fallback_reason"]) == (CHEAP, "budget")
    assert [one["verdict"] for one in row["routing"]["targets"]].count("taken") == 1
    assert "x-tollgate-downgraded" not in chat(budgeted, key["key"], CHEAP).headers
    run(budgeted, "budgets", "delete", made["id"])


def test_a_budget_of_a_tag_holds_all_keys_that_have_it(budgeted: Product) -> None:
    first, second = (
        run(budgeted, "keys", "create", name, "--tag", "search", "--tag", name) for name in ("finder", "seeker")
    )
    assert first["tags"] == ["finder", "search"]
    other = run(budgeted, "keys", "create", "writer", "--tag", "searching")
    made = run(budgeted, "budgets", "create", "searches", "0.000001", "--tag", "search", "--block", "100", *zone())
    assert chat(budgeted, first["key"]).status_code == 200
    budgeted.wait(lambda: chat(budgeted, second["key"]).status_code == 429, "the tag's budget to refuse another key")
    refused = chat(budgeted, first["key"])
    assert "of tag search is used up" in refused.json()["error"]["message"]
    assert chat(budgeted, other["key"]).status_code == 200
    # What was used and what was refused is found by the tag, and both of a key's tags have its usage.
    budgeted.wait(
        lambda: (
            refused.headers["x-request-id"]
            in {one["request_id"] for one in run(budgeted, "requests", "--tag", "finder", "--limit", "100")["items"]}
        ),
        "the refused request to be listed",
    )
    listed = run(budgeted, "requests", "--tag", "finder", "--limit", "100")["items"]
    assert {one["kind"] for one in listed} == {"usage", "refused"}
    assert {one["api_key_id"] for one in listed} == {first["id"]}
    by_tag = {
        one["tag"]: one["requests"] for one in run(budgeted, "usage", "--group-by", "tag", "--tag", "search")["rows"]
    }
    assert by_tag["search"] == by_tag["finder"] + by_tag.get("seeker", 0) >= 1
    assert "searching" not in by_tag
    evidence = run(budgeted, "evidence", refused.headers["x-request-id"])
    assert evidence["key"]["tags"] == ["finder", "search"]
    run(budgeted, "budgets", "delete", made["id"])


def image(product: Product, key: str, model: str) -> httpx.Response:
    url, headers = f"{product.url}/v1/images/generations", {"authorization": f"Bearer {key}"}
    body = {"model": model, "prompt": "a fox"}
    return httpx.post(url, json=body, headers=headers, timeout=60, trust_env=False)


def test_a_budget_of_a_member_counts_chat_and_images_of_all_their_keys(budgeted: Product) -> None:
    words = ("--member", "ada@example.com", "--tag", "art")
    first, second = (run(budgeted, "keys", "create", name, *words) for name in ("laptop", "phone"))
    assert first["member"] == "ada@example.com"
    other = run(budgeted, "keys", "create", "tablet", "--member", "ada")
    reply = image(budgeted, first["key"], DEAR_IMAGE)
    assert reply.status_code == 200, reply.text
    words = ("budgets", "create", "ada", "0.000001", "--member", "ada@example.com", "--downgrade", f"1:{CHEAP_IMAGE}")
    made = run(budgeted, *words, *zone())
    # What was made before the budget counts, under the other key as well.
    said = f"{CHEAP_IMAGE}; budget={made['id']}"
    budgeted.wait(
        lambda: image(budgeted, second["key"], DEAR_IMAGE).headers.get("x-tollgate-downgraded") == said,
        "images to be downgraded",
    )
    reply = image(budgeted, second["key"], DEAR_IMAGE)
    row = budgeted.wait_row(reply.headers["x-request-id"])
    assert (row["model"], row["requested_model"], row["fallback_reason"]) == (CHEAP_IMAGE, DEAR_IMAGE, "budget")
    assert "x-tollgate-downgraded" not in image(budgeted, other["key"], DEAR_IMAGE).headers
    # Chat cannot turn to a model of images, and goes on.
    assert "x-tollgate-downgraded" not in chat(budgeted, second["key"]).headers
    run(budgeted, "budgets", "delete", made["id"])
    asked = f"SELECT DISTINCT member, tags FROM usage_events WHERE api_key_id IN ('{first['id']}', '{second['id']}')"
    assert [list(row.values()) for row in run(budgeted, "usage", "sql", asked)["rows"]] == [["ada@example.com", "art"]]
    asked = f"SELECT DISTINCT client_network FROM usage_events WHERE api_key_id = '{second['id']}' AND prompt_hash != 0"
    assert [list(row.values()) for row in run(budgeted, "usage", "sql", asked)["rows"]] == [["127.0.0.0/24"]]


def test_sql_does_not_know_where_notices_go(budgeted: Product) -> None:
    secret = budgeted.directory / "canary.secret"
    secret.write_text(WEBHOOK_SECRET)
    run(budgeted, "notify", "add", "canary", "webhook", CANARY, "--secret-file", secret)
    everything = b"".join(
        file.read_bytes()
        for folder in ("billing", "logs")
        for file in (budgeted.home / folder).rglob("*")
        if file.is_file()
    )
    assert b"canary" in everything
    assert b"canary-path" not in everything
    assert WEBHOOK_SECRET.removeprefix("whsec_").encode() not in everything
    problem = budgeted.cli("notify", "test", "canary", "--json")
    assert "canary-path" not in problem.stdout + problem.stderr


def test_what_cannot_be_a_budget_is_refused_with_what_to_do(budgeted: Product) -> None:
    good: dict[str, Any] = {"name": "b", "amount": "5"}
    for change, said in (
        ({"amount": 5}, "decimal string"),
        ({"amount": "0"}, "above 0"),
        ({"period": "year"}, "one of"),
        ({"days": 3}, "rolling"),
        ({"period": "rolling"}, "days from 1"),
        ({"time_zone": "Mars/Olympus"}, "IANA"),
        ({"time_zone": "../../etc/passwd"}, "IANA"),
        ({"scope": "key", "scope_id": "key_none"}, "no key"),
        ({"scope": "model"}, "which model"),
        ({"thresholds": [{"percent": 0, "action": "block"}]}, "whole number"),
        ({"thresholds": [{"percent": 90, "action": "downgrade"}]}, "names the model"),
        ({"thresholds": []}, "list of 1"),
        ({"colour": "red"}, "no field"),
    ):
        reply = budgeted.api.post("/api/v1/budgets", json=good | change)
        assert reply.status_code in {400, 404}, reply.text
        assert said in reply.json()["error"]["message"], reply.text
    assert budgeted.get("budgets")["items"] == []


def test_every_receiver_takes_what_is_sent_and_a_wrong_secret_is_told(budgeted: Product, receivers: Receivers) -> None:
    folder = budgeted.directory
    (folder / "right").write_text("SEC-right")
    (folder / "wrong").write_text("SEC-wrong")
    for kind in ("feishu", "dingtalk", "wecom", "slack"):
        url = receivers.add(f"{kind}-one", kind, "SEC-right" if kind in {"feishu", "dingtalk"} else "")
        signed = ("--secret-file", folder / "right") if kind in {"feishu", "dingtalk"} else ()
        one = run(
            budgeted, "notify", "add", f"{kind} one", kind, url, *signed, "--language", "zh", "--about", "anomaly"
        )
        assert run(budgeted, "notify", "test", one["id"])["delivered"] is True
        (message,) = receivers.messages(f"{kind}-one")
        assert (message["problem"], "测试通知" in message["text"]) == ("", True)
        if signed:
            other = run(budgeted, "notify", "add", f"{kind} two", kind, url, "--secret-file", folder / "wrong")
            done = budgeted.cli("notify", "test", other["id"])
            assert (done.returncode, "Not delivered: refused with code" in done.stderr) == (1, True)
    mail = run(budgeted, "notify", "add", "post", "mail", "ops@example.com, cfo@example.com", "--about", "anomaly")
    assert run(budgeted, "notify", "test", mail["id"])["delivered"] is True
    for address in ("ops@example.com", "cfo@example.com"):
        (message,) = receivers.messages(address)
        assert message["problem"] == ""
        assert "The destination post works." in message["text"]
