"""What Redis replies: however broken, every hold is answered once and the connection comes back."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import hiredis

from tests.fuzz.cases import Case, draw_cuts, mostly, pieces, spoil
from tests.fuzz.counted_loop import quiet, run
from tollgate_edge.inference.admission import Admission
from tollgate_edge.inference.limits import Ticket
from tollgate_holds import HoldResult, LimitSet, Scope
from tollgate_holds.holds import Holds
from tollgate_holds.pipe import RedisError, RedisUnavailable

_PREPARING: Final = 6
"""Commands that a connection begins with."""
_ORGANIZATIONS: Final = ("org_1", "org_2")
_REPLIES: Final = [
    b"*1\r\n*9\r\n:1\r\n:7\r\n" + b":0\r\n" * 7, b"*1\r\n*13\r\n:5\r\n" + b":1\r\n" * 12, b"*1\r\n*1\r\n:1\r\n",
    b"*1\r\n:1\r\n", b"*2\r\n:1\r\n:0\r\n", b"*3\r\n:2\r\n:1\r\n:3\r\n", b"-NOSCRIPT No matching script.\r\n",
    b"+OK\r\n", b"-ERR no\r\n", b"$-1\r\n", b"*0\r\n", b"*-1\r\n", b":1\r\n", b"$2\r\nhi\r\n",
]  # fmt: skip
_ODD: Final = [
    b"*1\r\n:9\r\n", b"*1\r\n+x\r\n", b"*1\r\n$-1\r\n", b"*2\r\n*1\r\n:1\r\n-ERR\r\n", b"%1\r\n+a\r\n:1\r\n",
    b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(" + b"9" * 30 + b"\r\n", b"~1\r\n:1\r\n", b">2\r\n+pubsub\r\n:1\r\n",
    b"*1000000000\r\n", b"$1000000000\r\n", b"HTTP/1.1 400\r\n\r\n", b":99999999999999999999999\r\n", b"*1\r\n" * 20,
    b"\x00",
]  # fmt: skip
_SPICES: Final = [b"\r\n", b"*", b"$", b":", b"+", b"-", b"1", b"0", b"-1", b"\r", b"\n", b"\xff", b"_\r\n"]


class RedisRepliesTarget:
    """A server that answers `good` commands well, then sends `bad` and closes; its other connections are good."""

    cost = 20

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="fuzz-redis-")

    def draw(self, source: Random) -> Case:
        replies = [mostly(source, _REPLIES, _ODD, 0.3) for _ in range(source.randint(0, 4))]
        bad = spoil(source, b"".join(replies), _SPICES)
        good = source.randint(0, _PREPARING - 1) if source.random() < 0.2 else _PREPARING + source.randint(0, 4)
        return {
            "good": good,
            "bad": bad,
            "cuts": draw_cuts(source, len(bad), most=3),
            "holds": [source.randint(0, 3) for _ in range(source.randint(1, 6))],
            "calls": source.randint(0, 2),
        }

    def check(self, case: Case) -> None:
        path = Path(self._directory.name) / "s"
        path.unlink(missing_ok=True)
        run(lambda: _check(case, path))

    def close(self) -> None:
        self._directory.cleanup()


async def _check(case: Case, path: Path) -> None:
    server = _Server(case["good"], pieces(case["bad"], case["cuts"]))
    listener = await asyncio.get_running_loop().create_unix_server(server.connection, path)
    holds = Holds(f"unix://{path}", timeout_seconds=1000)
    admission = Admission(holds, hold_ttl_seconds=60, pause_seconds=0, on_no_wallet=lambda _: None)
    await holds.start()
    asked = [_Asked(number) for number in range(len(case["holds"]))]
    for request, kind in zip(asked, case["holds"], strict=True):
        # 0 and 1 are organizations; 2 and 3 are the same ones, within limits.
        organization = _ORGANIZATIONS[kind % 2]
        if kind < 2:
            admission.hold(organization, request, 1000)
        else:
            limits = LimitSet(organization, (Scope("key", "k", requests=1, slots=1),))
            admission.hold_limited(organization, request, 1000, Ticket(limits, 0), prepaid=True)
        await asyncio.sleep(0)
    calls = [asyncio.create_task(_call(holds)) for _ in range(case["calls"])]
    await quiet(lambda: (server.pulse, [request.results for request in asked]))
    server.close_all()
    while not (all(request.results for request in asked) and holds.ready):  # noqa: ASYNC110 - time is a number here.
        # Timers of the client, such as the one that waits before it connects again.
        await asyncio.sleep(0.01)
    for call in calls:
        await call
    assert all(len(request.results) == 1 for request in asked), "a hold was answered twice"
    assert not any(request.broken for request in asked), "a hold was answered with what nobody can read"
    assert admission.waiting == 0, f"{admission.waiting} holds are counted as waiting"
    assert await _ping(holds) == b"PONG", "the connection is out of step"
    await holds.close()
    listener.close()
    await quiet(lambda: server.pulse)


async def _ping(holds: Holds) -> object:
    """Asks until a connection lives long enough to answer."""
    while True:
        try:
            return await holds.pipe.call("PING")
        except RedisUnavailable:
            await asyncio.sleep(0.01)


async def _call(holds: Holds) -> None:
    """Calls as media-jobs does; fails as it is told to expect."""
    try:
        result = await holds.hold("org_1", "call", 1, 60)
        assert isinstance(result, HoldResult)
    except (RedisError, RedisUnavailable):
        pass


class _Asked:
    """A request that waits for its hold."""

    admission_deadline = float("inf")
    started_us = 0

    def __init__(self, number: int) -> None:
        self.ticket: Ticket | None = None
        self.hold_id, self.tries = f"req_{number}", 0
        self.results: list[HoldResult | None] = []
        self.broken = False

    def admitted(self, result: HoldResult | None) -> None:
        assert result is None or isinstance(result, HoldResult)
        if self.ticket is not None and result is not None:
            assert self.ticket.header_lines() is not None
            assert result not in {HoldResult.LIMITED, HoldResult.OVER_BUDGET} or self.ticket.refusal(0).status == 429
        self.results.append(result)

    def broke(self) -> None:
        # An error in `admitted` comes here, since it ends nothing else.
        self.broken = True
        self.results.append(None)


class _Server:
    def __init__(self, good: int, bad: list[bytes]) -> None:
        self._good, self._bad = good, bad
        self._open: list[_Connection] = []
        self.pulse = 0

    def connection(self) -> asyncio.Protocol:
        first = not self._open
        self._open.append(_Connection(self, self._good if first else -1, self._bad if first else []))
        return self._open[-1]

    def close_all(self) -> None:
        """Closes the bad connection, if it ever came so far."""
        self._open[0].close()


class _Connection(asyncio.Protocol):
    """Answers `good` commands as Redis does (-1: all of them), then sends the bad pieces."""

    def __init__(self, server: _Server, good: int, bad: list[bytes]) -> None:
        self._server, self._good, self._bad = server, good, bad
        self._commands = hiredis.Reader()
        self._spoilt = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._server.pulse += 1
        self._commands.feed(data)
        while command := self._commands.gets():
            if self._good == 0:
                if not self._spoilt:
                    self._spoilt = True
                    asyncio.get_running_loop().call_soon(self._send, self._bad)
                return
            self._good -= 1
            self._transport.write(_good_reply(command))

    def close(self) -> None:
        self._good = -1
        if self._spoilt:
            self._transport.close()

    def _send(self, rest: list[bytes]) -> None:
        self._server.pulse += 1
        if rest and not self._transport.is_closing():
            self._transport.write(rest[0])
            asyncio.get_running_loop().call_soon(self._send, rest[1:])


def _good_reply(command: list[bytes]) -> bytes:
    answers: dict[bytes, Callable[[], bytes]] = {
        b"SCRIPT": lambda: b"$40\r\n" + b"a" * 40 + b"\r\n",
        b"CONFIG": lambda: b"*2\r\n$16\r\nmaxmemory-policy\r\n$10\r\nnoeviction\r\n",
        b"INFO": lambda: b"$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n",
        b"PING": lambda: b"$4\r\nPONG\r\n",
        b"EVALSHA": lambda: _done(command[3 + int(command[2]) :]),
    }
    return answers[command[0].upper()]()


def _done(arguments: list[bytes]) -> bytes:
    """Returns what the admission script replies when everything went well: a list for each limited hold."""
    count = int(arguments[1])
    first = int(arguments[2 + 3 * count]) if len(arguments) > 2 + 3 * count else count
    limited = [place >= first and arguments[2 + 3 * place] == b"h" for place in range(count)]
    verdict = b"*9\r\n:1\r\n:7\r\n" + b":0\r\n" * 7
    return b"*%d\r\n" % count + b"".join(verdict if one else b":1\r\n" for one in limited)
