"""TLS towards origins: who is trusted, under what name, what we prove ourselves, and how its end is read."""

import contextlib
import shutil
import socket
import ssl
import threading
from dataclasses import replace

import pytest
from services.router.tests.fakes.upstream import PATH, FakeResolver, Listener, eventually, target
from tests.integration.faulty import read_request
from tests.servers.certificates import Authority

from tollgate_router.domain.failure import FailureKind
from tollgate_router.domain.reaching import Proxy, Tls
from tollgate_router.upstream.client import Timeouts

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder):
    return Authority(folder, "ours")


@pytest.fixture(scope="module")
def stranger(folder):
    return Authority(folder, "strangers")


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue("DNS:a.example", "IP:127.0.0.1", "IP:::1")


def context_of(certificate, clients=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients.certificate)
    return context


def over_tls(context, script, seen=None):
    def serve(connection):
        if seen is not None:
            context.sni_callback = lambda _, name, __: seen.append(name)
        with context.wrap_socket(connection, server_side=True) as secure:
            script(secure)

    return serve


def answer_all(connection):
    while read_request(connection):
        connection.sendall(OK)


def ask(client, base_url, *, tls=None, proxy=None, sink=None):
    sink = sink or Listener()
    one = target(base_url)
    one = replace(one, origin=replace(one.origin, tls=tls or Tls(), proxy=proxy))
    sink.call = client.send(one, PATH, b"{}", (), sink, Timeouts(connect=20))
    return sink


def trusting(authority, **options):
    return Tls(ca_file=str(authority.certificate), **options)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "a.example"])
async def test_a_server_that_proves_its_name_is_talked_to(make_client, serve, authority, certificate, host):
    seen = []
    server = serve(over_tls(context_of(certificate), answer_all, seen), host="::1" if host == "[::1]" else "127.0.0.1")
    client = make_client(resolver=FakeResolver({"a.example": ["127.0.0.1"]}))
    for _ in range(3):
        sink = await ask(client, f"https://{host}:{server.port}", tls=trusting(authority)).over()
        assert (sink.status, sink.body) == (200, b"ok")
    assert server.accepted == 1
    # No name is told where the host is an address.
    assert seen == ["a.example" if host == "a.example" else None]


async def test_what_the_router_trusts_besides_the_system_is_trusted(make_client, serve, authority, certificate):
    server = serve(over_tls(context_of(certificate), answer_all))
    client = make_client(ca_file=authority.certificate)
    assert (await ask(client, f"https://127.0.0.1:{server.port}").over()).status == 200


async def test_certificates_of_a_channel_leave_out_those_of_the_router(
    make_client, serve, authority, stranger, certificate
):
    server = serve(over_tls(context_of(certificate), answer_all))
    client = make_client(ca_file=authority.certificate)
    sink = await ask(client, f"https://127.0.0.1:{server.port}", tls=trusting(stranger)).over()
    assert sink.kind is FailureKind.TLS


BAD = {
    "an authority that nobody trusts": (("strangers", ("DNS:a.example",), {}), {}),
    "another name": (("ours", ("DNS:b.example",), {}), {}),
    "only the address": (("ours", ("IP:127.0.0.1",), {}), {}),
    "the name of a domain above": (("ours", ("DNS:example",), {}), {}),
    "a certificate that has expired": (("ours", ("DNS:a.example",), {"expired": True}), {}),
    "another name than the channel wants": (("ours", ("DNS:a.example",), {}), {"server_name": "b.example"}),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_server_that_proves_something_else_gets_no_byte(make_client, serve, authority, stranger, name):
    (signer, names, options), wanted = BAD[name]
    presented = {"ours": authority, "strangers": stranger}[signer].issue(*names, **options)
    got = []

    def script(connection):
        got.append(connection.recv(1000))

    server = serve(over_tls(context_of(presented), script))
    client = make_client(resolver=FakeResolver({"a.example": ["127.0.0.1"]}))
    sink = await ask(client, f"https://a.example:{server.port}", tls=trusting(authority, **wanted)).over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.TLS, False)
    await eventually(lambda: server.open == 0)
    assert not any(got)


