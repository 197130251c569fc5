"""One scenario for clients of every kind: who is driven, what each step proves, and what each must see."""

import json
import subprocess
from collections.abc import Iterable
from typing import Any, Final

import pytest
from tests.integration import sdk_packages
from tests.integration.product import Product

STEPS: Final = ("chat", "stream", "tools", "vision", "structured", "broken")
# What a step proves, as the support matrix has it.
FEATURES: Final = {
    "chat": ("chat", "usage"),
    "stream": ("stream",),
    "tools": ("tools",),
    "vision": ("vision",),
    "structured": ("structured",),
    "refused": ("errors",),
    "broken": ("errors",),
    "thinking": ("thinking",),
}
Seen = dict[str, dict[str, dict[str, Any]]]


def addresses(product: Product) -> dict[str, str]:
    """Returns where each dialect is asked at a product."""
    return {"chat": product.base_url, "responses": product.base_url, "messages": product.url, "contents": product.url}


def proofs(dialect: str, vendor: str, step: str) -> list[pytest.MarkDecorator]:
    """Returns what a step proves, for the support matrix."""
    return [pytest.mark.proves(dialect, vendor, feature) for feature in FEATURES[step]]


def drive(programs: Iterable[tuple[list[str], str]], rounds: dict[str, Any]) -> dict[str, Seen]:
    """Runs programs, each a command and its folder; returns what all clients saw, by round, client, model and step."""
    found: dict[str, Seen] = {name: {} for name in rounds}
    running = [
        subprocess.Popen(
            [*command, json.dumps(rounds)],
            cwd=folder,
            env=sdk_packages.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command, folder in programs
    ]
    try:
        for one in running:
            output, errors = one.communicate(timeout=300)
            assert one.returncode == 0, errors[-3000:]
            for name, clients in json.loads(output).items():
                found[name] |= clients
    finally:
        for one in running:
            one.kill()
            one.communicate()
    return found


def _says(facts: dict[str, Any], steps: dict[str, Any]) -> None:
    assert facts.get("text", "").startswith("[simulated]"), facts
    assert all(count > 0 for count in facts["usage"])
    assert facts.get("finish", "stop").lower() in {"stop", "completed"}


def _streams(facts: dict[str, Any], steps: dict[str, Any]) -> None:
    assert "raised" not in facts, facts
    assert facts.get("deltas_say_it", True)
    assert facts["text"] == steps["chat"]["text"]
    # Some clients add the usages of all chunks, so that one too many would show.
    assert facts.get("usage", steps["chat"]["usage"]) == steps["chat"]["usage"]


def _calls(facts: dict[str, Any], steps: dict[str, Any]) -> None:
    assert "raised" not in facts, facts
    if "call" in facts:
        name, arguments = facts["call"]
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        assert (name, arguments) == ("weather", {"city": "simulated"})
    else:
        assert facts["called"] == ["simulated"]
    assert facts["after"]


def _sees(facts: dict[str, Any], steps: dict[str, Any]) -> None:
    _says(facts, steps)
    # The picture was counted.
    assert facts["usage"][0] > steps["chat"]["usage"][0] + 20


def _is_structured(facts: dict[str, Any], steps: dict[str, Any]) -> None:
    assert facts == {"city": "simulated", "people": 1}


def _is_refused(facts: dict[str, Any], steps: dict[str, Any]) -> None:
    assert (facts["raised"], facts["status"]) == ("BadRequestError", 400), facts


def _breaks(facts: dict[str, Any], steps: dict[str, Any]) -> None:
    assert isinstance(facts, dict), facts
    assert str(facts["raised"]).endswith("Error"), facts


def _thinks(facts: dict[str, Any], steps: dict[str, Any]) -> None:
    """The second turn is answered, which vendors refuse where a thought, or its proof, came back otherwise."""
    _calls(facts, steps)


CHECKS: Final = {
    "chat": _says,
    "stream": _streams,
    "tools": _calls,
    "vision": _sees,
    "structured": _is_structured,
    "refused": _is_refused,
    "broken": _breaks,
    "thinking": _thinks,
}
