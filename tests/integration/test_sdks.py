"""Clients of every kind, unmodified and each from its own lock: one scenario at models of three vendors.

Each client asks the simulated provider itself, and through the gateway: at the vendor of its own dialect it must see
the same, letter by letter; at another vendor what the scenario says.
Three programs see it all; it is read in parts here.
"""

from typing import Any, Final

import pytest
from tests.integration import node_packages, sdk_packages
from tests.integration.product import Product
from tests.integration.sdk_scenario import CHECKS, STEPS, Seen, addresses, drive, proofs

pytestmark = pytest.mark.integration
MODELS: Final = {"chat": "gpt-5-mini", "messages": "claude-haiku-4-5", "contents": "gemini-3.5-flash"}
# Whose models are asked in each dialect by its own vendor.
VENDORS: Final = {**dict(zip(MODELS, MODELS, strict=True)), "responses": "chat"}
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
# Clients that are asked for nothing but to think over several turns, and the models that do: GPT shows no thoughts in
# a chat, and from 5.4 on takes no tools there with them.
THINKING: Final = {
    "thinking-openai": "chat",
    "thinking-openai-responses": "responses",
    "thinking-anthropic": "messages",
    "thinking-google": "contents",
}
THINKERS: Final = {
    "chat": "gpt-5.6-sol",
    "messages": "claude-haiku-4-5",
    "contents": "gemini-3.5-flash",
    "deepseek": "deepseek-reasoner",
}
REFUSED: Final = ("openai-1", "openai-1-responses", "openai-2", "openai-2-responses", "llama-index")


def cases() -> list[Any]:
    """Returns client, vendor and step of every test, with what it proves."""
    found = []
    for client, dialect in CLIENTS.items():
        for vendor in MODELS:
            for step in (*STEPS, *(["refused"] if client in REFUSED else [])):
                marks = proofs(dialect, vendor, step)
                found.append(pytest.param(client, vendor, step, marks=marks, id=f"{client}-{vendor}-{step}"))
    return found


def thinker(dialect: str, vendor: str) -> str:
    """Returns the model of a vendor that thinks for callers of a dialect."""
    return MODELS["chat"] if (dialect, vendor) == ("chat", "chat") else THINKERS[vendor]


def conversations() -> list[Any]:
    """Returns client and vendor of every conversation, with what it proves."""
    return [
        pytest.param(client, vendor, marks=proofs(dialect, vendor, "thinking"), id=f"{client}-{vendor}")
        for client, dialect in THINKING.items()
        for vendor in THINKERS
    ]


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
    direct: dict[str, Any] = {"key": "any", "clients": list(CLIENTS)}
    direct["addresses"] = {
        "chat": f"{provider}/v1",
        "responses": f"{provider}/v1",
        "messages": f"{provider}/anthropic",
        "contents": f"{provider}/gemini",
    }
    through = {"key": product.api_key, "addresses": addresses(product), "clients": list(CLIENTS)}
    rounds = {
        "direct": direct | {"models": {dialect: [MODELS[vendor]] for dialect, vendor in VENDORS.items()}},
        "through": through | {"models": {dialect: list(MODELS.values()) for dialect in VENDORS}},
        "thinking-direct": direct
        | {"clients": list(THINKING)}
        | {"models": {dialect: [thinker(dialect, vendor)] for dialect, vendor in VENDORS.items()}},
        "thinking-through": through
        | {"clients": list(THINKING)}
        | {"models": {dialect: [thinker(dialect, vendor) for vendor in THINKERS] for dialect in VENDORS}},
    }
    return drive(programs, rounds)


@pytest.mark.parametrize(("client", "vendor", "step"), cases())
def test_a_client_sees_what_the_scenario_says(seen: dict[str, Seen], client: str, vendor: str, step: str) -> None:
    steps = seen["through"][client][MODELS[vendor]]
    facts = steps[step]
    CHECKS[step](facts, steps)
    # When a stream breaks, the gateway says so in words of its own, and where nothing was sent yet with a status.
    if VENDORS[CLIENTS[client]] == vendor and step != "broken":
        direct = seen["direct"][client][MODELS[vendor]][step]
        assert _comparable(facts) == _comparable(direct)


@pytest.mark.parametrize(("client", "vendor"), conversations())
def test_a_client_thinks_over_several_turns(seen: dict[str, Seen], client: str, vendor: str) -> None:
    """The same steps, the same thoughts: at the vendor of its own dialect as at the vendor itself."""
    dialect = THINKING[client]
    model = thinker(dialect, vendor)
    steps = seen["thinking-through"][client][model]
    CHECKS["thinking"](steps["thinking"], steps)
    # GPT shows no thoughts in a chat.
    assert steps["thinking"]["thought"] == ((dialect, vendor) != ("chat", "chat"))
    if VENDORS[dialect] == vendor:
        assert steps["thinking"] == seen["thinking-direct"][client][model]["thinking"]


def test_every_client_was_asked_and_no_other(seen: dict[str, Seen]) -> None:
    assert set(seen["through"]) == set(CLIENTS)
    assert set(seen["direct"]) == set(CLIENTS)
    assert set(seen["thinking-through"]) == set(seen["thinking-direct"]) == set(THINKING)


def _comparable(facts: Any) -> Any:
    """The words of an error are each server's own."""
    return {name: facts[name] for name in ("raised", "status")} if "raised" in facts else facts
