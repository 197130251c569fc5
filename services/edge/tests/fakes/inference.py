"""A router's stream, money and keys for the door, in memory, and a server that the door answers on."""

import asyncio
import contextlib
import json
import random
import socket
from types import SimpleNamespace

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.events.v1.refused_pb2 import RequestsRefused
from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.api.server import PublicServer
from tollgate_edge.domain.principal import Principal
from tollgate_edge.inference.access_log import new_access_log
from tollgate_edge.inference.door import door_class
from tollgate_edge.inference.gateway import InferenceGateway
from tollgate_edge.inference.guarding import guarded
from tollgate_edge.inference.refused_log import TOPIC, RefusedLog
from tollgate_edge.ports import EdgeModel, EdgeVersion, Refused
from tollgate_edge.settings import EdgeSettings
from tollgate_edge.telemetry import InferenceCounters
from tollgate_holds import HoldResult
from tollgate_kit.clock import SystemClock
from tollgate_kit.event_log import EventLogUnavailable
from tollgate_kit.tracing import NoTracing
from tollgate_rating import PriceBook, PriceTable

KEY = "a-key"
MODEL = "a-model"
UNPRICED = "a-model-without-a-price"
PRICES = {
    MODEL: {"input": "1", "output": "2"},
    "vectors": {"input": "1"},
    "hears": {"audio_second": "0.001"},
    "speaks": {"character": "1"},
    "ranks": {"search": "0.002"},
    "dear": {"input": "1", "output": "3000000"},
}
KINDS = {"vectors": "embedding", "hears": "transcription", "speaks": "speech", "ranks": "rerank"}
PATIENCE_SECONDS = 60


class FakeStream:
    """Takes the frames of one Exchange stream; a test answers with `reply` or `deliver`."""

    def __init__(self):
        self.pending = {}
        self.opened = asyncio.Queue()
        self.bodies, self.credits, self.cancels, self.acks, self.kept = [], [], [], [], []
        self.sent_bytes = 0
        self.closed = self.draining = False
        self.changed = asyncio.Event()
        self.outbox = SimpleNamespace(
            open=self._open,
            body=lambda frame_id, data: self._note(self.bodies, (frame_id, data)),
            credit=lambda frame_id, size: self._note(self.credits, (frame_id, size)),
            cancel=lambda frame_id, reason: self._note(self.cancels, (frame_id, reason)),
            ack=lambda frame_id: self._note(self.acks, frame_id),
            keep=lambda frame_id: self._note(self.kept, frame_id),
        )

    def _open(self, size, common, **fields):
        frame = wire.Open(**fields)
        frame.MergeFromString(common)
        self.take(frame)

    def take(self, frame):
        """Gets a request that edge opened."""
        self.opened.put_nowait(frame)

    def _note(self, notes, note):
        notes.append(note)
        self.changed.set()

    def open(self, pending):
        frame_id = len(self.pending) + 1
        self.pending[frame_id] = pending
        return frame_id

    async def next(self):
        """Returns the next Open."""
        return await asyncio.wait_for(self.opened.get(), PATIENCE_SECONDS)

    def head(self, frame_id, content_type=b"application/json"):
        header = wire.Header(name=b"content-type", value=content_type)
        self.pending[frame_id].deliver(wire.Head(id=frame_id, status=200, headers=[header]), b"", None)

    def data(self, frame_id, data):
        self.sent_bytes += len(data)
        self.pending[frame_id].deliver(None, data, None)

    def end(self, frame_id, *, charge_pico=7, error=None, unrecorded=False):
        end = wire.End(id=frame_id, outcome=wire.OUTCOME_OK, charge_pico=charge_pico, unrecorded=unrecorded)
        if error is not None:
            end.outcome = wire.OUTCOME_REFUSED if unrecorded else wire.OUTCOME_UPSTREAM_ERROR
            end.error.kind = error
        self.pending[frame_id].deliver(None, b"", end)

    def reply(self, frame_id, body):
        """Answers as a whole, in one batch."""
        head = wire.Head(
            id=frame_id, status=200, headers=[wire.Header(name=b"content-type", value=b"application/json")]
        )
        end = wire.End(id=frame_id, outcome=wire.OUTCOME_OK, charge_pico=7)
        self.pending[frame_id].deliver(head, body, end)

    def lose(self):
        """The router's process vanishes."""
        self.closed = True
        for pending in list(self.pending.values()):
            guarded(pending, pending.lost)


