"""Calls of every fate at once on few connections: each ends once, as it should, and nothing is left over."""

import asyncio
import gzip
import random
import socket
import struct
import zlib

import pytest
from services.router.tests.fakes.upstream import PATH, Listener, eventually, target
from tests.integration.faulty import read_request

from tollgate_kit.clock import ManualClock
from tollgate_router.domain.failure import FailureKind
from tollgate_router.upstream.client import ClientLimits, Timeouts

pytestmark = pytest.mark.integration

CALLS, TOGETHER = 400, 24
TEXT = b"0123456789" * 500


def sized(body, *lines):
    return b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"content-length: %d" % len(body), b"", b""]) + body


def chunked(body, size, *lines):
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    head = b"\r\n".join([b"HTTP/1.1 200 OK", b"transfer-encoding: chunked", *lines, b"", b""])
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


# None closes a connection that may be used again by then: that has tests of its own, without a race.
# Fate → what the server sends, whether it reads on after that, and how the call ends: None for well.
FATES = {
    b"length": (sized(TEXT), True, None),
    b"chunks": (chunked(TEXT, 7), True, None),
    b"packed": (sized(gzip.compress(TEXT), b"content-encoding: gzip"), True, None),
    b"hints": (b"HTTP/1.1 103 x\r\n\r\n" + sized(TEXT), True, None),
    b"closes": (sized(TEXT, b"connection: close"), False, None),
    b"until the end": (b"HTTP/1.1 200 OK\r\n\r\n" + TEXT, False, None),
    b"cut": (sized(TEXT)[:-1], False, FailureKind.CUT),
    b"nothing": (b"", False, FailureKind.CUT),
    b"reset": (None, False, FailureKind.CUT),
    b"rubbish": (b"SSH-2.0\r\n", False, FailureKind.PROTOCOL),
    b"two framings": (chunked(TEXT, 7, b"content-length: 3"), False, FailureKind.PROTOCOL),
    b"stalls": (sized(TEXT)[:100], True, FailureKind.IDLE_TIMEOUT),
    b"says nothing": (b"", True, FailureKind.FIRST_BYTE_TIMEOUT),
}
LIKELY = [b"length", b"chunks"] * 8


def script(connection):
    while request := read_request(connection):
        answer, reads_on, _ = FATES[request.partition(b"\r\n\r\n")[2].partition(b"#")[0]]
        if answer is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        # In pieces, so that reads and their ends meet in every order.
        cut = zlib.crc32(request) % (len(answer) + 1)
        connection.sendall(answer[:cut])
        connection.sendall(answer[cut:])
        if not reads_on:
            return


class Caller(Listener):
    """Cancels, pauses and resumes as the dice say."""

    def __init__(self, dice, fate):
        super().__init__(self.shake, lambda _: self.shake())
        self.dice = dice
        self.fate = fate
        self.call = None
        self.cancelled = False

    def shake(self):
        chance = self.dice.random()
        if chance < 0.02:
            self.cancel()
        elif chance < 0.2:
            self.call.pause()
            asyncio.get_running_loop().call_later(self.dice.random() / 500, self.call.resume)

    @property
    def has_stalled(self):
        return self.fate == b"says nothing" or (self.fate == b"stalls" and self.pieces)

    def cancel(self):
        self.cancelled = True
        self.call.cancel()
        self.changed.set()


@pytest.mark.parametrize("seed", range(2))
async def test_every_call_ends_once_and_nothing_is_left(make_client, serve, seed):
    dice = random.Random(seed)
    server = serve(script)
    clock = ManualClock()
    limits = ClientLimits(connections_per_origin=8, idle_per_origin=4, connection_age_seconds=20)
    client = make_client(clock, limits=limits)
    one = target(f"http://127.0.0.1:{server.port}")
    times = Timeouts(connect=10_000, first_byte=1, idle=1, total=10_000)
    callers = []

    async def keep_calling():
        while len(callers) < CALLS:
            caller = Caller(dice, dice.choice([*FATES, *LIKELY]))
            callers.append(caller)
            body = caller.fate + b"#" + b"x" * dice.choice([0, 10, 70_000])
            caller.call = client.send(one, PATH, body, (), caller, times)
            if dice.random() < 0.03:
                caller.cancel()
            await caller.until(lambda caller=caller: caller.is_over or caller.cancelled)

    async def let_time_pass():
        """Only while nothing but stalled calls is served: however slow the machine is, no other is late."""
        while True:
            await asyncio.sleep(0.002)
            served = [caller for caller in callers[-10 * TOGETHER :] if caller.call and caller.call.connection]
            if served and all(caller.has_stalled for caller in served):
                clock.advance(0.3)
                client.sweep()

    passing = asyncio.create_task(let_time_pass())
    await asyncio.gather(*[keep_calling() for _ in range(TOGETHER)])
    passing.cancel()
    await asyncio.gather(passing, return_exceptions=True)
    for caller in callers:
        # `Listener` itself refuses whatever comes after an end, or out of order.
        if caller.cancelled:
            assert not caller.is_over
            continue
        assert caller.kind is FATES[caller.fate][2], caller.fate
        if caller.kind is None:
            assert caller.body == TEXT
    assert client.active_calls == 0
    await eventually(lambda: client.open_connections == client.idle_connections <= 4)
    assert sum(caller.events[-1:] == ["end"] for caller in callers) > CALLS // 2
