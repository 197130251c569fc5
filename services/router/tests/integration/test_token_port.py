"""The port of token servers: one suite for the fake and for the real client against a server of its own."""

import socket

import pytest
from services.router.tests.fakes.tokens import FakeTokenServer

from tollgate_router.domain.target import Origin, Target
from tollgate_router.domain.tokens import Token
from tollgate_router.upstream.token_server import TokenServer

pytestmark = pytest.mark.integration
FORM = b"grant_type=x&assertion=y"


def target(port, *, private_network=True):
    origin = Origin("http", "127.0.0.1", port, private_network)
    return Target("token server", 0, "google", origin, "/token", "", False, 1, b"content-type: form\r\n")


class Answering:
    """Answers each request with a status and a body, and keeps what came."""

    def __init__(self, status, body):
        self.asked = b""
        self._answer = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(body), body)

    def __call__(self, link: socket.socket):
        while FORM not in self.asked:
            self.asked += link.recv(65536)
        link.sendall(self._answer)


@pytest.mark.parametrize("real", [False, True], ids=["fake", "real"])
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"access_token":"t","expires_in":60}', Token("t", 60)),
        (400, b'{"error":"invalid_grant"}', "the token server answers 400: invalid_grant"),
        (200, b"x" * 200_000, "the token server answers 200 with something that is no JSON"),
    ],
)
async def test_an_answer(real, serve, client, status, body, expected):
    fake, script = FakeTokenServer(), Answering(status, body)
    server = serve(script)
    fake.answers.put_nowait(expected)
    port = TokenServer(client) if real else fake
    assert await port.fetch(target(server.port), FORM) == expected
    if real:
        head, sent = script.asked.split(b"\r\n\r\n")
        assert head.startswith(b"POST /token HTTP/1.1\r\n")
        assert b"content-type: form" in head
        assert sent == FORM
    else:
        assert fake.asked[0][1] == FORM


async def test_who_does_not_answer_or_may_not_be_asked(serve, client):
    server = serve(lambda link: link.close())
    assert "cannot be reached" in await TokenServer(client).fetch(target(server.port), FORM)
    # The guard of channels holds for the address in a key file, too.
    found = await TokenServer(client).fetch(target(server.port, private_network=False), FORM)
    assert "cannot be reached: denied" in found