async def test_a_channel_may_want_another_name_than_the_hosts(make_client, serve, authority):
    seen = []
    presented = authority.issue("DNS:inner.example")
    server = serve(over_tls(context_of(presented), answer_all, seen))
    client = make_client()
    tls = trusting(authority, server_name="inner.example")
    assert (await ask(client, f"https://127.0.0.1:{server.port}", tls=tls).over()).status == 200
    assert seen == ["inner.example"]


async def test_a_certificate_of_ours_is_presented_to_who_asks(make_client, serve, authority, certificate):
    names = []

    def script(connection):
        names.append(connection.getpeercert()["subjectAltName"])
        answer_all(connection)

    server = serve(over_tls(context_of(certificate, clients=authority), script))
    ours = authority.issue("DNS:router.example")
    client = make_client()
    tls = trusting(authority, certificate_file=str(ours.certificate), key_file=str(ours.key))
    assert (await ask(client, f"https://127.0.0.1:{server.port}", tls=tls).over()).status == 200
    assert names == [(("DNS", "router.example"),)]


async def test_one_file_may_hold_certificate_and_key(make_client, serve, authority, certificate, tmp_path):
    server = serve(over_tls(context_of(certificate, clients=authority), answer_all))
    ours = authority.issue("DNS:router.example")
    both = tmp_path / "both.pem"
    both.write_bytes(ours.key.read_bytes() + ours.certificate.read_bytes())
    tls = trusting(authority, certificate_file=str(both))
    assert (await ask(make_client(), f"https://127.0.0.1:{server.port}", tls=tls).over()).status == 200


async def test_without_a_certificate_of_ours_a_server_that_asks_refuses(make_client, serve, authority, certificate):
    server = serve(over_tls(context_of(certificate, clients=authority), answer_all))
    sink = await ask(make_client(), f"https://127.0.0.1:{server.port}", tls=trusting(authority)).over()
    # TLS 1.3 tells only after the handshake, when the request has left.
    assert sink.kind in {FailureKind.TLS, FailureKind.CUT}
    assert sink.status == 0


async def test_files_that_are_renewed_are_read_anew(make_client, serve, authority, stranger, tmp_path):
    trusted = tmp_path / "trusted.pem"
    shutil.copy(stranger.certificate, trusted)
    server = serve(over_tls(context_of(authority.issue("IP:127.0.0.1")), answer_all))
    client = make_client()
    tls = Tls(ca_file=str(trusted))
    assert (await ask(client, f"https://127.0.0.1:{server.port}", tls=tls).over()).kind is FailureKind.TLS
    shutil.copyfile(authority.certificate, trusted)
    assert (await ask(client, f"https://127.0.0.1:{server.port}", tls=tls).over()).status == 200


@pytest.mark.parametrize("field", ["ca_file", "certificate_file", "key_file"])
@pytest.mark.parametrize("content", [None, b"", b"rubbish"])
async def test_files_that_are_none_end_the_call_before_anything_is_reached(
    make_client, serve, authority, certificate, tmp_path, field, content
):
    server = serve(over_tls(context_of(certificate), answer_all))
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_bytes(content)
    files = {"ca_file": authority.certificate, "certificate_file": certificate.certificate, "key_file": certificate.key}
    tls = Tls(**{name: str(path) for name, path in (files | {field: file}).items()})
    sink = await ask(make_client(), f"https://127.0.0.1:{server.port}", tls=tls).over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.TLS, False)
    assert server.accepted == 0


def speaks_no_tls(connection):
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.recv(1)


def closes_in_the_handshake(connection):
    connection.recv(10)


def speaks_an_old_version(connection):
    # A ServerHello of TLS 1.0 would need a whole stack of its own; the alert is what such servers answer.
    connection.recv(65536)
    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")


@pytest.mark.parametrize("script", [speaks_no_tls, closes_in_the_handshake, speaks_an_old_version])
async def test_a_handshake_that_fails_ends_the_call_unsent(make_client, serve, authority, script):
    server = serve(script)
    sink = await ask(make_client(), f"https://127.0.0.1:{server.port}", tls=trusting(authority)).over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.TLS, False)


