"""A router is killed while it waits for a provider: the request goes on at another one, and so does what it holds."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.integration.gateway import Call, Upstream, answer_whole
from tests.integration.metrics import admin_address, scrape
from tests.integration.product import BOOK_SECONDS, Product

from tollgate_cli.home import Home
from tollgate_holds.holds import Holds

pytestmark = pytest.mark.integration

MODEL = "gpt-5-mini"
# Its worst case is a little more than 0.002.
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 1000}
ENOUGH, ENOUGH_FOR_ONE = "1", "0.003"


class Provider(Upstream):
    """Keeps every call until it is let go; `came` is told of each."""

    def __init__(self) -> None:
        super().__init__()
        self.came: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        self.script = self._keep

    async def _keep(self, call: Call) -> None:
        go = asyncio.Event()
        self.came.put_nowait(go)
        await go.wait()
        await answer_whole(call)


class Setting:
    """A product with two routers in front of one provider."""

    def __init__(self, product: Product, provider: Provider, holds: Holds) -> None:
        self.product, self.provider, self.holds = product, provider, holds

    def spender(self, name: str, credit: str, budget: str) -> tuple[str, dict[str, Any]]:
        """Makes an organization with so much credit, and a key with so large a budget; returns the id and the key."""
        organization = self._made("organizations", "create", name)["id"]
        project = self._made("projects", "create", name, "--organization", name)["id"]
        self._made("organizations", "credit", name, credit)
        key = self.product.create_key(name, organization_id=organization, project_id=project)
        limits = ("--concurrency", "5", "--requests-per-minute", "10", "--tokens-per-minute", "9999")
        self._made("limits", "set", key["id"], "--budget", budget, *limits)
        return organization, key

    def _made(self, *words: str) -> dict[str, Any]:
        done = self.product.cli(*words, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    async def kill_busy_router(self) -> None:
        """Kills the router that has a request open."""
        open_at = [
            scrape(admin_address(self.product, f"router-{slot}")).value("tollgate_router_open_requests")
            for slot in (0, 1)
        ]
        assert sorted(open_at) == [0, 1]
        os.kill(self.product.pids("router")[open_at.index(1)], signal.SIGKILL)

    async def booked(self, organization: str, request_id: str) -> None:
        """Waits until billing is done with what is known of the first try, the first that it books of these."""
        async with asyncio.timeout(BOOK_SECONDS):
            while not await self.holds.pipe.call("HLEN", f"{{{organization}}}:booked"):  # noqa: ASYNC110 - behind a port.
                await asyncio.sleep(0.05)
        (row,) = self.product.requests(request_id=request_id)
        assert (row["try"], row["status"], int(row["charge_pico"])) == (1, "witness", 0)

    async def counts(self, organization: str, key: dict[str, Any]) -> tuple[int, int, int]:
        """Returns the open requests, the requests and the tokens of the last minute of a key, as Redis counts them."""
        window, slots = (f"{{{organization}}}:{kind}:key:{key['id']}" for kind in ("window", "slots"))
        found = [await self.holds.pipe.call("ZCARD", slots)]
        found += await self.holds.pipe.call("HMGET", window, "r", "t")  # type: ignore[operator]
        return tuple(map(int, found))  # type: ignore[arg-type, return-value]

    async def spent_of_budget(self, organization: str, key: dict[str, Any]) -> int:
        """Returns what the counted budget of a key has taken, in pico-units."""
        name = f"{{{organization}}}:budget:key:{key['id']}"
        cap, left = await self.holds.pipe.call("HMGET", name, "cap", "left")  # type: ignore[misc]
        return int(cap) - int(left)


@pytest.fixture
async def setting(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[Setting]:
    """A parameter `cluster` has the product's data on servers of their own."""
    cluster = getattr(request, "param", "") == "cluster"
    environment: dict[str, str] = request.getfixturevalue("servers") if cluster else {}
    folder, provider = tmp_path_factory.mktemp("second"), Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    channel = {"name": "one", "provider": "openai-compatible", "base_url": base, "models": [MODEL]}
    config = folder / "tollgate.yaml"
    config.write_text(json.dumps({"channels": [{**channel, "private_network": True}]}))
    product = Product(folder, ["--config", str(config), "--workers", "2"], environment)
    try:
        await asyncio.to_thread(product.start)
        redis = environment.get("TOLLGATE_EDGE_REDIS_URL") or f"unix://{Home(product.home).socket('valkey')}"
        holds = Holds(redis)
        await holds.start()
        assert await holds.wait_ready(60)
        yield Setting(product, provider, holds)
        await holds.close()
    finally:
        await asyncio.to_thread(product.stop)
        server.close()


@pytest.mark.parametrize(
    ("setting", "credit", "budget", "told"),
    [
        ("embedded", ENOUGH_FOR_ONE, ENOUGH, "balance"),
        ("embedded", ENOUGH, ENOUGH_FOR_ONE, "budget of key"),
        ("cluster", ENOUGH_FOR_ONE, ENOUGH, "balance"),
    ],
    indirect=["setting"],
    ids=["wallet", "budget", "cluster"],
)
async def test_a_second_try_keeps_what_the_first_one_held(
    setting: Setting, credit: str, budget: str, told: str
) -> None:
    product, provider = setting.product, setting.provider
    organization, key = await asyncio.to_thread(setting.spender, "spender", credit, budget)
    headers = {"authorization": f"Bearer {key['key']}"}
    async with httpx.AsyncClient(base_url=product.base_url, headers=headers, timeout=120, trust_env=False) as client:
        asked = asyncio.create_task(client.post("/chat/completions", json=BODY))
        await provider.came.get()
        (hold,) = await setting.holds.records(organization)
        counted = await setting.counts(organization, key)
        assert counted[:2] == (1, 1)
        await setting.kill_busy_router()
        go = await provider.came.get()
        await setting.booked(organization, hold.hold_id)

        # The first try is over in every book, and the second one runs: what it may cost is nobody else's.
        balance = product.balance(organization)
        assert int(balance["held_pico"]) == hold.amount_pico > 0
        assert int(balance["wallet_pico"]) == int(balance["ledger_pico"]) - hold.amount_pico
        assert await setting.spent_of_budget(organization, key) == hold.amount_pico
        assert await setting.counts(organization, key) == counted
        refused = await client.post("/chat/completions", json=BODY)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
        assert told in refused.json()["error"]["message"]

        go.set()
        answer = await asked
    assert answer.status_code == 200, answer.text
    await asyncio.to_thread(product.wait, lambda: at_rest(product, organization), "all to be booked")
    rows = product.requests(request_id=hold.hold_id)
    assert {(row["try"], row["status"]) for row in rows} == {(1, "witness"), (2, "confirmed")}
    charge = sum(int(row["charge_pico"]) for row in rows)
    assert 0 < charge < hold.amount_pico
    assert await setting.spent_of_budget(organization, key) == charge
    used = sum(answer.json()["usage"][name] for name in ("prompt_tokens", "completion_tokens"))
    assert await setting.counts(organization, key) == (0, 1, used)
    assert await setting.holds.records(organization) == []
    assert product.get("reconciliation")["differences"] == []


def at_rest(product: Product, organization: str) -> bool:
    balance = product.balance(organization)
    waiting = int(balance["held_pico"]) or int(balance["settled_unbooked_pico"])
    return not waiting and balance["wallet_pico"] == balance["ledger_pico"]