class FakePool:
    def __init__(self, *streams):
        self.streams = list(streams)
        self.connected = 1

    def pick(self, exclude=None):
        return next((one for one in self.streams if one is not exclude and not one.closed), None)


class FakeAdmission:
    """Holds everything, unless `result` says otherwise, or for the next ones `results`.

    It answers in a later turn of the loop, as Redis does.
    """

    def __init__(self):
        self.result = HoldResult.DONE
        self.results, self.amounts = [], []
        self.held, self.settled, self.forgotten, self.renewed = [], [], [], []
        self.limited, self.ended = [], []
        self.verdict = [1, 1_764_000_000, 0, 0, 0, 0, 0, 0, 0]
        self.gate = None
        self.wallet = None

    def hold(self, organization, request, amount_pico):
        self.held.append(request.hold_id)
        self.amounts.append(amount_pico)
        if self.gate is None:
            result = self.results.pop(0) if self.results else self.result
            asyncio.get_running_loop().call_soon(guarded, request, request.admitted, result)
        else:
            self.gate.append(request)

    def hold_limited(self, organization, request, amount_pico, ticket, *, prepaid):
        request.ticket = ticket
        ticket.verdict = self.verdict
        self.result = HoldResult(self.verdict[0])
        self.limited.append((request.hold_id, ticket.tokens, prepaid))
        self.hold(organization, request, amount_pico)

    async def left(self, organization):
        return self.wallet

    def settle(self, organization, hold_id, cost_pico, ticket=None, tokens=0):
        self.settled.append((hold_id, cost_pico) if ticket is None else (hold_id, cost_pico, tokens))

    def forget(self, organization, hold_id, ticket=None):
        self.forgotten.append(hold_id)

    def renew(self, organization, hold_id, ticket=None):
        self.renewed.append(hold_id)

    def end(self, organization, hold_id, ticket):
        self.ended.append(hold_id)

    def expire(self, now):
        pass


class FakeKeys:
    def __init__(self):
        self.principal = Principal("key_1", "org_1", "prj_1", "default", "default", None, is_operator=False)
        self.refused = Refused("Not a key of this gateway.")

    def cached(self, presented):
        return self.principal if presented == KEY.encode() else self.refused

    async def authenticate(self, presented):
        return self.cached(presented)


class FakeEventLog:
    """Takes records by topic; `away` makes it refuse them."""

    def __init__(self):
        self.records, self.away = [], False

    async def send(self, topic, records):
        if self.away:
            raise EventLogUnavailable("away")
        self.records += [(topic, record) for record in records]


class FakeWitness:
    def __init__(self):
        self.records = []

    def has_room(self):
        return True

    def flush(self):
        pass

    def record(self, exchange, delivered, version):
        self.records.append((exchange.request_id, exchange.tries, delivered))


