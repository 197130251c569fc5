"""The start-up contract: one product through its life, from `make up` to its second run with declared channels."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.integration.audit import wait_at_rest
from tests.integration.product import Product
from tests.servers.process import REPOSITORY, alive, unavailable

pytestmark = pytest.mark.integration
PROCESSES = {"edge", "router", "billing", "media-jobs", "valkey", "simulator"}
DECLARED = """
channels:
  - name: elsewhere
    provider: openai-compatible
    base_url: {url}/v1
    private_network: true
    credentials: [{{env: ELSEWHERE_KEY}}]
    models: [{{name: house-model, upstream: gpt-5-mini}}{more}]
price_books:
  - name: public
    effective: 2026-01-01T00:00:00Z
    currency: USD
    models:
      house-model: {{input: "1000", output: "2000"}}
"""


def commands(document: str) -> list[str]:
    """Returns the shell blocks of a document of the repository."""
    return re.findall(r"```sh\n(.*?)```", (REPOSITORY / document).read_text(encoding="utf-8"), re.DOTALL)


def program(name: str) -> str:
    return shutil.which(name) or unavailable(name, f"apt-get install {name}")


def chat(product: Product, model: str) -> httpx.Response:
    return httpx.post(
        f"{product.base_url}/chat/completions",
        headers={"authorization": f"Bearer {product.api_key}"},
        json={"model": model, "messages": [{"role": "user", "content": "Say hello"}]},
        timeout=60,
        trust_env=False,
    )


@pytest.fixture(scope="module")
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, taken_port: int) -> Iterator[Product]:
    """Started by the command that README gives, as from a terminal; what is installed already stays so."""
    assert commands("README.md") == ["make up\n"]
    directory = tmp_path_factory.mktemp("own")
    installed = directory / "installed"
    installed.touch()
    (directory / "bin").mkdir()
    starter = directory / "bin" / "tollgate"
    starter.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tollgate_cli "$@"\n', encoding="utf-8")
    starter.chmod(0o755)
    options = f"--home {directory / 'home'} --ready-file {directory / 'ready.json'} --port {taken_port}"
    make = [program("make"), "up", f"ARGS={options}", f"BIN={directory / 'bin'}", f"STAMP={installed}", "-o", installed]
    running = Product(directory, command=make)
    try:
        yield running.start()
    finally:
        running.stop()


def test_ready_file(own: Product, taken_port: int) -> None:
    ready = own.ready
    assert set(ready) == {"base_url", "api_key", "admin_key", "console_url", "pid", "home", "processes"}
    port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/v1", own.base_url)[1])
    assert ready["console_url"] == f"http://127.0.0.1:{port}/"
    assert ready["home"] == str(own.home)
    assert own.api_key.startswith("sk-tg-")
    assert set(ready["processes"]) == PROCESSES
    assert all(alive(pid) for pids in ready["processes"].values() for pid in pids)
    assert alive(ready["pid"])
    assert json.loads((own.home / "ready.json").read_bytes()) == ready
    for secret in (own.ready_file, own.home / "ready.json", own.home / "edge" / "bootstrap.json"):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    said = own.child.log.read_text(encoding="utf-8")
    assert port > taken_port
    assert f"port {taken_port} is taken; using {port}" in said
    for value in (own.base_url, own.api_key, ready["console_url"], "A simulated provider answers"):
        assert value in said


def test_printed_address_answers_with_a_page(own: Product) -> None:
    said = own.child.log.read_text(encoding="utf-8")
    (address,) = re.findall(r"^  Console +(\S+)", said, re.MULTILINE)
    for method in ("GET", "HEAD"):
        reply = httpx.request(method, address, timeout=60, trust_env=False)
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert own.base_url in httpx.get(address, timeout=60, trust_env=False).text


def test_printed_curl_line(own: Product) -> None:
    program("curl")
    said = own.child.log.read_text(encoding="utf-8")
    (line,) = re.findall(r"^  (curl .*)$", said, re.MULTILINE)
    answer = subprocess.run(["bash", "-c", line], check=True, capture_output=True, text=True, timeout=120).stdout
    assert answer.count("data: ") > 3
    assert answer.rstrip().endswith("data: [DONE]")
    assert own.wait_booked(1)["requests"] == 1


def test_first_start_gives_credit(own: Product) -> None:
    spent = own.wait_booked(1)["total"]["charge_pico"]
    assert own.balance()["ledger_pico"] == 100 * 10**12 - spent
    assert spent > 0


def test_a_second_start_is_refused_with_a_sentence(own: Product) -> None:
    second = own.cli("up", "--home", own.home, "--port", "0")
    assert (second.returncode, second.stdout) == (1, "")
    assert f"process {own.ready['pid']}" in second.stderr
    assert str(own.home) in second.stderr
    assert "Traceback" not in second.stderr
    assert chat(own, "gpt-5-mini").status_code == 200


@pytest.mark.parametrize("service", ["router", "edge", "billing"])
def test_a_killed_process_comes_back_and_the_ready_file_says_so(own: Product, service: str) -> None:
    before = own.read_ready()
    (killed,) = own.pids(service)
    os.kill(killed, signal.SIGKILL)
    own.wait(lambda: own.pids(service) not in ([killed], []), f"{service} to be started again")
    after = own.read_ready()
    assert after["processes"] == before["processes"] | {service: own.pids(service)}
    assert json.loads((own.home / "ready.json").read_bytes()) == after
    assert f"{service}" in own.child.tail()

    def served() -> bool:
        try:
            return chat(own, "gpt-5-mini").status_code == 200
        except httpx.HTTPError:
            return False

    own.wait(served, f"requests to be answered with a new {service}")


def test_stop_ends_all_and_the_next_run_knows_everything(own: Product, product: Product) -> None:
    made = own.create_key("kept")
    # Of what failed while processes were away, rows that cost nothing may come late.
    wait_at_rest(own)
    balance, usage = own.balance(), own.usage()
    keys, processes = (own.api_key, own.admin_key), own.read_ready()["processes"]
    # Ctrl-C reaches make as well, which ends with the signal once the product is gone.
    assert own.stop() == -signal.SIGINT
    assert not any(alive(pid) for pids in processes.values() for pid in pids)
    assert not own.ready_file.exists()
    assert not (own.home / "ready.json").exists()
    config = own.directory / "tollgate.yaml"
    config.write_text(DECLARED.format(url=product.simulator_url, more=""), encoding="utf-8")
    again = Product(own.directory, ["--config", str(config)], {"ELSEWHERE_KEY": "not-a-secret"})
    try:
        again.start()
        assert (again.api_key, again.admin_key) == keys
        assert again.balance() == balance
        assert again.usage() == usage
        again.api.headers["authorization"] = f"Bearer {made['key']}"
        assert [model["id"] for model in again.api.get("/v1/models").json()["data"]] == ["house-model"]
        again.api.headers["authorization"] = f"Bearer {again.admin_key}"
        _declared_channels(again, product, config)
    finally:
        assert again.stop() == 0


def _declared_channels(again: Product, product: Product, config: Path) -> None:
    """Declared channels are the only ones, at declared prices; SIGHUP applies the file again."""
    assert set(again.ready["processes"]) == PROCESSES - {"simulator"}
    assert "simulated" not in again.child.tail(20).rpartition("Tollgate is up.")[2]
    reply = chat(again, "house-model")
    assert reply.status_code == 200, reply.text
    row = again.wait_row(reply.headers["x-request-id"])
    usage = reply.json()["usage"]
    assert row["charge_pico"] == (usage["prompt_tokens"] + 2 * usage["completion_tokens"]) * 10**9
    assert row["channel"] == "elsewhere"
    assert product.simulator_ledger()[-1]["model"] == "gpt-5-mini"
    assert chat(again, "gpt-5-mini").status_code == 404
    config.write_text(DECLARED.format(url=product.simulator_url, more=", gpt-5.1"), encoding="utf-8")
    os.kill(again.ready["pid"], signal.SIGHUP)
    again.wait(lambda: chat(again, "gpt-5.1").status_code == 200, "the changed file to be in force")


def test_no_demo(tmp_path: Path) -> None:
    bare = Product(tmp_path, ["--no-demo", "--json"])
    try:
        bare.start()
        assert bare.ready["api_key"] is None
        printed = [line for line in bare.child.log.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
        assert [json.loads(line) for line in printed] == [bare.ready]
        assert bare.usage() == bare.usage() | {"requests": 0, "rows": []}
        assert bare.get("keys") == {"items": [], "next": None}
        assert bare.get("organizations") == bare.get("projects") == {"items": [], "next": None}
        assert set(bare.ready["processes"]) == PROCESSES - {"simulator"}
        assert "no model is served yet" in bare.child.log.read_text(encoding="utf-8")
        for command in (["keys", "create", "nobody's"], ["projects", "create", "nobody's"]):
            refused = bare.cli(*command, "--json")
            assert refused.returncode == 1
            assert "tollgate organizations create NAME" in json.loads(refused.stdout)["error"]["message"]
    finally:
        assert bare.stop() == 0


@pytest.mark.parametrize("document", ["docs/guides/organizations.md", "docs/guides/organizations.zh.md"])
def test_from_nothing_to_the_first_answer_by_the_guide(product: Product, tmp_path: Path, document: str) -> None:
    """Every command of the guide runs as printed, on a product that was started as it says."""
    program("curl")
    config = tmp_path / "tollgate.yaml"
    config.write_text(DECLARED.format(url=product.simulator_url, more=", gpt-5-mini"), encoding="utf-8")
    bare = Product(tmp_path, ["--no-demo", "--config", str(config)], {"ELSEWHERE_KEY": "not-a-secret"})
    try:
        bare.start()
        start, *steps = commands(document)
        assert "up --no-demo" in start
        done = bare.run_script("set -euo pipefail\n" + "".join(steps), tmp_path / "checkout")
        assert done.returncode == 0, done.stderr + done.stdout
        assert '"chat.completion"' in done.stdout
        assert "The balance is 100 USD." in done.stdout
        organization = next(one for one in bare.get("organizations")["items"] if one["currency"] == "USD")
        (project,) = bare.get("projects")["items"]
        spent = bare.wait_booked(1)["total"]["charge_pico"]
        (row,) = bare.requests()
        assert (row["organization_id"], row["project_id"]) == (organization["id"], project["id"])
        assert bare.balance(organization["id"])["ledger_pico"] == 100 * 10**12 - spent < 100 * 10**12
    finally:
        assert bare.stop() == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_what_does_not_validate_starts_nothing(product: Product, tmp_path: Path, *, as_json: bool) -> None:
    good = DECLARED.format(url="http://127.0.0.1:1", more="")
    bad = good.replace("private_network: true", "private_network: perhaps").replace('"1000"', "1000")
    config = tmp_path / "tollgate.yaml"
    config.write_text(bad + "rotes: []\n", encoding="utf-8")
    lines = config.read_text(encoding="utf-8").splitlines()
    home = tmp_path / "home"
    arguments = ["up", "--home", home, "--config", config, "--port", "0", *(["--json"] if as_json else [])]
    refused = product.cli(*arguments)
    assert refused.returncode == 1
    assert not home.exists()
    expected = {"private_network": "perhaps", "input": "1000", "rotes": ""}
    if as_json:
        found = json.loads(refused.stdout)["error"]["details"]
        places = {one["field"].rpartition(".")[2]: one for one in found}
        assert set(places) == set(expected)
        for field, value in expected.items():
            assert places[field]["file"] == str(config)
            assert field in lines[places[field]["line"] - 1]
            assert value in str(places[field]["found"])
            assert places[field]["allowed"]
    else:
        for field, value in expected.items():
            (sentence,) = [line for line in refused.stderr.splitlines() if field in line and str(config) in line]
            assert value in sentence
            place = re.search(re.escape(str(config)) + r"\D{1,8}(\d+)", sentence)
            assert place is not None
            assert field in lines[int(place[1]) - 1]


def test_a_channel_without_its_key_is_named_at_the_start_and_by_doctor(product: Product, tmp_path: Path) -> None:
    config = tmp_path / "tollgate.yaml"
    config.write_text(DECLARED.format(url=product.simulator_url, more=""), encoding="utf-8")
    keyless = Product(tmp_path, ["--config", str(config)])
    try:
        keyless.start()
        said = keyless.child.log.read_text(encoding="utf-8")
        assert "Channel 'elsewhere': the environment variable ELSEWHERE_KEY is not set." in said
        ill = keyless.cli("doctor", "--json")
        (found,) = [one for one in json.loads(ill.stdout)["checks"] if one["check"] == "channels"]
        assert (ill.returncode, found["state"]) == (1, "failed")
        assert "ELSEWHERE_KEY" in found["found"]
    finally:
        assert keyless.stop() == 0


def test_missing_config_file(product: Product, tmp_path: Path) -> None:
    refused = product.cli("up", "--home", tmp_path / "home", "--config", tmp_path / "none.yaml", "--port", "0")
    assert refused.returncode == 2
    assert "none.yaml" in refused.stderr
    assert "Traceback" not in refused.stderr
