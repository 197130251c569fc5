"""From a name to a connection: which address, judged by whom, how old, and through which proxy."""

import asyncio
import base64
import contextlib
import socket
import threading
from dataclasses import replace

import pytest
from services.router.tests.fakes.upstream import PATH, FakeResolver, Listener, eventually, target
from tests.integration.faulty import FullPort, RawServer, read_request
from tests.servers.process import free_port

from tollgate_kit.clock import ManualClock, SystemClock
from tollgate_resources.ports import DEFAULT_PORTS, Ports
from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.reaching import Proxy
from tollgate_router.upstream.client import ClientLimits, Timeouts
from tollgate_router.upstream.names import CannotConnect, Names, SystemResolver
from tollgate_router.upstream.racing import interleaved, open_first

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b"
TIMES = Timeouts(connect=20)


def says(word):
    """Answers each request with a word, and with the Host that was asked for."""

    def script(connection):
        while request := read_request(connection):
            host = next(line for line in request.split(b"\r\n") if line.startswith(b"host: "))
            answer = word + b" " + host
            connection.sendall(OK % (len(answer), answer))

    return script


def ask(client, base_url, *, times=TIMES, private_network=True, proxy=None):
    sink = Listener()
    one = target(base_url, private_network=private_network)
    one = replace(one, origin=replace(one.origin, proxy=proxy))
    client.send(one, PATH, b"{}", (), sink, times)
    return sink


@pytest.mark.parametrize("resolver", [SystemResolver(), FakeResolver({"localhost": ["127.0.0.1"]})])
async def test_resolvers_know_addresses_and_names(resolver):
    assert await resolver.resolve("127.0.0.1", 80) == ["127.0.0.1"]
    assert await resolver.resolve("::1", 80) == ["::1"]
    assert "127.0.0.1" in await resolver.resolve("localhost", 80)
    with pytest.raises(OSError):
        await resolver.resolve("no..name", 80)


async def test_names_that_nobody_answers_for_hold_no_other_up(monkeypatch):
    answered, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host, *arguments, **more):
        if host.endswith(".dead.example"):
            answered.wait()
            raise OSError("nobody answers")
        return real(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = SystemResolver()
    waiting = [asyncio.create_task(resolver.resolve(f"{number}.dead.example", 80)) for number in range(40)]
    try:
        # Far more than the loop has threads.
        found = asyncio.create_task(resolver.resolve("127.0.0.1", 80))
        assert await asyncio.wait_for(found, 30) == ["127.0.0.1"]
        waiting.pop().cancel()
    finally:
        answered.set()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(one) for one in ended} == {OSError}


async def test_other_spellings_of_an_address_are_judged_as_what_they_mean():
    """The C library reads them all; none of them gets past the guard."""
    names = Names(SystemResolver(), SystemClock(), Ports("80", "THE_PORTS"), fresh_seconds=1, stale_seconds=1)
    for spelling in "127.1", "0x7f.1", "2130706433", "017700000001", "::ffff:127.0.0.1":
        with pytest.raises(CannotConnect) as error:
            await names.addresses(spelling, 80, private_network=False)
        assert error.value.kind is FailureKind.DENIED


async def test_no_port_is_reached_that_is_not_listed(make_client, serve):
    server = serve(says(b"hi"))
    resolver = FakeResolver({"inside.example": ["127.0.0.1"], "out.example": ["1.1.1.1"]})
    client = make_client(resolver=resolver, ports=Ports(DEFAULT_PORTS, "THE_PORTS"))
    for place in "out.example:22", "1.1.1.1:6379", "[2606:4700:4700::1111]:25":
        sink = await ask(client, f"http://{place}", private_network=False).over()
        assert (sink.kind, sink.failure.sent) == (FailureKind.DENIED, False)
        assert "that THE_PORTS lists" in sink.failure.detail
    # Nobody is asked for the address of what may not be reached anyway.
    assert resolver.asked == []
    # Where private addresses may be reached, so may their ports.
    assert (await ask(client, f"http://inside.example:{server.port}").over()).status == 200


