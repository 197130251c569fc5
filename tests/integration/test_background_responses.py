"""Responses of the background with the current openai package, unmodified: polled, cancelled, lost, and their cost."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response
from tests.integration.product import Product
from tests.integration.test_stored_responses import MODELS, client_of

pytestmark = pytest.mark.integration
RUNS = {"queued", "in_progress"}
# Longer than any test waits.
ENDLESS = "[[sim:chunks=10000,gap_ms=20]] x"
# Runs for as long as the test wants.
HELD = "[[sim:chunks=40,hold=20]] x"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    settings = {"TOLLGATE_ROUTER_RESPONSES_RETENTION_DAYS": "1"}
    settings |= {f"TOLLGATE_{service}_DRAIN_SECONDS": "8" for service in ("EDGE", "ROUTER")}
    one = Product(tmp_path_factory.mktemp("background"), ["--workers", "2"], settings)
    try:
        yield one.start()
    finally:
        one.stop()


@pytest.fixture
def client(running: Product) -> Iterator[openai.OpenAI]:
    with client_of(running) as one:
        yield one


def begun(client: openai.OpenAI, model: str, words: str, **more: Any) -> Response:
    one = client.responses.create(model=model, input=words, background=True, **more)
    assert (one.status, one.background, one.output) == ("queued", True, [])
    return one


def until(
    client: openai.OpenAI,
    product: Product,
    response_id: str,
    statuses: set[str],
    meanwhile: Callable[[], object] = lambda: None,
) -> tuple[Response, set[str]]:
    """Polls until the response has one of these; returns it, and all that were seen. `meanwhile`: before each look."""
    seen: list[Response] = []

    def reached() -> bool:
        meanwhile()
        try:
            seen.append(client.responses.retrieve(response_id))
        except (openai.InternalServerError, openai.APIConnectionError):
            # A process that was started again is not reached yet; clients send such requests again.
            return False
        return seen[-1].status in statuses

    product.wait(reached, f"{response_id} to be one of {statuses}")
    return seen[-1], {one.status or "" for one in seen}


def over(client: openai.OpenAI, product: Product, response_id: str) -> Response:
    return until(client, product, response_id, {"completed", "incomplete", "failed", "cancelled"})[0]


def row_of(product: Product, response_id: str) -> dict[str, Any]:
    return product.wait_row(response_id.replace("resp_", "req_"))


@pytest.mark.parametrize("model", MODELS)
def test_polled_until_it_is_there(client: openai.OpenAI, running: Product, model: str) -> None:
    one = begun(client, model, HELD, metadata={"ticket": "7"})
    _, seen = until(client, running, one.id, {"in_progress"})
    assert seen <= {"queued", "in_progress"}
    found, seen = until(client, running, one.id, {"completed"}, running.release)
    assert seen <= {"in_progress", "completed"}
    assert (found.id, found.background, found.metadata) == (one.id, True, {"ticket": "7"})
    assert found.created_at == one.created_at
    assert found.output_text
    assert found.usage is not None
    row = row_of(running, one.id)
    assert (row["outcome"], row["output_tokens"]) == ("ok", found.usage.output_tokens)
    assert int(row["charge_pico"]) > 0
    # It can be gone on from, and its input is there.
    again = client.responses.create(model=model, input="More", previous_response_id=one.id)
    assert again.output_text
    assert len(client.responses.input_items.list(one.id).data) == 1


# Gemini's own count stands in every chunk, and the simulated one's is that of the whole answer from the first on.
@pytest.mark.parametrize("model", MODELS[:2])
def test_cancelled_while_it_runs(client: openai.OpenAI, running: Product, model: str) -> None:
    one = begun(client, model, ENDLESS)
    until(client, running, one.id, {"in_progress"})
    found = client.responses.cancel(one.id)
    assert (found.id, found.status, found.output) == (one.id, "cancelled", [])
    assert client.responses.cancel(one.id).to_dict() == client.responses.retrieve(one.id).to_dict() == found.to_dict()
    row = row_of(running, one.id)
    assert row["outcome"] == "cancelled"
    assert 0 < row["output_tokens"] < 5000
    assert int(row["charge_pico"]) > 0
    # The provider was told to stop.
    request_id = one.id.replace("resp_", "req_")
    (asked,) = [entry for entry in running.simulator_ledger() if entry["x_request_id"] == request_id]
    assert asked["outcome"] == "client_gone"
    assert row["output_tokens"] <= asked["chunks"] + 1


def test_deleted_while_it_runs(client: openai.OpenAI, running: Product) -> None:
    one = begun(client, MODELS[1], ENDLESS)
    client.responses.delete(one.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(one.id)
    assert row_of(running, one.id)["outcome"] == "cancelled"


def test_a_provider_that_fails(client: openai.OpenAI, running: Product) -> None:
    one = begun(client, MODELS[1], "[[sim:status=400]] x")
    found = over(client, running, one.id)
    assert (found.status, found.output) == ("failed", [])
    assert found.error is not None
    assert found.error.code == "invalid_prompt"
    assert found.error.message
    assert int(row_of(running, one.id)["charge_pico"]) == 0


def test_what_is_refused(client: openai.OpenAI) -> None:
    for more, param in (({"store": False}, "background"), ({"stream": True}, "stream")):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model=MODELS[0], input="x", background=True, **more)
        assert refused.value.param == param
    one = client.responses.create(model=MODELS[0], input="x")
    with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
        client.responses.cancel(one.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.retrieve(one.id, stream=True, starting_after=0)
    assert refused.value.param == "stream"
    for ask in (client.responses.cancel, client.responses.retrieve):
        with pytest.raises(openai.NotFoundError):
            ask("resp_nowhere")


def test_of_others(client: openai.OpenAI, running: Product) -> None:
    made = running.cli("projects", "create", "others", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(running.cli("keys", "create", "x", "--project", "others", "--json").stdout)["key"]
    one = begun(client, MODELS[0], ENDLESS)
    with client_of(running, key) as stranger:
        for ask in (stranger.responses.retrieve, stranger.responses.cancel, stranger.responses.delete):
            with pytest.raises(openai.NotFoundError):
                ask(one.id)
    assert client.responses.retrieve(one.id).status in RUNS
    assert client.responses.cancel(one.id).status == "cancelled"


def test_where_nothing_is_stored(product: Product) -> None:
    with client_of(product) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model=MODELS[0], input="x", background=True)
        assert refused.value.param == "background"
        with pytest.raises(openai.NotFoundError) as missing:
            client.responses.cancel("resp_1")
        assert missing.value.code == "response_not_stored"


def replaced(running: Product, service: str, signal_number: int) -> None:
    """Ends all processes of a service, lets what is held go on, and waits until others serve."""
    old = set(running.pids(service))
    for pid in old:
        os.kill(pid, signal_number)

    def others() -> bool:
        # Again and again: what was asked for last may not have come to the provider yet.
        running.release()
        found = running.pids(service)
        return len(found) == 2 and not old & set(found)

    running.wait(others, f"two others of {service}")
    running.wait(lambda: _ready(running), "edge to reach routers")


def _ready(running: Product) -> bool:
    try:
        return httpx.get(f"{running.url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_routers_that_are_killed(client: openai.OpenAI, running: Product) -> None:
    before = running.wait_settled()
    one = begun(client, MODELS[0], ENDLESS)
    until(client, running, one.id, {"in_progress"})
    replaced(running, "router", signal.SIGKILL)
    found = over(client, running, one.id)
    assert found.status == "failed"
    assert found.error is not None
    assert "gone" in found.error.message
    # Nothing of it reached anybody.
    row = row_of(running, one.id)
    assert (row["outcome"], int(row["charge_pico"])) == ("router_lost", 0)
    assert running.wait_settled()["ledger_pico"] == before["ledger_pico"]
    assert client.responses.cancel(one.id).status == "failed"


@pytest.mark.parametrize("service", ["router", "edge"])
def test_processes_that_are_stopped(client: openai.OpenAI, running: Product, service: str) -> None:
    short = begun(client, MODELS[0], HELD)
    long = begun(client, MODELS[0], ENDLESS)
    replaced(running, service, signal.SIGTERM)
    assert over(client, running, short.id).status == "completed"
    found = over(client, running, long.id)
    assert found.status == "failed"
    assert found.error is not None
    assert "stopped" in found.error.message
    assert int(row_of(running, short.id)["charge_pico"]) > 0
    assert int(row_of(running, long.id)["charge_pico"]) == 0
    running.wait_settled()