class Bench:
    """The door on a real port over uvicorn, with everything behind it in reach of the test."""

    def __init__(self, *, tracing=None, witness=None, **settings):
        names = ("grpc_address", "router_addresses", "billing_address", "media_address")
        where = dict.fromkeys(names, "unix:/nowhere") | {"redis_url": "unix:///nowhere"}
        stores = dict.fromkeys(("database_url", "event_log_url"), "sqlite:////nowhere")
        stores |= {"spool_directory": "", "pepper_file": ""}
        self.stream, self.spare = FakeStream(), FakeStream()
        self.admission, self.witness = FakeAdmission(), witness or FakeWitness()
        self.counters, self.keys = InferenceCounters(), FakeKeys()
        self.settings = EdgeSettings(**{**where, **stores, **settings})
        self.written, self.event_log = [], FakeEventLog()
        models = {name: EdgeModel(name, KINDS.get(name, "chat"), "tests", 0) for name in PRICES}
        models[UNPRICED] = EdgeModel(UNPRICED, "chat", "tests", 0)
        prices = PriceTable([PriceBook(name="public", effective_us=0, currency="USD", models=PRICES)])
        self.version = EdgeVersion("sha256:0", 1, prices, {"default": models})
        self.gateway = InferenceGateway(
            settings=self.settings,
            clock=SystemClock(),
            authenticator=self.keys,
            version=SimpleNamespace(current=lambda: self.version),
            admission=self.admission,
            witness=self.witness,
            tracing=tracing or NoTracing(),
            random_source=random.Random(),
            counters=self.counters,
            access_log=new_access_log(
                self.settings.access_log,
                self.settings.access_log_sample_ratio,
                self.settings.access_log_lines_per_second,
                self.written.append,
            ),
            refused_log=RefusedLog(self.event_log, self.settings.request_log_rows_per_second),
        )
        if "router_addresses" not in settings:
            self.pool = self.gateway.pool = FakePool(self.stream)
        self.app_calls, self.app_padding = [], 0
        self.app_gate = asyncio.Event()
        self.app_gate.set()
        self.clients = []

    async def _app(self, scope, receive, send):
        """Stands for FastAPI: says which path it was asked for and how long the body was."""
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        self.app_calls.append(scope["path"])
        await self.app_gate.wait()
        body = json.dumps({"app": scope["path"], "size": size}).encode() + b" " * self.app_padding
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    @contextlib.asynccontextmanager
    async def serving(self):
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        settings = self.gateway.settings
        server = self.server = PublicServer(
            self._app,
            listener,
            door_class(self.gateway),
            keep_alive_seconds=60,
            drain_seconds=settings.drain_seconds,
            idle_seconds=settings.drain_idle_seconds,
        )
        await server.start()
        self.began = self.gateway.loop.time()
        try:
            yield self
        finally:
            await self.close_clients()
            await server.drain()

    async def drain(self):
        """Begins to drain as a process does whose notice is over, and returns the task."""
        self.gateway.closing = self.gateway.draining = True
        draining = asyncio.create_task(self.server.drain())
        await asyncio.sleep(0)
        return draining

    def access_lines(self):
        """Returns what the access log says of each request so far."""
        self.gateway.access_log.flush()
        return [json.loads(line) for line in b"".join(self.written).splitlines()]

    async def refused_rows(self):
        """Returns what the request log has been sent of each refused request so far."""
        await self.gateway.refused_log.flush()
        assert {topic for topic, _ in self.event_log.records} <= {TOPIC}
        sent = [RequestsRefused.FromString(record.value) for _, record in self.event_log.records]
        return [row for one in sent for row in one.requests]

    def later(self, seconds):
        """Sweeps as if so much time had passed."""
        self.gateway.sweep(self.gateway.loop.time() + seconds)

    def no_later(self, seconds):
        """Sweeps as if no more time had passed since all that happened so far, however slowly it did."""
        self.gateway.sweep(self.began + seconds)

    async def client(self, **options):
        made = await Client.open(self.port, **options)
        self.clients.append(made)
        return made

    async def close_clients(self):
        for client in self.clients:
            await client.close()


class Client:
    """A client that writes bytes and reads replies one after the other."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port, *, receive_buffer=0):
        raw = socket.socket()
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=raw, limit=2**26 if not receive_buffer else 2**14))

    @property
    def socket(self):
        return self.writer.get_extra_info("socket")

    def unread(self):
        """Returns how many bytes came that nobody has read."""
        return len(self.reader._buffer)

    def send(self, data):
        self.writer.write(data)

    async def reply(self):
        """Returns (status, headers, body) of the next reply, informational ones included."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = head[:-4].split(b"\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
            status = int(lines[0].split(b" ")[1])
            if status < 200:
                body = b""
            elif headers.get(b"transfer-encoding") == b"chunked":
                body = await self._chunks()
            elif b"content-length" in headers:
                body = await self.reader.readexactly(int(headers[b"content-length"]))
            else:
                body = await self.reader.read()
            return status, headers, body

    async def _chunks(self):
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def until(self, text):
        """Reads until `text`."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.readuntil(text)

    async def rest_of_stream(self):
        """Returns what comes until a chunked reply ends."""
        found = b""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not found.endswith(b"\r\n0\r\n\r\n"):
                piece = await self.reader.read(65_536)
                assert piece, "the reply broke off"
                found = found[-16:] + piece
        return found

    async def rest(self):
        """Returns what comes until the server closes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.read()

    async def close(self):
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def chat(*, stream=False, path="/v1/chat/completions", key=KEY, body=None, version="1.1", extra="", model=MODEL):
    """Returns the bytes of a chat request."""
    if body is None:
        body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = f"POST {path} HTTP/{version}\r\nHost: t\r\nAuthorization: Bearer {key}\r\n{extra}"
    if "ontent-" not in extra and "ransfer-" not in extra:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def get(path="/healthz"):
    return f"GET {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode()


async def eventually(condition):
    """Waits until `condition` holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is waited for happens behind a port.
            await asyncio.sleep(0.005)


UPSTREAM_CUT = errors.ERROR_KIND_UPSTREAM_CUT