@pytest.mark.parametrize("resolves", [False, True], ids=["address", "name"])
async def test_a_proxy_leads_to_no_other_port(make_client, serve, resolves):
    server = serve(says(b"hi"))
    client = make_client(resolver=FakeResolver({"out.example": ["1.1.1.1"]}), ports=Ports("443", "THE_PORTS"))
    inner = Proxy("127.0.0.1", server.port, private_network=True, resolves=resolves)
    sink = await ask(client, "https://out.example:25", private_network=False, proxy=inner).over()
    assert (sink.kind, server.accepted) == (FailureKind.DENIED, 0)
    outer = replace(inner, host="1.1.1.1", private_network=False)
    sink = await ask(client, "https://out.example", private_network=False, proxy=outer).over()
    assert (sink.kind, f"port {server.port} " in sink.failure.detail) == (FailureKind.DENIED, True)


async def test_a_private_address_is_reached_only_when_the_channel_says_so(make_client, serve):
    server = serve(says(b"hi"))
    client = make_client(resolver=FakeResolver({"inside.example": ["127.0.0.1"]}))
    sink = await ask(client, f"http://inside.example:{server.port}", private_network=False).over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.DENIED, False)
    assert server.accepted == 0
    sink = await ask(client, f"http://inside.example:{server.port}").over()
    assert sink.body == b"hi host: inside.example:%d" % server.port


async def test_of_mixed_addresses_only_those_are_tried_that_may_be_reached(make_client, serve):
    server = serve(says(b"hi"))
    client = make_client(resolver=FakeResolver({"mixed.example": ["169.254.169.254", "224.0.0.1", "127.0.0.1"]}))
    assert (await ask(client, f"http://mixed.example:{server.port}").over()).status == 200


async def test_a_name_that_changes_after_it_was_judged_changes_nothing(make_client, serve):
    """DNS rebinding: the address that is connected to is the one that was judged, and every new one is judged anew."""
    clock = ManualClock()
    server = serve(says(b"hi"))
    resolver = FakeResolver({"evil.example": [["127.0.0.1"], ["169.254.169.254"]]})
    client = make_client(clock, resolver=resolver, limits=ClientLimits(idle_age_seconds=1))
    assert (await ask(client, f"http://evil.example:{server.port}").over()).status == 200
    assert resolver.asked == ["evil.example"]
    clock.advance(20)
    client.sweep()
    sink = await ask(client, f"http://evil.example:{server.port}").over()
    assert sink.kind is FailureKind.DENIED
    assert server.accepted == 1


async def test_a_look_up_is_shared_kept_for_seconds_and_outlives_the_resolver(make_client, serve):
    clock = ManualClock()
    server = serve(says(b"hi"))
    resolver = FakeResolver({"a.example": ["127.0.0.1"]})
    limits = ClientLimits(idle_per_origin=0, name_fresh_seconds=10, name_stale_seconds=100)
    client = make_client(clock, resolver=resolver, limits=limits)
    sinks = [ask(client, f"http://a.example:{server.port}") for _ in range(5)]
    for sink in sinks:
        assert (await sink.over()).status == 200
    assert resolver.asked == ["a.example"]
    clock.advance(9)
    await ask(client, f"http://a.example:{server.port}").over()
    assert resolver.asked == ["a.example"]
    clock.advance(2)
    await ask(client, f"http://a.example:{server.port}").over()
    assert resolver.asked == ["a.example"] * 2
    del resolver.names["a.example"]
    clock.advance(50)
    assert (await ask(client, f"http://a.example:{server.port}").over()).status == 200
    assert resolver.asked == ["a.example"] * 3
    clock.advance(100)
    sink = await ask(client, f"http://a.example:{server.port}").over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.REFUSED, False)


async def test_connections_do_not_outlive_their_age_so_that_a_moved_name_is_followed(make_client, serve):
    clock = ManualClock()
    old = serve(says(b"old"))
    new = serve(says(b"new"), host="127.0.0.2", port=old.port)
    resolver = FakeResolver({"a.example": [["127.0.0.1"], ["127.0.0.2"]]})
    client = make_client(clock, resolver=resolver, limits=ClientLimits(idle_age_seconds=60, connection_age_seconds=100))
    answers = []
    for _ in range(8):
        answers.append((await ask(client, f"http://a.example:{old.port}").over()).body[:3])
        clock.advance(15)
        client.sweep()
    # It may retire after 75 s, and has after 100 s.
    assert answers[:5] == [b"old"] * 5
    assert answers[7:] == [b"new"]
    assert (old.accepted, new.accepted) == (1, 1)


