"""Keys of long bodies: looked at before the body is taken, and no memory for whom the store does not know."""

import asyncio
import json

import pytest
from services.edge.tests.fakes.door import answered, error_of, streaming
from services.edge.tests.fakes.inference import KEY, MODEL, Bench, chat, eventually, get

from tollgate_edge.domain.keys import KEY_PREFIX, new_key, pepper_of
from tollgate_edge.errors import StoreUnavailable
from tollgate_edge.ports import KeyLookup
from tollgate_edge.use_cases.authenticate import AWAY, UNKNOWN, KeyAuthenticator
from tollgate_edge.use_cases.look_up_keys import KeyLookups
from tollgate_kit.clock import SystemClock

pytestmark = pytest.mark.integration

SHORT = 64 * 1024
JSON = "Content-Type: application/json\r\n"
CHUNKS = f"{JSON}Transfer-Encoding: chunked\r\n"
LONG = f"{JSON}Content-Length: {8 * SHORT}\r\n"
FRAMINGS = pytest.mark.parametrize("framing", [LONG, CHUNKS], ids=["length", "chunks"])
# The most that a loop hands to a protocol at once.
READ_BYTES = 256 * 1024
NEW_KEY = new_key(KEY_PREFIX, bytes).reveal()


def head(framing, *, key=KEY, extra=""):
    return chat(extra=extra + framing, key=key, body=b"")


def without_key(framing):
    return head(framing).replace(b"Authorization", b"X-Nothing")


def piece(framing, size):
    return b"x" * size if framing is LONG else b"%x\r\n%b\r\n" % (size, b"x" * size)


def whole(size):
    """Returns the body of a chat of `size` bytes."""
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": ""}]}).encode()
    return body.replace(b'""', b'"%b"' % (b"y" * (size - len(body))))


class SlowStore:
    """A store of keys that says nothing before a test lets it."""

    def __init__(self):
        self.asked = 0
        self._said = asyncio.get_running_loop().create_future()

    async def find_keys(self, hashes):
        self.asked += 1
        found = await asyncio.shield(self._said)
        if found is None:
            raise StoreUnavailable("away")
        return dict.fromkeys(hashes, found) if found else {}, 1

    def say(self, found):
        """Says of every key whose it is: a principal, nobody's (False), or that it is away (None)."""
        self._said.set_result(KeyLookup(found) if found else found)


def ask_slowly(bench):
    """Puts a store behind the keys of a bench, none of which are remembered."""
    made = SlowStore()
    bench.gateway.authenticator = KeyAuthenticator(
        KeyLookups(made, pause_seconds=0),
        [pepper_of(b"p" * 32)],
        SystemClock(),
        max_keys=10,
        max_unknown=10,
        unchecked_seconds=900,
    )
    return made


@pytest.fixture
async def store(bench):
    return ask_slowly(bench)


async def refused(client, status=401):
    found, headers, body = await client.reply()
    assert (found, headers[b"connection"]) == (status, b"close")
    assert await client.rest() == b""
    return error_of(body)


@FRAMINGS
async def test_a_long_body_without_a_key_is_refused_before_any_of_it_is_taken(bench, framing):
    client = await bench.client()
    client.send(without_key(framing))
    assert "No API key" in (await refused(client))["message"]
    assert bench.gateway.body_bytes == 0


@FRAMINGS
async def test_a_long_body_with_a_key_that_is_known_to_be_bad_is_refused_before_any_of_it_is_taken(bench, framing):
    client = await bench.client()
    client.send(head(framing, key="wrong"))
    assert (await refused(client))["message"] == bench.keys.refused.message
    (row,) = await bench.refused_rows()
    assert (row.status, row.route) == (401, "/v1/chat/completions")


async def test_who_asks_before_sending_a_long_body_is_refused_without_it(bench):
    client = await bench.client()
    client.send(head(LONG, key="wrong", extra="Expect: 100-continue\r\n"))
    await refused(client)


