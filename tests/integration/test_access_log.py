"""The access log of a running product: one line a request, the provider's channel in it, and nobody's secrets."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.product import Product

pytestmark = pytest.mark.integration

SECRET = "a thing that nobody else may read"


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    product = Product(tmp_path_factory.mktemp("logged"), environment={"TOLLGATE_EDGE_ACCESS_LOG": "on"})
    try:
        yield product.start()
    finally:
        product.stop()


def ask(product: Product, path: str = "/chat/completions", headers: Any = None, **more: Any) -> httpx.Response:
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": SECRET}], **more}
    known = {"authorization": f"Bearer {product.api_key}"} if headers is None else headers
    return httpx.post(f"{product.base_url}{path}", json=body, headers=known, timeout=60, trust_env=False)


def lines(product: Product) -> list[dict[str, Any]]:
    text = (product.home / "logs" / "edge-0.log").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_each_request_is_one_line_and_agrees_with_its_usage_row(logged: Product) -> None:
    replies = [
        ask(logged),
        ask(logged, stream=True),
        ask(logged, messages=[{"role": "user", "content": "[[sim:status=400]]"}]),
        ask(logged, f"/chat/completions?key={logged.api_key}", {}),
        ask(logged, f"/chat/completions?key={logged.api_key}x", {}),
        ask(logged, headers={"authorization": "Bearer sk-tg-" + "0" * 40}),
        ask(logged, model="no-such-model"),
    ]
    ids = [reply.headers["x-request-id"] for reply in replies]
    logged.wait(lambda: {line["request_id"] for line in lines(logged)} >= set(ids), "every request to have a line")
    logged.wait_booked(4)
    found = {line["request_id"]: line for line in lines(logged) if line["request_id"] in ids}
    assert [found[request_id]["status"] for request_id in ids] == [reply.status_code for reply in replies]
    assert [reply.status_code for reply in replies] == [200, 200, 400, 200, 401, 401, 404]
    assert len([line for line in lines(logged) if line["request_id"] in ids]) == len(ids)
    for request_id, reply in zip(ids, replies, strict=True):
        line, rows = found[request_id], logged.requests(request_id=request_id)
        assert line["response_bytes"] == len(reply.content)
        if rows:
            (row,) = rows
            assert line["charge_pico"] == int(row["charge_pico"])
            assert {
                name: line[name] for name in ("api_key_id", "organization_id", "project_id", "channel", "model")
            } == {name: row[name] for name in ("api_key_id", "organization_id", "project_id", "channel", "model")}
            assert (line["outcome"], line["channel"]) == (row["outcome"], "simulator")
        else:
            assert (line["outcome"], line["channel"], line["charge_pico"]) == ("refused", "", 0)


def test_no_log_of_any_process_holds_a_key_or_what_was_asked(logged: Product) -> None:
    files = [*(logged.home / "logs").glob("*.log"), Path(logged.child.log)]
    assert len(files) > 5
    for file in files:
        text = file.read_text(encoding="utf-8", errors="replace")
        # The first key is told to who starts the product.
        secrets = [SECRET, "?key=", *([logged.api_key, logged.admin_key] if file != Path(logged.child.log) else [])]
        assert not [secret for secret in secrets if secret in text], file.name
