"""What speaks Anthropic's dialect from npm, unmodified, against the whole product: the package, and Claude Code."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.integration import node_packages
from tests.integration.product import Product

pytestmark = pytest.mark.integration
MODELS = ("claude-haiku-4-5", "gpt-5-mini")


@pytest.fixture(scope="module")
def node() -> str:
    """The path of a Node that has the packages; asked for first, so that nothing is started in vain without it."""
    return node_packages.node()


def run(command: list[str], product: Product, folder: Path, **more: str) -> dict[str, Any]:
    """Returns what a program printed as JSON."""
    environment = {name: value for name, value in product.environment.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment | more,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def seen(node: str, product: Product) -> dict[str, Any]:
    """Everything that the package saw, by model."""
    keys = {"TOLLGATE_URL": product.url, "TOLLGATE_API_KEY": product.api_key}
    return run([node, "anthropic.mjs", *MODELS], product, node_packages.FOLDER, **keys)


@pytest.mark.parametrize("model", MODELS)
def test_the_package(seen: dict[str, Any], model: str) -> None:
    found = seen[model]
    message, streamed = found["message"], found["streamed"]
    assert (message["type"], message["model"], message["stop_reason"]) == ("message", model, "end_turn")
    assert found["text"] == message["content"][0]["text"] == streamed["content"][0]["text"]
    assert {name: message["usage"][name] for name in ("input_tokens", "output_tokens")} == {
        name: streamed["usage"][name] for name in ("input_tokens", "output_tokens")
    }
    assert (found["call"]["name"], found["call"]["input"]) == ("weather", {"city": "simulated"})
    assert found["answered"] == "end_turn"


@pytest.mark.parametrize("model", MODELS)
def test_errors_of_the_package(seen: dict[str, Any], model: str) -> None:
    found = seen[model]
    assert (found["missing"]["name"], found["missing"]["type"]) == ("NotFoundError", "not_found_error")
    assert found["missing"]["id"]
    assert (found["refused"]["name"], found["refused"]["type"]) == ("BadRequestError", "invalid_request_error")
    assert found["broken"]["name"]


@pytest.mark.parametrize("model", MODELS)
def test_claude_code_uses_a_tool_and_ends(node: str, product: Product, tmp_path: Path, model: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    before = product.simulator_summary()["requests"]
    wrapper = node_packages.MODULES / "@anthropic-ai" / "claude-code" / "cli-wrapper.cjs"
    found = run(
        [node, str(wrapper), "-p", "Use Glob", "--output-format", "json"],
        product,
        tmp_path / "work",
        HOME=str(tmp_path / "home"),
        ANTHROPIC_BASE_URL=product.url,
        ANTHROPIC_AUTH_TOKEN=product.api_key,
        ANTHROPIC_MODEL=model,
        ANTHROPIC_DEFAULT_HAIKU_MODEL=model,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        DISABLE_AUTOUPDATER="1",
        DISABLE_TELEMETRY="1",
    )
    assert (found["subtype"], found["is_error"], found["stop_reason"]) == ("success", False, "end_turn")
    assert found["result"].startswith("[simulated]")
    # The tool was called, and its answer went back.
    assert found["num_turns"] >= 2
    assert found["usage"]["output_tokens"] > 0
    assert product.simulator_summary()["requests"] - before >= 2