def test_families_take_turns():
    assert interleaved(["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"]) == ["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]
    assert interleaved(["1.1.1.1", "::1"]) == ["1.1.1.1", "::1"]
    assert interleaved(["1.1.1.1", "2.2.2.2"]) == ["1.1.1.1", "2.2.2.2"]
    assert interleaved(["::1"]) == ["::1"]


@contextlib.contextmanager
def silent_port():
    full = FullPort()
    full.start()
    try:
        yield full.port
    finally:
        full.stop()


async def test_an_address_that_keeps_silent_does_not_hold_up_the_next(make_client, serve):
    with silent_port() as port:
        serve(says(b"second"), host="127.0.0.2", port=port)
        resolver = FakeResolver({"two.example": ["127.0.0.1", "127.0.0.2"]})
        client = make_client(resolver=resolver, limits=ClientLimits(address_delay_seconds=0.01))
        assert (await ask(client, f"http://two.example:{port}").over()).body.startswith(b"second")


async def test_an_address_that_refuses_makes_way_at_once(make_client, serve):
    server = serve(says(b"six"), host="::1")
    resolver = FakeResolver({"two.example": ["127.0.0.3", "127.0.0.4", "::1"]})
    # Waiting for the delay would be longer than the test may take.
    client = make_client(resolver=resolver, limits=ClientLimits(address_delay_seconds=1000))
    assert (await ask(client, f"http://two.example:{server.port}").over()).body.startswith(b"six")


async def test_when_every_address_refuses_the_call_is_refused(make_client):
    port = free_port()
    client = make_client(resolver=FakeResolver({"two.example": ["127.0.0.1", "127.0.0.2", "::1"]}))
    sink = await ask(client, f"http://two.example:{port}").over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.REFUSED, False)


async def test_whoever_loses_the_race_is_closed(serve):
    accepted = []

    def script(connection):
        accepted.append(connection)
        connection.recv(1)

    first = serve(script)
    serve(script, host="127.0.0.2", port=first.port)
    serve(script, host="127.0.0.3", port=first.port)
    for _ in range(20):
        winner = await open_first(["127.0.0.1", "127.0.0.2", "127.0.0.3"], first.port, 0)
        assert winner.getpeername()[1] == first.port
        winner.close()
    # `serve` waits until the servers have no connection left.
    await eventually(lambda: len(accepted) >= 20)


async def test_giving_up_in_the_middle_leaves_no_socket():
    with silent_port() as port:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await open_first(["127.0.0.1", "127.0.0.1"], port, 0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}


# Proxies.


class ConnectProxy(RawServer):
    """Opens tunnels to where `reaches` says, whatever is asked for, and writes down what it is asked.

    `otherwise` says what it answers for some authorities: bytes, or nothing at all until the other side has gone.
    """

    def __init__(self, reaches, answer=b"HTTP/1.1 200 Connection established\r\nvia: p\r\n\r\n", otherwise=()):
        super().__init__(self._tunnel)
        self.reaches = reaches
        self.answer = answer
        self.otherwise = dict(otherwise)
        self.asked = []

    @property
    def authorities(self):
        return [head.split(b" ")[1] for head in self.asked]

    def _tunnel(self, connection):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            part = connection.recv(1)
            if not part:
                return
            head += part
        self.asked.append(head)
        answer = self.otherwise.get(head.split(b" ")[1], self.answer)
        if answer is None:
            connection.recv(1)
            return
        if not answer.startswith(b"HTTP/1.1 200"):
            connection.sendall(answer)
            return
        with socket.create_connection(("127.0.0.1", self.reaches)) as origin:
            connection.sendall(self.answer)
            origin.settimeout(60)
            request = read_request(connection)
            origin.sendall(request)
            connection.sendall(origin.recv(65536))
            connection.recv(1)


@pytest.fixture
def proxy_to():
    proxies = []

    def make(port, **options):
        proxies.append(ConnectProxy(port, **options).start())
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.stop()


