"""Clients of every kind, unmodified and each from its own lock: one scenario at models of three vendors.

Each client asks the simulated provider itself, and through the gateway: at the vendor of its own dialect it must see
the same, letter by letter; at another vendor what the scenario says.
Three programs see it all; it is read in parts here.
"""

import json
import subprocess
from typing import Any, Final

import pytest
from tests.integration import node_packages, sdk_packages
from tests.integration.product import Product

pytestmark = pytest.mark.integration
MODELS: Final = {"chat": "gpt-5-mini", "messages": "claude-haiku-4-5", "contents": "gemini-3.5-flash"}
# The dialect that each client speaks.
CLIENTS: Final = {
    "ai-sdk-openai-chat": "chat",
    "ai-sdk-openai-responses": "responses",
    "ai-sdk-openai-compatible": "chat",
    "ai-sdk-anthropic": "messages",
    "ai-sdk-google": "contents",
    "google-genai-node": "contents",
    "openai-1": "chat",
    "openai-1-responses": "responses",
    "openai-2": "chat",
    "openai-2-responses": "responses",
    "langchain-openai": "chat",
    "langchain-anthropic": "messages",
    "langchain-google": "contents",
    "llama-index": "chat",
    "pydantic-ai-openai": "chat",
    "pydantic-ai-anthropic": "messages",
    "pydantic-ai-google": "contents",
    "openai-agents-chat": "chat",
    "openai-agents-responses": "responses",
}
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
}
REFUSED: Final = ("openai-1", "openai-1-responses", "openai-2", "openai-2-responses", "llama-index")
Seen = dict[str, dict[str, dict[str, Any]]]


def cases() -> list[Any]:
    """Returns client, vendor and step of every test, with what it proves."""
    found = []
    for client, dialect in CLIENTS.items():
        for vendor in MODELS:
            for step in (*STEPS, *(["refused"] if client in REFUSED else [])):
                marks = [pytest.mark.proves(dialect, vendor, feature) for feature in FEATURES[step]]
                found.append(pytest.param(client, vendor, step, marks=marks, id=f"{client}-{vendor}-{step}"))
    return found


@pytest.fixture(scope="module")
def programs() -> list[tuple[list[str], str]]:
    """How each program is run; asked for first, so that nothing is started in vain without their packages."""
    node, python, older = node_packages.node(), sdk_packages.python(), sdk_packages.python(sdk_packages.OLDER)
    return [
        ([node, "sdks.mjs"], str(node_packages.FOLDER)),
        ([python, "-W", "ignore", "clients.py"], str(sdk_packages.FOLDER)),
        ([older, "-W", "ignore", "older_clients.py"], str(sdk_packages.FOLDER)),
    ]


@pytest.fixture(scope="module")
def seen(programs: list[tuple[list[str], str]], product: Product) -> dict[str, Seen]:
    """What all clients saw, by round, client, vendor and step."""
    provider = product.simulator_url
    rounds = {
        "direct": {
            "key": "any",
            "addresses": {
                "chat": f"{provider}/v1",
                "messages": f"{provider}/anthropic",
                "contents": f"{provider}/gemini",
            },
            "models": {dialect: [model] for dialect, model in MODELS.items()},
        },
        "through": {
            "key": product.api_key,
            "addresses": {
                "chat": product.base_url,
                "responses": product.base_url,
                "messages": product.url,
                "contents": product.url,
            },
            "models": {dialect: list(MODELS.values()) for dialect in (*MODELS, "responses")},
        },
    }
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


@pytest.mark.parametrize(("client", "vendor", "step"), cases())
def test_a_client_sees_what_the_scenario_says(seen: dict[str, Seen], client: str, vendor: str, step: str) -> None:
    steps = seen["through"][client][MODELS[vendor]]
    facts = steps[step]
    CHECKS[step](facts, steps)
    # When a stream breaks, the gateway says so in words of its own, and where nothing was sent yet with a status.
    if CLIENTS[client] == vendor and step != "broken":
        direct = seen["direct"][client][MODELS[vendor]][step]
        assert _comparable(facts) == _comparable(direct)


def test_every_client_was_asked_and_no_other(seen: dict[str, Seen]) -> None:
    assert set(seen["through"]) == set(CLIENTS)
    assert {client for client, dialect in CLIENTS.items() if dialect in MODELS} == set(seen["direct"])


def _comparable(facts: Any) -> Any:
    """The words of an error are each server's own."""
    return {name: facts[name] for name in ("raised", "status")} if "raised" in facts else facts


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


CHECKS: Final = {
    "chat": _says,
    "stream": _streams,
    "tools": _calls,
    "vision": _sees,
    "structured": _is_structured,
    "refused": _is_refused,
    "broken": _breaks,
}
