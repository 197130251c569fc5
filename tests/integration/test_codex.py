"""Codex, unmodified, as a person would point it at the gateway: one task, one tool, models of each wire."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.integration import node_packages
from tests.integration.product import Product

pytestmark = pytest.mark.integration
CONFIG = """
model_provider = "gateway"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.gateway]
name = "Tollgate"
base_url = "{url}"
env_key = "TOLLGATE_API_KEY"
wire_api = "responses"
"""


@pytest.fixture(scope="module")
def node() -> str:
    """The path of a Node that has the packages; asked for first, so that nothing is started in vain without it."""
    return node_packages.node()


@pytest.mark.parametrize("model", ["gpt-5-mini", "claude-haiku-4-5", "gemini-3.5-flash"])
def test_codex_uses_a_tool_and_ends(node: str, product: Product, tmp_path: Path, model: str) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    (home / "config.toml").write_text(CONFIG.format(url=product.base_url))
    before = len(product.simulator_ledger())
    done = subprocess.run(
        [
            node,
            str(node_packages.MODULES / "@openai" / "codex" / "bin" / "codex.js"),
            *("exec", "--json", "--skip-git-repo-check", "-m", model, "Use get_goal"),
        ],
        cwd=work,
        env=product.environment | {"CODEX_HOME": str(home), "HOME": str(home), "TOLLGATE_API_KEY": product.api_key},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    said = [event["item"]["text"] for event in events if event.get("item", {}).get("type") == "agent_message"]
    assert said[-1].startswith("[simulated]")
    assert events[-1]["type"] == "turn.completed"
    asked = [entry for entry in product.simulator_ledger()[before:] if entry["model"] == model]
    # The call of the tool, and the answer to what it said.
    assert len(asked) >= 2
    output = sum(entry["units"].get("output", 0) + entry["units"].get("reasoning", 0) for entry in asked)
    assert events[-1]["usage"]["output_tokens"] == output