async def test_a_proxy_is_handed_the_address_that_was_judged_and_the_origin_its_own_name(make_client, serve, proxy_to):
    server = serve(says(b"hi"))
    proxy = proxy_to(server.port)
    client = make_client(resolver=FakeResolver({"a.example": ["127.0.0.9"], "proxy.example": ["127.0.0.1"]}))
    through = Proxy("proxy.example", proxy.port, private_network=True)
    sink = await ask(client, "http://a.example", proxy=through).over()
    assert sink.body == b"hi host: a.example"
    assert proxy.asked == [b"CONNECT 127.0.0.9:80 HTTP/1.1\r\nhost: 127.0.0.9:80\r\n\r\n"]


async def test_a_proxy_that_resolves_is_handed_the_name(make_client, serve, proxy_to):
    server = serve(says(b"hi"))
    proxy = proxy_to(server.port)
    client = make_client(resolver=FakeResolver({"proxy.example": ["127.0.0.1"]}))
    token = base64.b64encode(b"me:secret").decode()
    through = Proxy("proxy.example", proxy.port, f"Basic {token}", private_network=True, resolves=True)
    sink = await ask(client, "http://a.example:8080", proxy=through).over()
    assert sink.body == b"hi host: a.example:8080"
    assert proxy.asked[0].decode().split("\r\n") == [
        "CONNECT a.example:8080 HTTP/1.1",
        "host: a.example:8080",
        f"proxy-authorization: Basic {token}",
        "",
        "",
    ]
    assert token not in repr(through)


async def test_the_guard_holds_for_the_proxy_and_behind_it(make_client, serve, proxy_to):
    proxy = proxy_to(serve(says(b"hi")).port)
    names = {"inside.example": ["10.0.0.1"], "metadata.example": ["169.254.169.254"], "proxy.example": ["127.0.0.1"]}
    client = make_client(resolver=FakeResolver(names))
    for host, private, may_be_private in [
        ("inside.example", False, True),
        ("metadata.example", True, True),
        ("inside.example", True, False),
    ]:
        through = Proxy("proxy.example", proxy.port, private_network=may_be_private)
        sink = await ask(client, f"http://{host}", private_network=private, proxy=through).over()
        assert sink.kind is FailureKind.DENIED
    # Addresses are judged even where the proxy resolves names.
    through = Proxy("proxy.example", proxy.port, private_network=True, resolves=True)
    sink = await ask(client, "http://169.254.169.254", proxy=through).over()
    assert sink.kind is FailureKind.DENIED
    assert proxy.asked == []


REFUSALS = {
    "it asks for a password": b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
    "it does not reach the origin": b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
    "it speaks something else": b"SSH-2.0-x\r\n\r\n",
    "it says more than it was asked for": b"HTTP/1.0 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "it closes": b"",
    "it closes in its head": b"HTTP/1.1 20",
    "it never ends its head": b"HTTP/1.0 200 OK\r\n" + b"x: y\r\n" * 5000,
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_proxy_that_refuses_or_breaks_the_rules_ends_the_call_unsent(make_client, proxy_to, name):
    proxy = proxy_to(0, answer=REFUSALS[name])
    client = make_client()
    sink = await ask(client, "http://127.0.0.9", proxy=Proxy("127.0.0.1", proxy.port, private_network=True)).over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.REFUSED, False)
    await eventually(lambda: proxy.open == 0)


BAD_GATEWAY = REFUSALS["it does not reach the origin"]
# One of every kind of answer that tells of the address and not of the proxy.
UNREACHED = {
    "it says so": BAD_GATEWAY,
    "its network forbids it": b"HTTP/1.1 403 Forbidden\r\n\r\n",
    "it closes": b"",
}


def dual_stack(make_client, **limits):
    names = {"two.example": ["::1", "127.0.0.8", "127.0.0.9"]}
    # Waiting for the delay would be longer than the test may take.
    found = ClientLimits(**{"address_delay_seconds": 1000, **limits})
    return make_client(resolver=FakeResolver(names), limits=found)


@pytest.mark.parametrize("answer", UNREACHED.values(), ids=UNREACHED.keys())
async def test_a_proxy_that_does_not_reach_an_address_is_asked_for_the_next(make_client, serve, proxy_to, answer):
    server = serve(says(b"hi"))
    proxy = proxy_to(server.port, otherwise={b"[::1]:80": answer})
    through = Proxy("127.0.0.1", proxy.port, private_network=True)
    sink = await ask(dual_stack(make_client), "http://two.example", proxy=through).over()
    assert sink.body == b"hi host: two.example"
    assert proxy.authorities == [b"[::1]:80", b"127.0.0.8:80"]


