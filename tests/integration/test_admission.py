"""Limits from the caller's connection to Redis and back: real router, real Valkey, a provider on a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from services.edge.tests.fakes.inference import MODEL, Client, chat, eventually
from tests.integration.gateway import Call, Gateway, answer_whole, event

from tollgate_edge.domain.limits import NO_LIMITS, Limits, limit_set
from tollgate_edge.domain.principal import Principal
from tollgate_edge.inference.alone import Alone
from tollgate_edge.ports import Refused

pytestmark = pytest.mark.integration

# What the provider of `gateway` says of every reply.
USED_TOKENS = 9
PROMPT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 50}


class Keys:
    """Keys of organization `org_1`; those of `mine` belong to project `prj_1`."""

    def __init__(self) -> None:
        self.principals: dict[bytes, Principal] = {}
        self.organization = self.project = NO_LIMITS
        self.prepaid = True

    def add(self, name: str, limits: Limits = NO_LIMITS, project: str = "prj_1") -> None:
        scopes = (
            limits.scope("key", name),
            self.project.scope("project", project),
            self.organization.scope("organization", "org_1"),
        )
        self.principals[name.encode()] = Principal(
            name, "org_1", project, prepaid=self.prepaid, limits=limit_set("org_1", *scopes)
        )

    def cached(self, presented: bytes) -> Principal | Refused:
        return self.principals.get(presented) or Refused("unknown")


class Setting:
    def __init__(self, gateway: Gateway, valkey: Any) -> None:
        self.gateway, self.valkey = gateway, valkey
        self.keys = Keys()
        gateway.inference.authenticator = self.keys  # type: ignore[assignment]

    async def open(self, key: str = "key_1", **more: Any) -> Client:
        """Sends a request and returns the connection on which its reply will come."""
        client: Client = await self.gateway.bench.client()
        client.send(chat(key=key, body=json.dumps(PROMPT | more).encode()))
        return client

    async def ask(self, key: str = "key_1", **more: Any) -> tuple[int, dict[str, str], Any]:
        """Returns status, headers and body of a reply."""
        status, headers, body = await (await self.open(key, **more)).reply()
        found = {name.decode(): value.decode() for name, value in headers.items()}
        return status, found, body if more.get("stream") else json.loads(body)

    def tokens_of(self, scope: str) -> int:
        """Returns what the window of a scope, such as `key:key_1`, has counted."""
        reply = self.valkey.command(b"HGET", f"{{org_1}}:window:{scope}".encode(), b"t")
        return int(reply.split(b"\r\n")[1])

    def slots_of(self, scope: str) -> int:
        """Returns how many requests of a scope are open."""
        return int(self.valkey.command(b"ZCARD", f"{{org_1}}:slots:{scope}".encode()).removeprefix(b":"))


@pytest.fixture
async def setting(tmp_path: Path, valkey: Any) -> AsyncIterator[Setting]:
    valkey.clear()
    async with Gateway(tmp_path, valkey.url).running() as gateway:
        yield Setting(gateway, valkey)


@pytest.fixture
async def alone(tmp_path: Path, valkey: Any) -> AsyncIterator[Setting]:
    """As `setting`, with an edge that lets those who pay later go on without Redis."""
    valkey.clear()
    gateway = Gateway(tmp_path, valkey.url)
    gateway.alone = Alone(10**12, asyncio.get_running_loop().time)
    async with gateway.running():
        try:
            yield Setting(gateway, valkey)
        finally:
            valkey.command(b"REPLICAOF", b"NO", b"ONE")
            if not valkey.command(b"PING"):
                valkey.start()


class Held:
    """A provider that answers when it is let to; `started` counts the calls that wait or waited."""

    def __init__(self, gateway: Gateway) -> None:
        self.go = asyncio.Event()
        self.started = 0
        gateway.upstream.script = self._answer

    async def _answer(self, call: Call) -> None:
        self.started += 1
        await self.go.wait()
        await answer_whole(call)


async def test_tokens_are_counted_ahead_and_corrected_by_what_was_used(setting: Setting) -> None:
    setting.keys.add("key_1", Limits(tokens_per_minute=1000))
    status, headers, _ = await setting.ask()
    assert status == 200
    expected = len(json.dumps(PROMPT)) // 4 + 1 + 50
    assert headers["x-ratelimit-limit-tokens"] == "1000"
    assert int(headers["x-ratelimit-remaining-tokens"]) == 1000 - expected
    assert "x-ratelimit-limit-requests" not in headers
    await eventually(lambda: setting.tokens_of("key:key_1") == USED_TOKENS)
    _, headers, _ = await setting.ask()
    assert int(headers["x-ratelimit-remaining-tokens"]) == 1000 - USED_TOKENS - expected


async def test_a_request_beyond_the_tokens_waits_and_one_that_never_fits_is_told_so(setting: Setting) -> None:
    setting.keys.add("key_1", Limits(tokens_per_minute=300))
    held = Held(setting.gateway)
    first = await setting.open(max_completion_tokens=200)
    await eventually(lambda: held.started == 1)
    status, headers, body = await setting.ask(max_completion_tokens=200)
    assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
    assert "tokens per minute of key key_1: limit 300" in body["error"]["message"]
    assert 50 < int(headers["retry-after"]) <= 60
    status, headers, body = await setting.ask(max_completion_tokens=400)
    assert (status, headers["x-should-retry"]) == (429, "false")
    assert "retry-after" not in headers
    assert "too large" in body["error"]["message"]
    held.go.set()
    assert (await first.reply())[0] == 200
    # The first one used less than it was counted as, so there is room again.
    await eventually(lambda: setting.tokens_of("key:key_1") == USED_TOKENS)
    assert (await setting.ask(max_completion_tokens=200))[0] == 200


@pytest.mark.parametrize("scope", ["key:key_1", "project:prj_1", "organization:org_1"])
async def test_open_requests_take_places_and_give_them_back(setting: Setting, scope: str) -> None:
    limits = Limits(concurrency=2)
    kind = scope.partition(":")[0]
    if kind != "key":
        setattr(setting.keys, kind, limits)
    setting.keys.add("key_1", limits if kind == "key" else NO_LIMITS)
    held = Held(setting.gateway)
    clients = [await setting.open() for _ in range(2)]
    await eventually(lambda: held.started == 2)
    status, headers, body = await setting.ask()
    assert (status, headers["retry-after"]) == (429, "1")
    assert f"concurrent requests of {scope.replace(':', ' ')}: limit 2, open 2" in body["error"]["message"]
    held.go.set()
    assert [(await client.reply())[0] for client in clients] == [200, 200]
    await eventually(lambda: setting.slots_of(scope) == 0)
    assert (await setting.ask())[0] == 200


async def test_all_scopes_count_and_the_narrowest_is_told(setting: Setting) -> None:
    setting.keys.organization = Limits(requests_per_minute=10)
    setting.keys.project = Limits(requests_per_minute=3)
    setting.keys.add("key_1", Limits(requests_per_minute=2))
    setting.keys.add("key_2")
    setting.keys.project = NO_LIMITS
    setting.keys.add("key_3", project="prj_2")
    found = []
    for key in ("key_1", "key_1", "key_1", "key_2", "key_2", "key_3"):
        status, headers, body = await setting.ask(key)
        left = (int(headers["x-ratelimit-limit-requests"]), int(headers["x-ratelimit-remaining-requests"]))
        found.append((status, *left, body["error"]["message"].split(":")[0] if status == 429 else ""))
    assert found == [
        (200, 2, 1, ""),
        (200, 2, 0, ""),
        (429, 2, 0, "Rate limit reached for requests per minute of key key_1"),
        (200, 3, 0, ""),
        (429, 3, 0, "Rate limit reached for requests per minute of project prj_1"),
        (200, 10, 6, ""),
    ]


async def test_headers_come_with_streams_and_with_errors_of_the_provider(setting: Setting) -> None:
    setting.keys.add("key_1", Limits(requests_per_minute=5))

    async def stream(call: Call) -> None:
        await call.begin()
        await call.send(event("x"))
        await call.end()

    setting.gateway.upstream.script = stream
    status, headers, _ = await setting.ask(stream=True)
    assert (status, headers["x-ratelimit-remaining-requests"]) == (200, "4")

    async def refuse(call: Call) -> None:
        call._writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        await call._writer.drain()

    setting.gateway.upstream.script = refuse
    status, headers, _ = await setting.ask()
    assert (status, headers["x-ratelimit-remaining-requests"]) == (400, "3")


async def test_a_caller_that_goes_away_gives_its_place_back(setting: Setting) -> None:
    setting.keys.add("key_1", Limits(concurrency=1, tokens_per_minute=1000))
    held = Held(setting.gateway)
    client = await setting.open()
    await eventually(lambda: held.started == 1)
    assert setting.slots_of("key:key_1") == 1
    await client.close()
    await eventually(lambda: setting.slots_of("key:key_1") == 0)
    await eventually(lambda: setting.tokens_of("key:key_1") == 0)


async def test_a_router_that_vanishes_gives_the_places_back(setting: Setting) -> None:
    setting.keys.add("key_1", Limits(concurrency=1))

    async def begin(call: Call) -> None:
        await call.begin()
        await call.send(event("x"))
        await asyncio.Event().wait()

    setting.gateway.upstream.script = begin
    client = await setting.open(stream=True)
    await client.until(b"data: ")
    assert setting.slots_of("key:key_1") == 1
    await setting.gateway.routers[0].vanish()
    await client.rest_of_stream()
    await eventually(lambda: setting.slots_of("key:key_1") == 0)


async def test_a_request_that_finds_no_router_is_not_counted(setting: Setting) -> None:
    setting.keys.add("key_1", Limits(requests_per_minute=5, tokens_per_minute=1000, concurrency=1))
    await setting.gateway.routers[0].vanish()
    await eventually(lambda: setting.gateway.pool.connected == 0)
    client = await setting.open()
    await eventually(lambda: setting.gateway.inference._parked)
    setting.gateway.bench.later(60)
    assert (await client.reply())[0] == 503
    await eventually(lambda: setting.slots_of("key:key_1") == 0)
    assert setting.tokens_of("key:key_1") == 0
    assert setting.valkey.command(b"HGET", b"{org_1}:window:key:key_1", b"r").split(b"\r\n")[1] == b"0"


async def test_a_long_request_keeps_its_place(setting: Setting) -> None:
    setting.keys.add("key_1", Limits(concurrency=1))
    held = Held(setting.gateway)
    client = await setting.open()
    await eventually(lambda: held.started == 1)

    def expiry() -> float:
        reply = setting.valkey.command(b"ZRANGE", b"{org_1}:slots:key:key_1", b"0", b"0", b"WITHSCORES")
        return float(reply.split(b"\r\n")[-2])

    # As if a third of its life had passed since.
    setting.valkey.command(
        b"ZADD", b"{org_1}:slots:key:key_1", b"1", next(iter(setting.gateway.inference.open)).request_id.encode()
    )
    assert expiry() == 1
    setting.gateway.bench.later(21)
    await eventually(lambda: expiry() > 1)
    held.go.set()
    assert (await client.reply())[0] == 200


async def test_who_has_no_limit_and_no_wallet_asks_redis_nothing(setting: Setting) -> None:
    setting.keys.prepaid = False
    setting.keys.add("key_1")
    trips = setting.gateway.admission.round_trips
    setting.valkey.kill()
    try:
        for _ in range(3):
            status, headers, _ = await setting.ask()
            assert status == 200
            assert not [name for name in headers if name.startswith("x-ratelimit")]
        setting.gateway.bench.later(200)
        assert setting.gateway.admission.round_trips == trips
        assert not setting.gateway.admission._batches
    finally:
        setting.valkey.start()


async def test_who_pays_later_within_any_limit_leaves_what_can_be_booked_without_an_event(setting: Setting) -> None:
    setting.keys.prepaid = False
    setting.keys.add("unlimited")
    setting.keys.organization = Limits(concurrency=100_000)
    setting.keys.add("limited")

    def records() -> list[bytes]:
        return bytes(setting.valkey.command(b"HGETALL", b"{org_1}:holds")).split(b"\r\n")[2:-1:2]

    assert (await setting.ask("unlimited"))[0] == 200
    status, headers, _ = await setting.ask("limited")
    assert status == 200
    await eventually(lambda: len(records()) == 2 and records()[1].startswith(b"s:"))
    assert records()[0] == headers["x-request-id"].encode()


async def lose_redis(setting: Setting) -> None:
    setting.valkey.kill()
    await eventually(lambda: not setting.gateway.holds.ready)


async def test_without_redis_who_pays_ahead_is_refused_and_who_pays_later_goes_on_within_limits(alone: Setting) -> None:
    alone.keys.add("ahead", Limits(requests_per_minute=9))
    alone.keys.prepaid = False
    alone.keys.add("later", Limits(requests_per_minute=2, tokens_per_minute=500, concurrency=1))
    assert (await alone.ask("later"))[0] == 200
    await lose_redis(alone)
    ahead = await alone.open("ahead")
    found = [await alone.ask("later") for _ in range(3)]
    assert [status for status, _, _ in found] == [200, 200, 429]
    assert [headers["x-ratelimit-remaining-requests"] for _, headers, _ in found] == ["1", "0", "0"]
    assert "requests per minute of key later: limit 2, used 2" in found[2][2]["error"]["message"]
    alone.gateway.bench.later(3)
    assert (await ahead.reply())[0] == 503
    alone.valkey.start()
    assert await alone.gateway.holds.wait_ready(30)
    # Redis goes on where it was: what went by without it is not counted.
    status, headers, _ = await alone.ask("later")
    assert (status, headers["x-ratelimit-remaining-requests"]) == (200, "0")


async def test_requests_that_began_without_redis_end_well_when_it_is_back(alone: Setting) -> None:
    alone.keys.prepaid = False
    alone.keys.add("later", Limits(tokens_per_minute=500, concurrency=1))
    await lose_redis(alone)
    held = Held(alone.gateway)
    client = await alone.open("later")
    await eventually(lambda: held.started == 1)
    assert (await alone.ask("later"))[0] == 429
    alone.valkey.start()
    assert await alone.gateway.holds.wait_ready(30)
    held.go.set()
    assert (await client.reply())[0] == 200
    assert (await alone.ask("later"))[0] == 200
    await eventually(lambda: alone.slots_of("key:later") == 0)


async def test_a_server_that_takes_no_writes_is_as_good_as_none(alone: Setting) -> None:
    alone.keys.prepaid = False
    alone.keys.add("later", Limits(requests_per_minute=2))
    alone.valkey.command(b"REPLICAOF", b"127.0.0.1", b"1")
    trips = alone.gateway.admission.round_trips
    assert [(await alone.ask("later"))[0] for _ in range(3)] == [200, 200, 429]
    assert alone.gateway.admission.round_trips - trips < 50
    assert alone.gateway.holds.ready
