"""Aider, unmodified, as a person would point it at the gateway: it writes a file, by models of each wire."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from tests.integration import sdk_packages
from tests.integration.product import Product

pytestmark = pytest.mark.integration
FOLDER = Path(__file__).parent / "aider"
TEXT = "Hello from a model.\n"
ANSWER = f"hello.txt\n```\n{TEXT}```\n"
# It looks at prices on the internet once a day, unless it has them.
PRICES = Path(".aider", "caches", "model_prices_and_context_window.json")
QUIET = (
    *("--no-git", "--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--no-show-release-notes"),
    *("--no-pretty", "--no-fancy-input", "--no-gitignore", "--yes-always", "--edit-format", "whole"),
)


@pytest.fixture(scope="module")
def aider() -> str:
    """The path of the program; asked for first, so that nothing is started in vain without it."""
    return str(Path(sdk_packages.python(FOLDER, "Aider")).with_name("aider"))


@pytest.mark.parametrize(
    ("model", "stream"),
    [
        ("openai/gpt-5-mini", "--stream"),
        ("openai/gpt-5-mini", "--no-stream"),
        ("openai/gemini-3.5-flash", "--stream"),
        ("openai/deepseek-chat", "--stream"),
        ("anthropic/claude-haiku-4-5", "--stream"),
    ],
)
def test_aider_writes_what_the_model_says(
    aider: str, product: Product, tmp_path: Path, model: str, stream: str
) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    work.mkdir()
    (home / PRICES).parent.mkdir(parents=True)
    (home / PRICES).write_text(json.dumps({model: {"max_input_tokens": 100_000}}))
    (work / "hello.txt").write_text("")
    before = len(product.simulator_ledger())
    said = base64.urlsafe_b64encode(ANSWER.encode()).decode().rstrip("=")
    environment = sdk_packages.environment() | {
        "HOME": str(home),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OPENAI_API_BASE": product.base_url,
        "OPENAI_API_KEY": product.api_key,
        "ANTHROPIC_API_BASE": product.url,
        "ANTHROPIC_API_KEY": product.api_key,
    }
    done = subprocess.run(
        [aider, *QUIET, stream, "--model", model, "--message", f"Write hello.txt [[sim:say={said}]]", "hello.txt"],
        cwd=work,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Applied edit to hello.txt" in done.stdout, done.stdout[-2000:]
    assert (work / "hello.txt").read_text() == TEXT
    (asked,) = product.simulator_ledger()[before:]
    assert asked["model"] == model.partition("/")[2]