async def test_a_proxy_that_hangs_on_an_address_does_not_hold_up_the_next(make_client, serve, proxy_to):
    server = serve(says(b"hi"))
    proxy = proxy_to(server.port, otherwise={b"[::1]:80": None})
    through = Proxy("127.0.0.1", proxy.port, private_network=True)
    client = dual_stack(make_client, address_delay_seconds=0.01, idle_per_origin=0)
    sink = await ask(client, "http://two.example", proxy=through).over()
    assert sink.body == b"hi host: two.example"
    assert set(proxy.authorities) >= {b"[::1]:80", b"127.0.0.8:80"}
    # Who lost is closed.
    await eventually(lambda: proxy.open == 0)


async def test_a_proxy_that_reaches_no_address_is_asked_for_each_once(make_client, proxy_to):
    proxy = proxy_to(0, answer=BAD_GATEWAY)
    through = Proxy("127.0.0.1", proxy.port, private_network=True)
    sink = await ask(dual_stack(make_client), "http://two.example", proxy=through).over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.REFUSED, False)
    assert sink.failure.detail == "the proxy refused with 502"
    assert proxy.authorities == [b"[::1]:80", b"127.0.0.8:80", b"127.0.0.9:80"]
    await eventually(lambda: proxy.open == 0)


@pytest.mark.parametrize("name", ["it asks for a password", "it speaks something else"])
async def test_a_proxy_that_would_say_the_same_of_every_address_is_asked_once(make_client, proxy_to, name):
    proxy = proxy_to(0, answer=REFUSALS[name])
    through = Proxy("127.0.0.1", proxy.port, private_network=True)
    sink = await ask(dual_stack(make_client), "http://two.example", proxy=through).over()
    assert (sink.kind, proxy.authorities) == (FailureKind.REFUSED, [b"[::1]:80"])


async def test_all_addresses_behind_a_proxy_share_the_time_to_connect(make_client, proxy_to):
    hosts = b"[::1]:80", b"127.0.0.8:80", b"127.0.0.9:80"
    proxy = proxy_to(0, otherwise=dict.fromkeys(hosts))
    through = Proxy("127.0.0.1", proxy.port, private_network=True)
    client = dual_stack(make_client, address_delay_seconds=0.01)
    sink = await ask(client, "http://two.example", proxy=through, times=Timeouts(connect=0.5)).over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.CONNECT_TIMEOUT, False)
    await eventually(lambda: proxy.open == 0)


async def test_a_proxy_that_is_not_there_refuses_the_call(make_client):
    port = free_port()
    through = Proxy("127.0.0.1", port, private_network=True)
    sink = await ask(dual_stack(make_client), "http://two.example", proxy=through).over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.REFUSED, False)
    assert sink.failure.detail.startswith("the proxy: ")


async def test_of_mixed_addresses_a_proxy_is_asked_for_those_that_may_be_reached(make_client, serve, proxy_to):
    server = serve(says(b"hi"))
    proxy = proxy_to(server.port, otherwise={b"127.0.0.8:80": BAD_GATEWAY})
    names = {"mixed.example": ["169.254.169.254", "127.0.0.8", "224.0.0.1", "127.0.0.9"]}
    client = make_client(resolver=FakeResolver(names))
    through = Proxy("127.0.0.1", proxy.port, private_network=True)
    assert (await ask(client, "http://mixed.example", proxy=through).over()).status == 200
    assert proxy.authorities == [b"127.0.0.8:80", b"127.0.0.9:80"]


async def test_channels_with_and_without_a_proxy_share_no_connection(make_client, serve, proxy_to):
    server = serve(says(b"hi"))
    proxy = proxy_to(server.port)
    client = make_client()
    base = f"http://127.0.0.1:{server.port}"
    await ask(client, base).over()
    await ask(client, base, proxy=Proxy("127.0.0.1", proxy.port, private_network=True)).over()
    assert len(proxy.asked) == 1
    assert server.accepted == 2
    assert client.idle_connections == 2
