"""One reply on its way: the frames go out in order, and the faults that were asked for happen on the way."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tollgate_simulator_provider.bedrock import exception
from tollgate_simulator_provider.clouds import Cloud
from tollgate_simulator_provider.faults import LONGEST_SECONDS, NONE, Faults
from tollgate_simulator_provider.ledger import Ledger

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Cut(Exception):  # noqa: N818
    """The reply ends here, unfinished: the server closes the connection when the application returns."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Gate:
    """Where replies that are held wait. Opened, it lets those go on that were accepted before."""

    def __init__(self) -> None:
        self.times = 0
        self.next = asyncio.Event()

    def open(self) -> None:
        """Lets all go on who wait, or will wait and were accepted already."""
        self.times += 1
        self.next.set()
        self.next = asyncio.Event()


class Delivery:
    """Sends one reply and writes its lines of the ledger.

    The caller fills `model`, `stream`, `units` and `reported` in before `finish`.
    """

    def __init__(
        self, receive: Receive, send: Send, ledger: Ledger, operation: str, headers: dict[bytes, bytes], gate: Gate
    ) -> None:
        self._receive = receive
        self._send = send
        self._ledger = ledger
        self.operation = operation
        self._headers = headers
        self._gate, self._accepted = gate, gate.times
        self._gone: asyncio.Future[Message] | None = None
        self._started = time.time()
        self.transport: asyncio.Transport
        self.sequence = ledger.next_sequence()
        self.faults: Faults = NONE
        self.id = ""
        self.cloud: Cloud | None = None
        self.query = b""
        self.model = ""
        # What is asked of the model, where the path says it.
        self.verb = ""
        self.vendor = ""
        self.stream = False
        self.status = 0
        self.chunks = 0
        self.units: dict[str, int] = {}
        self.reported: object = None
        self._was_open = False
        self._written = False

    def accept(self) -> None:
        """Writes the first line of a reply that will wait, so that it is known even when the wait never ends."""
        if self.faults.paced:
            self._was_open = True
            self._ledger.write(self._entry("open"))

    async def head(self, status: int, headers: Headers) -> None:
        """Sends status and headers, after the silence asked for. Raises Cut."""
        if self.faults.drop:
            self.transport.abort()
            await self._receive()
            raise Cut("cut")
        await self.pause(self.faults.slow_headers)
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends a reply that is no stream. Raises Cut."""
        faults = self.faults
        length = len(body) + (7 if faults.short_length else 0)
        await self.head(status, [*headers, (b"content-length", b"%d" % length)])
        if faults.delay:
            await self._flush()
            await self.pause(faults.delay)
        if faults.hold >= 0:
            await self._send({"type": "http.response.body", "body": body[: faults.hold], "more_body": True})
            await self._hold()
            body = body[faults.hold :]
        for end, happens in ((faults.cut, self._cut), (faults.stall, self._stall)):
            if end >= 0:
                await self._send({"type": "http.response.body", "body": body[:end], "more_body": True})
                await happens()
        self.chunks = 1
        if not faults.short_length:
            self._complete()
        await self._send({"type": "http.response.body", "body": body, "more_body": faults.short_length})
        if faults.short_length:
            raise Cut("cut")

    async def chunk(self, data: bytes, *, last: bool = False) -> None:
        """Sends one chunk of a stream. Raises Cut."""
        faults = self.faults
        if self.chunks == faults.hold:
            await self._hold()
        if self.chunks == faults.cut:
            raise Cut("cut")
        if self.chunks == faults.stall:
            await self._stall()
        if self.chunks == faults.mid_error:
            error = MID_ERRORS.get(self.operation, MID_ERROR)
            await self._send({"type": "http.response.body", "body": error, "more_body": True})
            raise Cut("cut")
        if faults.gap_ms:
            await self.pause(faults.gap_ms / 1000)
        self.chunks += 1
        if last:
            self._complete()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """Ends a stream."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def pause(self, seconds: float) -> None:
        """Waits, and raises Cut when the client goes away meanwhile."""
        if seconds <= 0:
            return
        if self._gone is None:
            self._gone = asyncio.ensure_future(self._receive())
        done, _ = await asyncio.wait({self._gone}, timeout=seconds)
        if done:
            raise Cut("client_gone")

    def finish(self, outcome: str) -> None:
        """Writes the reply's last line of the ledger, unless it had to be there before the last bytes."""
        if self._gone is not None:
            self._gone.cancel()
        if not self._written:
            self._ledger.write(self._entry(outcome))

    def _complete(self) -> None:
        """Counts a whole answer before anybody has it: a kill between the two must not leave one that is not counted.

        A refusal is counted when it is over.
        """
        if self.status < 400:
            self._written = True
            self._ledger.write(self._entry("completed"))

    async def _flush(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": True})

    async def _cut(self) -> None:
        raise Cut("cut")

    async def _hold(self) -> None:
        """Waits until the gate is opened, and raises Cut when the client goes away meanwhile."""
        if self._gate.times > self._accepted:
            return
        if self._gone is None:
            self._gone = asyncio.ensure_future(self._receive())
        opened = asyncio.ensure_future(self._gate.next.wait())
        try:
            either: set[asyncio.Future[Any]] = {self._gone, opened}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
        if self._gone.done():
            raise Cut("client_gone")

    async def _stall(self) -> None:
        await self.pause(LONGEST_SECONDS)
        raise Cut("cut")

    def _entry(self, outcome: str) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "seq": self.sequence,
            "at": round(self._started, 6),
            "id": self.id,
            "operation": self.operation,
            "model": self.model,
            "stream": self.stream,
            "x_request_id": self._text(b"x-request-id"),
            "traceparent": self._text(b"traceparent"),
            "faults": self.faults.text,
            "status": self.status,
            "outcome": outcome,
            "chunks": self.chunks,
            "units": self.units,
            "reported": self.reported,
        }
        if self._was_open and outcome != "open":
            entry["was_open"] = True
        return entry

    def _text(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")


MID_ERRORS = {
    "converse": exception("throttlingException", "[simulated] Too many requests, please wait"),
    "messages": b"event: error\n"
    b'data: {"type":"error","error":{"type":"overloaded_error","message":"[simulated] Overloaded"}}\n\n',
    "responses": b"event: error\n"
    b'data: {"type":"error","sequence_number":9,"error":{"type":"server_error","code":"server_error",'
    b'"message":"[simulated] The server had an error while processing your request","param":null}}\n\n',
    "contents": b'data: {"error":{"code":503,"message":"[simulated] Overloaded","status":"UNAVAILABLE"}}\r\n\r\n',
}
MID_ERROR = (
    b'data: {"error":{"message":"[simulated] The server had an error while processing your request",'
    b'"type":"server_error","param":null,"code":null}}\n\n'
)