@FRAMINGS
async def test_a_refused_caller_who_goes_on_sending_has_its_answer_all_the_same(bench, framing):
    client = await bench.client()
    client.send(without_key(framing))
    await refused(client)
    (door,) = bench.gateway.doors
    for _ in range(7):
        client.send(piece(framing, SHORT))
        await client.writer.drain()
    assert bench.gateway.body_bytes == 0
    # Nobody waits for the rest of it for long.
    bench.later(bench.settings.header_timeout_seconds + 1)
    await eventually(lambda: door not in bench.gateway.doors)


async def test_chunks_that_are_none_behind_a_refusal_are_no_error_of_edge(bench):
    faults = []
    bench.gateway.loop.set_exception_handler(lambda _, context: faults.append(context))
    client = await bench.client()
    client.send(without_key(CHUNKS) + b"zz\r\n")
    await refused(client)
    await eventually(lambda: not bench.gateway.doors)
    assert faults == []


@FRAMINGS
async def test_many_without_a_key_keep_nobody_from_being_served(framing):
    """Each announces as much as a process may hold of all bodies."""
    async with Bench(max_body_memory_bytes=10 * SHORT).serving() as bench:
        strangers = [await bench.client() for _ in range(16)]
        for stranger in strangers:
            stranger.send(without_key(framing) + piece(framing, SHORT))
        client = await bench.client()
        client.send(chat())
        assert (await answered(bench, client))[0] == 200
        for stranger in strangers:
            await refused(stranger)
        assert bench.gateway.body_bytes == 0


@FRAMINGS
async def test_of_a_key_that_is_not_remembered_the_store_is_asked_while_the_body_comes(bench, store, framing):
    client = await bench.client()
    client.send(head(framing, key=NEW_KEY))
    await eventually(lambda: store.asked == 1)
    client.send(piece(framing, SHORT))
    await eventually(lambda: bench.gateway.body_bytes == SHORT)
    store.say(False)
    assert (await refused(client))["message"] == UNKNOWN.message
    assert bench.gateway.body_bytes == 0
    assert bench.gateway.key_checks == 0


async def test_no_more_than_a_read_is_taken_while_the_store_is_asked(bench, store):
    client = await bench.client()
    size = 16 * SHORT
    framing = f"{JSON}Content-Length: {size}\r\n"
    client.send(head(framing, key=NEW_KEY) + whole(size))
    await eventually(lambda: bench.gateway.body_bytes > SHORT)
    (door,) = bench.gateway.doors
    assert not door.transport.is_reading()
    assert bench.gateway.body_bytes <= SHORT + READ_BYTES
    store.say(bench.keys.principal)
    frame = await bench.stream.next()
    assert frame.body_length == size
    bench.stream.reply(frame.id, b"{}")
    assert (await client.reply())[0] == 200
    assert store.asked == 1


async def test_who_asks_before_sending_a_long_body_waits_for_its_key(bench, store):
    client = await bench.client()
    body = whole(2 * SHORT)
    framing = f"{JSON}Content-Length: {len(body)}\r\n"
    client.send(head(framing, key=NEW_KEY, extra="Expect: 100-continue\r\n"))
    await eventually(lambda: store.asked)
    assert client.unread() == 0
    store.say(bench.keys.principal)
    assert (await client.reply())[0] == 100
    client.send(body)
    assert (await answered(bench, client))[0] == 200


async def test_a_body_that_is_whole_before_the_store_has_spoken_waits_for_its_word_once(bench, store):
    client = await bench.client()
    body = whole(SHORT + 1)
    client.send(chat(key=NEW_KEY, body=body) + chat(key=NEW_KEY))
    await eventually(lambda: bench.gateway.key_checks == 2)
    store.say(bench.keys.principal)
    for _ in range(2):
        assert (await answered(bench, client))[0] == 200
    # The second is remembered by then.
    assert bench.gateway.key_checks == 0


async def test_a_store_that_says_nothing_of_a_key_is_no_reason_to_take_its_body(bench, store):
    client = await bench.client()
    client.send(head(LONG, key=NEW_KEY))
    await eventually(lambda: store.asked)
    store.say(None)
    assert AWAY.message in (await refused(client, 503))["message"]


