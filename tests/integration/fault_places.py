"""Servers that fail at each stage of a call, from connection to trailer; who asks through them; what is left."""

import contextlib
import ssl

import httpx
from tests.integration.faulty import FaultyProvider, FullPort, RawServer, Readers, answer_well, read_request, reset
from tests.integration.left_behind import inside, least
from tests.servers.certificates import Authority
from tests.servers.process import free_port, wait_until


def speaks_no_tls(connection):
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    connection.recv(1)


def closes_in_the_handshake(connection):
    connection.recv(10)


def resets(connection):
    read_request(connection)
    reset(connection)


def lets_nobody_through(connection):
    read_request(connection)
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")


def says_nothing(connection):
    read_request(connection)


def stays_silent(connection):
    while connection.recv(65_536):
        pass


def behind_tls(certificate, serve):
    """Returns what serves a connection as `serve` does, behind a handshake with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)

    def secured(connection):
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secure:
            serve(secure)

    return secured


class Providers:
    """Servers by place: where they listen, and what a channel must say to reach them."""

    def __init__(self, folder):
        trusted, stranger = Authority(folder, "trusted"), Authority(folder, "stranger")
        here = "IP:127.0.0.1"
        self.readers = Readers()
        self.faulty, self.full = FaultyProvider(self.readers), FullPort()
        self.servers = {
            "faulty": self.faulty,
            "well": RawServer(answer_well),
            "no-tls": RawServer(speaks_no_tls),
            "closing-tls": RawServer(closes_in_the_handshake),
            "silent-tls": RawServer(stays_silent),
            "strange-tls": RawServer(behind_tls(stranger.issue(here), answer_well)),
            "expired-tls": RawServer(behind_tls(trusted.issue(here, expired=True), answer_well)),
            "misnamed-tls": RawServer(behind_tls(trusted.issue("DNS:elsewhere.example"), answer_well)),
            "cut-tls": RawServer(behind_tls(trusted.issue(here), says_nothing)),
            "stalled-tls": RawServer(behind_tls(trusted.issue(here), stays_silent)),
            "resetting": RawServer(resets),
            "refusing-proxy": RawServer(lets_nobody_through),
            "closing-proxy": RawServer(says_nothing),
            "silent-proxy": RawServer(stays_silent),
        }
        self._ports = {"closed": free_port(), "closed-proxy": free_port(), "full": self.full.port}
        self._ca_file = str(trusted.certificate)
        for server in (*self.servers.values(), self.full):
            server.start()

    def stop(self):
        for server in (*self.servers.values(), self.full):
            server.stop()

    def channel(self, name, place, model):
        port = self._ports.get(place) or self.servers[place].port
        tls = {"tls": {"ca_file": self._ca_file}} if place.endswith("-tls") else {}
        base_url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1"
        fixed = {"provider": "openai-compatible", "private_network": True}
        if place.endswith("-proxy"):
            # Behind the proxy there would be a provider without fault.
            base_url = f"http://127.0.0.1:{self.servers['well'].port}/v1"
            fixed["proxy"] = {"url": f"http://127.0.0.1:{port}", "private_network": True}
        return {"name": name, "base_url": base_url, "models": [model], **fixed, **tls}


def ask(product, readers, model, word, *, stream):
    body = {"model": model, "messages": [{"role": "user", "content": word}], "stream": stream}
    headers = {"authorization": f"Bearer {product.api_key}"}
    with (
        httpx.Client(headers=headers, timeout=120, trust_env=False) as client,
        client.stream("POST", f"{product.base_url}/chat/completions", json=body) as reply,
    ):
        whole = b""
        for piece in reply.iter_raw():
            whole += piece
            readers.has_read(model)
        return httpx.Response(reply.status_code, headers=reply.headers, content=whole)


def check_nothing_left(product, providers, before):
    """Holds, open requests, tasks, sockets and connections to providers are all given back."""
    for name, held in before.items():
        seen = []

        def is_back(name=name, held=held, seen=seen):
            seen.append(inside(product, name))
            return all(least(seen)[key] <= held[key] for key in held)

        wait_until(is_back, f"{name} to hold no more than {held}", 60)
    for name, server in providers.servers.items():
        wait_until(lambda server=server: server.open == 0, f"connections to {name} to be closed")
    router = product.get("router")["routers"][0]
    assert router["open_requests"] == sum(channel["open_requests"] for channel in router["channels"]) == 0
    product.wait_settled()


def events_of(reply):
    return [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