async def test_a_handshake_that_stalls_is_given_up_and_leaves_no_socket(make_client, serve, authority):
    server = serve(lambda connection: connection.recv(1) and connection.recv(65536) and connection.recv(1))
    client, sink = make_client(), Listener()
    one = target(f"https://127.0.0.1:{server.port}")
    one = replace(one, origin=replace(one.origin, tls=trusting(authority)))
    client.send(one, PATH, b"{}", (), sink, Timeouts(connect=0.2))
    await sink.over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.CONNECT_TIMEOUT, False)
    await eventually(lambda: server.open == 0)


UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"


async def test_an_end_that_tls_vouches_for_ends_a_reply_of_no_length(make_client, serve, authority, certificate):
    def script(connection):
        read_request(connection)
        connection.sendall(UNTIL_CLOSE)
        connection.unwrap()

    server = serve(over_tls(context_of(certificate), script))
    sink = await ask(make_client(), f"https://127.0.0.1:{server.port}", tls=trusting(authority)).over()
    assert (sink.kind, sink.body) == (None, b"hello")


async def test_a_bare_end_cuts_a_reply_of_no_length(make_client, serve, authority, certificate):
    """Anybody on the way can close a TCP connection."""

    def script(connection):
        read_request(connection)
        connection.sendall(UNTIL_CLOSE)
        socket.socket(fileno=connection.detach()).close()

    server = serve(over_tls(context_of(certificate), script))
    sink = await ask(make_client(), f"https://127.0.0.1:{server.port}", tls=trusting(authority)).over()
    assert (sink.kind, sink.body) == (FailureKind.CUT, b"hello")


@pytest.mark.parametrize("with_notice", [True, False])
async def test_a_request_on_a_stale_connection_is_sent_again_when_its_end_came_with_notice(
    make_client, serve, authority, certificate, with_notice
):
    read, closed = threading.Event(), threading.Event()
    requests = []

    def script(connection):
        first = server.accepted == 1
        requests.append(read_request(connection))
        connection.sendall(OK)
        if first:
            assert read.wait(30)
            connection.setblocking(False)
            if with_notice:
                # It sends the notice, and does not wait for the other one.
                with contextlib.suppress(ssl.SSLWantReadError):
                    connection.unwrap()
            socket.socket(fileno=connection.detach()).close()
            closed.set()
        else:
            answer_all(connection)

    server = serve(over_tls(context_of(certificate), script))
    client, first, second = make_client(), Listener(), Listener()
    base = f"https://127.0.0.1:{server.port}"

    def again():
        read.set()
        assert closed.wait(30)
        ask(client, base, tls=trusting(authority), sink=second)

    first.upstream_end = again
    ask(client, base, tls=trusting(authority), sink=first)
    await second.over()
    if with_notice:
        assert (second.status, client.counters.retried, len(requests)) == (200, 1, 2)
    else:
        assert (second.kind, client.counters.retried, len(requests)) == (FailureKind.CUT, 0, 1)


async def test_a_request_that_was_read_is_never_sent_again(make_client, serve, authority, certificate):
    requests = []

    def script(connection):
        requests.append(read_request(connection))
        connection.sendall(OK)
        requests.append(read_request(connection))

    server = serve(over_tls(context_of(certificate), script))
    client = make_client()
    base = f"https://127.0.0.1:{server.port}"
    await ask(client, base, tls=trusting(authority)).over()
    sink = await ask(client, base, tls=trusting(authority)).over()
    assert (sink.kind, sink.failure.sent) == (FailureKind.CUT, True)
    assert (client.counters.retried, server.accepted) == (0, 1)


async def test_tls_goes_through_a_proxy_untouched(make_client, serve, authority, certificate):
    seen, asked = [], []
    server = serve(over_tls(context_of(certificate), answer_all, seen))

    def pump(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def tunnel(connection):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        asked.append(head.partition(b"\r\n")[0])
        with socket.create_connection(("127.0.0.1", server.port)) as origin:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=pump, args=(origin, connection), daemon=True)
            back.start()
            pump(connection, origin)
            back.join()

    proxy = serve(tunnel)
    client = make_client()
    through = Proxy("127.0.0.1", proxy.port, private_network=True, resolves=True)
    sink = await ask(client, "https://a.example", tls=trusting(authority), proxy=through).over()
    assert (sink.status, sink.body) == (200, b"ok")
    assert asked == [b"CONNECT a.example:443 HTTP/1.1"]
    assert seen == ["a.example"]