async def test_a_caller_that_leaves_while_the_store_is_asked_leaves_nothing(bench, store):
    client = await bench.client()
    client.send(head(LONG, key=NEW_KEY) + b"x" * SHORT)
    await eventually(lambda: bench.gateway.body_bytes)
    await client.close()
    await eventually(lambda: not bench.gateway.doors)
    assert bench.gateway.body_bytes == 0
    store.say(False)
    await eventually(lambda: bench.gateway.key_checks == 0)
    assert await bench.refused_rows() == []


async def test_a_body_that_grows_too_large_while_the_store_is_asked_is_refused_once():
    async with Bench(max_body_bytes=SHORT).serving() as bench:
        store = ask_slowly(bench)
        client = await bench.client()
        client.send(head(CHUNKS, key=NEW_KEY) + piece(CHUNKS, SHORT + 1))
        assert (await refused(client, 413))["code"] == "payload_too_large"
        store.say(False)
        await eventually(lambda: bench.gateway.key_checks == 0)
        assert len(await bench.refused_rows()) == 1


@pytest.mark.parametrize("refusal", ["no key", "bad key", "too large"])
async def test_a_refusal_behind_a_reply_under_way_leaves_the_reply_whole(bench, refusal):
    client, frame_id = await streaming(bench)
    request = {"no key": without_key(LONG), "bad key": head(LONG, key="wrong")}.get(
        refusal, head(f"{JSON}Content-Length: {2**40}\r\n")
    )
    client.send(request + b"x" * SHORT)
    (door,) = bench.gateway.doors
    await eventually(lambda: door._ending)
    # However long it takes.
    for minute in range(3):
        bench.later(minute * 60)
    bench.stream.end(frame_id)
    assert (await client.rest()).endswith(b"\r\n0\r\n\r\n")
    assert bench.gateway.body_bytes == 0


@pytest.mark.parametrize("first", ["inference", "app"])
async def test_a_refusal_behind_a_request_that_waits_leaves_that_one_its_answer(bench, first):
    bench.app_gate.clear()
    client = await bench.client()
    client.send((chat() if first == "inference" else get("/slow")) + chat() + without_key(LONG))
    await eventually(lambda: any(door._ending for door in bench.gateway.doors))
    bench.app_gate.set()
    if first == "inference":
        assert (await answered(bench, client, b"1"))[2] == b"1"
    else:
        assert (await client.reply())[0] == 200
    _, headers, body = await answered(bench, client, b"2")
    assert (headers[b"connection"], body) == (b"close", b"2")
    assert await client.rest() == b""
    assert (bench.gateway.body_bytes, bench.counters.client_gone) == (0, 0)


async def test_a_request_behind_one_of_the_app_is_told_of_its_key_in_its_turn(bench, store):
    bench.app_gate.clear()
    client = await bench.client()
    body = whole(2 * SHORT)
    client.send(get("/slow") + chat(key=NEW_KEY, body=body) + get("/next"))
    await eventually(lambda: store.asked)
    store.say(bench.keys.principal)
    bench.app_gate.set()
    assert (await client.reply())[0] == 200
    assert (await answered(bench, client))[0] == 200
    assert json.loads((await client.reply())[2])["app"] == "/next"


async def test_a_short_body_with_a_bad_key_is_refused_and_its_connection_kept(bench):
    client = await bench.client()
    client.send(chat(key="wrong", body=b"x" * SHORT) + chat())
    assert (await client.reply())[0] == 401
    assert (await answered(bench, client))[0] == 200


# Time that a body has.


async def test_what_came_fast_buys_no_time_for_what_does_not_come(bench):
    client = await bench.client()
    size = 30 * SHORT
    client.send(head(f"{JSON}Content-Length: {size + 10}\r\n") + b"x" * size)
    await eventually(lambda: bench.gateway.body_bytes == size)
    (door,) = bench.gateway.doors
    now, patience = bench.gateway.loop.time(), bench.settings.body_timeout_seconds
    assert now < door.read_deadline <= now + patience
    # A byte a minute, which 2 MB at 1,000 bytes a second would have let go on for half an hour.
    door.read_deadline -= patience - 1
    client.send(b"x")
    await eventually(lambda: bench.gateway.body_bytes == size + 1)
    assert door.read_deadline <= now + 1.01
    bench.later(2)
    assert (await refused(client, 408))["code"] == "request_timeout"
    assert bench.gateway.body_bytes == 0
