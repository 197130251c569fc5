"""`tollgate doctor client` against the product, through proxies that are set up wrong, and with wrong values."""

import json

import httpx
import pytest
from tests.integration.bad_proxy import proxy
from tests.servers.process import free_port

from tollgate_cli.clients import find_client
from tollgate_cli.commands.doctor_client import ClientDoctor

pytestmark = pytest.mark.integration

MODEL = "gpt-5-mini"
CHECKS = ["base url", "reachable", "path", "key", "model", "balance", "chat", "stream", "proxy", "cors"]


def diagnose(typed, key, model=MODEL, client="openai-sdk", *, requests=True, until="cors"):
    """Returns what each check found, as far as `until`: the later ones take their time."""
    with httpx.Client(timeout=60, trust_env=False) as http:
        doctor = ClientDoctor(http, typed, key, model, find_client(client) if client else None, requests=requests)
        found = {}
        for finding in doctor.findings():
            found[finding.check] = finding
            if finding.check == until:
                break
        return found


def wrong(found):
    return {name for name, finding in found.items() if finding.state == "failed"}


def test_all_is_well_directly_and_behind_a_proxy_below_a_path(product):
    found = diagnose(product.base_url, product.api_key)
    assert {name: finding.state for name, finding in found.items()} == dict.fromkeys(CHECKS, "ok"), found
    with proxy(product.url, "") as address:
        assert wrong(diagnose(f"{address}/gate/v1", product.api_key)) == set()


@pytest.mark.parametrize(
    ("fault", "expected", "word"),
    [
        ("buffers", {"proxy"}, "proxy_buffering off"),
        ("compresses", {"proxy"}, "compression"),
        ("cuts off", {"reachable"}, "address"),
        ("login", {"reachable"}, "redirect"),
        ("web page", {"reachable"}, "address"),
        ("no upstream", {"reachable"}, "gateway runs"),
        ("loses the key", {"key"}, "copied whole"),
        ("own cors", {"cors"}, "Access-Control"),
        ("eats preflight", {"cors"}, "OPTIONS"),
    ],
)
def test_a_proxy_that_is_set_up_wrong_is_found(product, fault, expected, word):
    with proxy(product.url, fault) as address:
        found = diagnose(address, product.api_key, client="nextchat", requests=False)
    assert wrong(found) == expected, found
    assert all(word in found[name].advice for name in expected), found


@pytest.mark.parametrize(
    ("client", "typed", "expected"),
    [
        ("openai-sdk", "{url}/v1/v1", {"base url", "path"}),
        ("openai-sdk", "{url}/v1/chat/completions", {"base url", "path"}),
        ("claude-code", "{url}/v1", {"base url", "path"}),
        ("cursor", "{url}/v1", {"base url"}),
        ("openai-sdk", "{url}", set()),
        ("openai-sdk", "{url}/v1/", set()),
        ("cherry-studio", "{url}/v1", set()),
    ],
)
def test_a_base_url_that_is_wrong_for_a_client_is_found(product, client, typed, expected):
    address = typed.format(url=product.url)
    found = diagnose(address, product.api_key, client=client, until="path")
    assert wrong(found) == expected, found
    assert (found["base url"].state == "ok") == (client == "cherry-studio")
    if "path" in expected:
        right = product.base_url if client == "openai-sdk" else product.url
        assert found["base url"].advice == f"Enter {right}."
        assert "base URL" in found["path"].found


def test_a_wrong_key_model_and_balance_are_told_apart(product):
    found = diagnose(product.base_url, "sk-ant-api03-x", until="stream")
    assert wrong(found) == {"key"}
    assert "key of Anthropic" in found["key"].advice
    assert found["chat"].state == found["stream"].state == "skipped"
    assert wrong(diagnose(product.base_url, product.admin_key, until="balance")) == {"key"}
    assert "blanks" in diagnose(product.base_url, f" {product.api_key}", until="balance")["key"].found
    found = diagnose(product.base_url, product.api_key, "gpt-5-mni", until="balance")
    assert wrong(found) == {"model"}
    assert "gpt-5-mini" in found["model"].advice
    assert "/docs/errors#model_not_found" in found["model"].advice
    poor = product.create_key("poor")
    limit = {"budget": {"amount": "0.000000000001", "window": "total"}}
    assert product.api.patch(f"/api/v1/limits/{poor['id']}", json=limit).status_code == 200
    left = "0.000000000001 USD are left"

    def known():
        return diagnose(product.base_url, poor["key"], until="balance")["balance"].found == left

    product.wait(known, "the limit")
    found = diagnose(product.base_url, poor["key"], until="stream")
    assert wrong(found) == {"chat", "stream"}
    assert "/docs/errors#insufficient_quota" in found["chat"].advice


def test_nobody_there_and_https_where_there_is_none_are_told_apart(product):
    found = diagnose(f"http://127.0.0.1:{free_port()}", product.api_key)
    assert wrong(found) == {"reachable"}
    assert "nobody listens" in found["reachable"].found
    secure = product.url.replace("http://", "https://")
    found = diagnose(secure, product.api_key)
    assert found["reachable"].advice in {f"Enter {product.url}.", f"It may want https: try {product.url}."}
    assert wrong(diagnose("ftp://nothing", product.api_key)) == {"base url"}


def test_the_command_prints_and_exits_as_the_others_do(product):
    done = product.cli("doctor", "client", "--url", f"{product.url}/v1/v1", "--key", product.api_key, "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert [one["check"] for one in found["checks"]] == CHECKS
    done = product.cli("doctor", "client", "--url", "nothing", "--client", "netscape")
    assert done.returncode == 2
    assert "cherry-studio" in done.stderr
    shown = product.cli("client", "cherry-studio", "--link")
    assert shown.stdout.startswith("cherrystudio://providers/api-keys?v=1&data=")
    assert product.cli("doctor", "--no-requests").returncode == 0
