"""The `tollgate` commands and those of the tutorial, against the whole product."""

import hashlib
import json
import re
import secrets
from pathlib import Path

import httpx
import pytest
from tests.integration.audit import wait_at_rest
from tests.integration.product import Product
from tests.integration.test_start_up import commands, program

pytestmark = pytest.mark.integration


def models_status(product: Product, key: str) -> int:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.get(f"{product.base_url}/models", headers=headers, trust_env=False, timeout=60).status_code


def test_keys_from_creation_to_revocation(product: Product) -> None:
    made = product.cli("keys", "create", "by command", "--json")
    assert (made.returncode, made.stderr) == (0, "")
    key = json.loads(made.stdout)
    assert models_status(product, key["key"]) == 200
    listed = json.loads(product.cli("keys", "list", "--json").stdout)
    assert listed["next"] is None
    (mine,) = [item for item in listed["items"] if item["id"] == key["id"]]
    assert (mine["name"], mine["last_four"], mine["revoked_at"]) == ("by command", key["key"][-4:], None)
    assert key["key"] not in json.dumps(listed)
    assert key["id"] in product.cli("keys", "list").stdout
    assert product.cli("keys", "revoke", key["id"]).returncode == 0
    product.wait(lambda: models_status(product, key["key"]) == 401, "the revoked key to be refused")
    unknown = product.cli("keys", "revoke", "key_unknown", "--json")
    assert unknown.returncode == 1
    assert json.loads(unknown.stdout)["error"]["details"]["status"] == 404


def test_keys_of_another_gateway_go_on_working(product: Product, tmp_path: Path) -> None:
    theirs = [f"sk-{secrets.token_urlsafe(36)}" for _ in range(2)]
    file = tmp_path / "keys.csv"
    file.write_text(
        f"key,name,models\n{theirs[0]},shop,gpt-5-mini\n{theirs[1]},office,7;\nshort,x,\n", encoding="utf-8"
    )
    refused = product.cli("keys", "import", file)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "line 4: A key has 16 to 512 characters" in refused.stderr
    assert "1 of 3 keys are refused. Nothing was imported." in refused.stderr
    assert models_status(product, theirs[0]) == 401
    file.write_text(f"key,name,models\n{theirs[0]},shop,gpt-5-mini\n{theirs[1]},office,\n", encoding="utf-8")
    checked = json.loads(product.cli("keys", "import", file, "--check", "--json").stdout)
    assert [item["state"] for item in checked["items"]] == ["valid", "valid"]
    assert models_status(product, theirs[1]) == 401
    done = json.loads(product.cli("keys", "import", file, "--json").stdout)
    assert [(item["line"], item["state"]) for item in done["items"]] == [(2, "imported"), (3, "imported")]
    product.wait(lambda: models_status(product, theirs[1]) == 200, "edge to know the imported key")
    body = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}]}
    for model, status in (("gpt-5-mini", 200), ("gpt-5.1", 404)):
        headers = {"authorization": f"Bearer {theirs[0]}"}
        url = f"{product.base_url}/chat/completions"
        reply = httpx.post(url, json=body | {"model": model}, headers=headers, trust_env=False, timeout=60)
        assert reply.status_code == status, reply.text
        if status == 200:
            assert product.wait_row(reply.headers["x-request-id"])["api_key_id"] == done["items"][0]["id"]
    assert "0 of 2 keys imported." in product.cli("keys", "import", file).stdout
    product.cli("keys", "revoke", done["items"][0]["id"])
    product.wait(lambda: models_status(product, theirs[0]) == 401, "the revoked key to be refused")
    kept = b"".join(path.read_bytes() for path in (product.home / "edge").iterdir() if path.is_file())
    for key in theirs:
        digest = hashlib.sha256(key.encode())
        assert not any(part in kept for part in (key.encode(), digest.digest(), digest.hexdigest().encode()))


def test_doctor_finds_nothing_wrong(product: Product) -> None:
    healthy = product.cli("doctor", "--json")
    report = json.loads(healthy.stdout)
    assert {one["check"]: one["state"] for one in report["checks"] if one["state"] == "failed"} == {}
    assert (healthy.returncode, report["ok"]) == (0, True)
    checks = {one["check"] for one in report["checks"]}
    assert {
        "reachable",
        "ready",
        "processes",
        "valkey",
        "models",
        "balance",
        "chat",
        "stream",
        "embeddings",
        "usage",
    } <= checks


def test_usage_is_what_the_api_says(product: Product) -> None:
    wait_at_rest(product)
    found = product.cli("usage", "--group-by", "model,operation", "--json")
    usage = json.loads(found.stdout)
    assert usage["requests"] == product.usage()["requests"]
    assert sum(row["requests"] for row in usage["rows"]) == usage["requests"] > 0
    assert f"{usage['requests']} requests" in product.cli("usage").stdout
    assert product.cli("usage", "--group-by", "nonsense").returncode == 1


def test_product_by_address_and_exit_codes(product: Product, tmp_path: Path) -> None:
    address = {"TOLLGATE_URL": product.url, "TOLLGATE_TOKEN": product.admin_key}
    assert json.loads(product.cli("usage", "--json", home=tmp_path, **address).stdout)["requests"] >= 0
    wrong = product.cli("usage", "--json", home=tmp_path, **address | {"TOLLGATE_TOKEN": "pat-tg-wrong"})
    assert (wrong.returncode, json.loads(wrong.stdout)["error"]["details"]["status"]) == (1, 401)
    away = product.cli("usage", "--json", home=tmp_path)
    assert away.returncode == 3
    assert json.loads(away.stdout)["error"]["message"]
    assert product.cli("usage", "--unknown").returncode == 2
    assert product.cli("down", "--json", "--home", tmp_path).returncode == 0
    assert json.loads(product.cli("version", "--json").stdout)["version"]


@pytest.mark.parametrize("document", ["docs/tutorial.md", "docs/tutorial.zh.md"])
def test_tutorial(product: Product, tmp_path: Path, document: str) -> None:
    """Every command of the tutorial runs as printed; those that start the product are tested elsewhere."""
    program("curl")
    run = [block for block in commands(document) if "make up" not in block]
    assert len(run) >= 6
    script = "set -euo pipefail\n" + "".join(run)
    made = product.create_key("tutorial")
    script = script.replace("KEY_ID", made["id"])
    done = product.run_script(script, tmp_path / "checkout")
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"error"' not in done.stdout
    assert "data: [DONE]" in done.stdout
    assert '"b64_json"' in done.stdout
    assert re.search(r"\d+ requests", done.stdout)
    assert f"Revoked {made['id']}" in done.stdout
