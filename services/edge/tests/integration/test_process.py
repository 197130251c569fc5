"""Edge as a process: two workers on one inherited socket, a billing that comes late, SIGHUP, revocation, draining."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import sys

import httpx
import pytest
from services.edge.tests.fakes.services import FakeBilling
from tests.servers.valkey import ClusterNode

from tollgate.billing.v1 import billing_pb2_grpc
from tollgate.events.v1 import usage_pb2 as events
from tollgate_kit.grpc_io import new_server
from tollgate_kit.spool import Spool

pytestmark = pytest.mark.integration

CHANNEL = "channels: [{name: %s, provider: openai, credentials: [{env: K}], models: [%s]}]\n"
PATIENCE_SECONDS = 180


class BillingServer(billing_pb2_grpc.BillingServiceServicer):
    def __init__(self):
        self.fake = FakeBilling()

    async def Grant(self, request, context):  # noqa: N802 - the contract names it.
        return await self.fake.grant(request)


class Product:
    """A folder, a listening socket, and the edge processes that share them."""

    def __init__(self, folder, redis_url):
        self.folder = folder
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.config = folder / "tollgate.yaml"
        self.redis_url = redis_url
        self.processes = []
        self.settings = {}
        # Of the processes: where what they write to standard output goes.
        self.output = None

    def environment(self, slot):
        values = {
            "LISTEN_FD": self.socket.fileno(),
            "SLOT": slot,
            "GRPC_ADDRESS": f"unix:{self.folder}/edge-{slot}.sock",
            "ADMIN_ADDRESS": f"unix:{self.folder}/admin-{slot}.sock",
            "ROUTER_ADDRESSES": f"unix:{self.folder}/router.sock",
            "BILLING_ADDRESS": f"unix:{self.folder}/billing.sock",
            "MEDIA_ADDRESS": f"unix:{self.folder}/media.sock",
            "DATABASE_URL": f"sqlite:///{self.folder}/edge.sqlite",
            "REDIS_URL": self.redis_url,
            "EVENT_LOG_URL": f"sqlite:///{self.folder}/events.sqlite",
            "SPOOL_DIRECTORY": f"{self.folder}/spool-{slot}",
            "PEPPER_FILE": f"{self.folder}/pepper",
            "BOOTSTRAP_FILE": f"{self.folder}/keys.json",
            "CONFIG_PATHS": self.config,
            "DRAIN_SECONDS": 5,
            **self.settings,
        }
        return os.environ | {f"TOLLGATE_EDGE_{name}": str(value) for name, value in values.items()}

    async def start(self, slot=0):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tollgate_edge",
            env=self.environment(slot),
            pass_fds=[self.socket.fileno()],
            stdout=self.output,
            stderr=asyncio.subprocess.PIPE,
        )
        self.processes.append(process)
        return process

    async def ready(self, slot=0, what="missing"):
        """Returns what /readyz of a worker misses, or another part of what it says."""
        transport = httpx.AsyncHTTPTransport(uds=f"{self.folder}/admin-{slot}.sock")
        async with httpx.AsyncClient(transport=transport, base_url="http://admin", timeout=PATIENCE_SECONDS) as client:
            return (await client.get("/readyz")).json()[what]

    async def close(self):
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.communicate()
        self.socket.close()


async def until(check):
    """Asks again until `check` returns something true; its errors of connection count as not yet."""

    async def ask():
        while True:
            with contextlib.suppress(httpx.TransportError, FileNotFoundError):
                if found := await check():
                    return found
            await asyncio.sleep(0.05)

    return await asyncio.wait_for(ask(), PATIENCE_SECONDS)


async def line_with(process, *words):
    """Reads what a process logs until a line holds all the words."""

    async def read():
        while True:
            line = (await process.stderr.readline()).decode()
            assert line, f"the process ended without saying {words}"
            if all(word in line for word in words):
                return line

    return await asyncio.wait_for(read(), PATIENCE_SECONDS)


@pytest.fixture
async def product(tmp_path_factory, valkey):
    made = Product(tmp_path_factory.mktemp("e"), valkey.url)
    made.config.write_text(CHANNEL % ("one", "gpt-5.1"))
    yield made
    await made.close()


async def test_two_workers_start_without_billing_follow_files_and_revoke_together(product):
    first, _ = await product.start(0), await product.start(1)
    missing = await until(lambda: product.ready(0))
    assert any("billing" in reason for reason in await until(lambda: product.ready(1)))
    await line_with(first, "the first start waits", "away")
    assert any("no router" in reason for reason in missing)

    billing = BillingServer()
    server = new_server(f"unix:{product.folder}/billing.sock")
    billing_pb2_grpc.add_BillingServiceServicer_to_server(billing, server)
    await server.start()

    async def only_routers_missing():
        return all([await product.ready(slot) == ["no router is connected"] for slot in (0, 1)])

    await until(only_routers_missing)
    keys = json.loads((product.folder / "keys.json").read_text())
    assert stat.S_IMODE((product.folder / "keys.json").stat().st_mode) == 0o600
    assert [grant.amount_pico for grant in billing.fake.grants.values()] == [10**14]

    # A new connection each time, so that both workers answer.
    async def get(path, key):
        async with httpx.AsyncClient(base_url=product.base_url, timeout=PATIENCE_SECONDS) as client:
            return await client.get(path, headers={"authorization": f"Bearer {key}"})

    async def models():
        found = [await get("/v1/models", keys["api_key"]) for _ in range(8)]
        assert {reply.status_code for reply in found} == {200}
        return {model["id"] for reply in found for model in reply.json()["data"]}

    assert await models() == {"gpt-5.1"}
    product.config.write_text("channels: 7\n")
    first.send_signal(signal.SIGHUP)
    await line_with(first, f"{product.config}:1: channels: found a number")
    await line_with(first, "the configuration in force is kept")
    assert await models() == {"gpt-5.1"}
    product.config.write_text(CHANNEL % ("one", "gpt-5-mini"))
    first.send_signal(signal.SIGHUP)

    async def swapped():
        return await models() == {"gpt-5-mini"}

    await until(swapped)

    async with httpx.AsyncClient(base_url=product.base_url, timeout=PATIENCE_SECONDS) as client:
        operator = {"authorization": f"Bearer {keys['admin_key']}"}
        made = (await client.post("/api/v1/keys", json={"name": "x"}, headers=operator)).json()
        assert {(await get("/v1/models", made["key"])).status_code for _ in range(8)} == {200}
        await client.post(f"/api/v1/keys/{made['id']}/revoke", headers=operator)

    async def refused():
        return {(await get("/v1/models", made["key"])).status_code for _ in range(8)} == {401}

    await until(refused)
    for process in product.processes:
        process.send_signal(signal.SIGTERM)
    for process in product.processes:
        _, said = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
        assert process.returncode == 0
        assert b"Traceback" not in said
    await server.stop(0)


async def test_files_that_do_not_validate_keep_edge_from_starting(product):
    product.config.write_text("chanels: []\nroutes: 5\n")
    process = await product.start()
    _, said = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert process.returncode == 2
    assert f"{product.config}:1: chanels: found 'chanels'" in said.decode()
    assert f"{product.config}:2: routes: found a number; allowed: a list." in said.decode()
    assert not (product.folder / "edge.sqlite").exists()


async def test_settings_that_are_missing_are_named(product):
    environment = product.environment(0)
    del environment["TOLLGATE_EDGE_REDIS_URL"]
    environment["TOLLGATE_EDGE_PORT"] = "x"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tollgate_edge", env=environment, stderr=asyncio.subprocess.PIPE
    )
    product.processes.append(process)
    _, said = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert process.returncode == 2
    assert "TOLLGATE_EDGE_REDIS_URL" in said.decode()
    assert "TOLLGATE_EDGE_PORT" in said.decode()


@pytest.mark.parametrize(
    ("setting", "missing", "note"),
    [
        ("refuse", "requests that need a wallet or have limits are refused", None),
        ("serve_postpaid", None, "Redis is not connected: prepaid organizations are refused; others go on"),
    ],
)
async def test_readiness_says_what_happens_without_redis(product, setting, missing, note):
    product.redis_url = f"unix://{product.folder}/no-redis.sock"
    product.settings = {"WITHOUT_REDIS": setting, "UNVERIFIED_SPEND_CAP": 3}
    await product.start()

    async def up():
        reasons = await product.ready()
        return reasons if any("no router" in reason for reason in reasons) else None

    reasons = [reason for reason in await until(up) if "Redis" in reason]
    assert len(reasons) == (missing is not None)
    assert not missing or missing in reasons[0]
    notes = await product.ready(what="notes")
    assert len(notes) == (note is not None)
    assert not note or (note in notes[0] and "up to 3 of their currency" in notes[0])


async def test_readiness_names_a_redis_that_is_part_of_a_cluster(product):
    server = ClusterNode(product.folder)
    server.start()
    try:
        product.redis_url = server.url
        process = await product.start()

        async def named():
            return [reason for reason in await product.ready() if "Redis cannot be used" in reason]

        assert "part of a Redis Cluster" in (await until(named))[0]
    finally:
        server.stop()
    process.kill()
    _, log = await process.communicate()
    assert log.decode().count("Redis cannot be used") == 1


async def test_readiness_says_beforehand_what_happens_without_redis(product):
    await product.start()

    async def note():
        return await product.ready(what="notes")

    assert await until(note) == ["should Redis go away, requests that need a wallet or have limits are refused"]


async def test_readiness_names_a_spool_that_takes_nothing(product):
    # The event log is away, and what is left of an earlier process takes what room there is.
    product.settings = {"SPOOL_MAX_BYTES": 65_537, "EVENT_LOG_URL": "kafka://127.0.0.1:1"}
    earlier = Spool.open(product.folder / "spool-0")
    earlier.append(events.UsageRecorded(request_id="req_earlier").SerializeToString())
    earlier.close()
    await product.start()

    async def named():
        return [reason for reason in await product.ready() if "spool" in reason]

    assert "new requests are refused" in (await until(named))[0]


async def test_a_redis_that_stands_still_keeps_nothing_from_a_clean_stop(product, valkey):
    product.settings = {"ACCESS_LOG": "on", "DRAIN_NOTICE_SECONDS": 0}
    product.output = asyncio.subprocess.PIPE
    process = await product.start()

    async def connected():
        return not any("Redis" in reason for reason in await product.ready())

    assert await until(connected)
    os.kill(valkey.pid, signal.SIGSTOP)
    try:
        async with httpx.AsyncClient(base_url=product.base_url, timeout=PATIENCE_SECONDS) as client:
            reply = await client.post("/v1/chat/completions", json={}, headers={"authorization": "Bearer wrong"})
        assert reply.status_code == 401
        process.send_signal(signal.SIGTERM)
        lines, said = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
    assert process.returncode == 0
    assert b"Traceback" not in said
    assert reply.headers["x-request-id"] in lines.decode()
