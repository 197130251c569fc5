"""Providers that break the rules of the wire, each by a word in the prompt: raw sockets, since no HTTP server would."""

import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Self

REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
BODY = json.dumps(REPLY).encode()
# What a caller must never see of a provider.
SECRET_HOST = "provider-7.internal.example.cloud"
TRACE = "Traceback (most recent call last)"


def _head(*lines: bytes, status: bytes = b"200 OK") -> bytes:
    # The connection closes after each reply and says so: one that closes under the next request is another case.
    fixed = (b"content-type: application/json", b"connection: close")
    return b"\r\n".join([b"HTTP/1.1 " + status, *fixed, *lines, b"", b""])


def chunk(text: str) -> bytes:
    """Returns a chunk of a stream in its framing."""
    delta = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    data = b"data: %s\n\n" % json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [delta]}).encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


_BEFORE_CONTENT = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
)
_STREAM = _BEFORE_CONTENT + chunk("one ") + chunk("two ")


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_LAST = [
    {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"id": "c", "choices": [], "usage": REPLY["usage"]},
]
_WHOLE_STREAM = _STREAM + _chunked(
    b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in _LAST) + b"data: [DONE]\n\n"
)
_JSON_IN_CHUNKS = _head(b"transfer-encoding: chunked")
# A trailer that is cut, breaks the rules, or never ends.
_TRAILERS = {
    "cuts-the-trailer": b"0\r\nx-a: 1\r\n",
    "breaks-the-trailer": b"0\r\nno colon\r\n\r\n",
    "endless-trailer": b"0\r\n" + b"".join(b"x-%d: %s\r\n" % (i, b"y" * 1000) for i in range(400)),
}
_PACKED = gzip.compress(BODY, mtime=0)
_HTML = f"<html><body>{SECRET_HOST} 10.1.2.3:8080 {TRACE}</body></html>".encode()
_SAID = json.dumps(
    {"error": {"message": f"no such thing at http://{SECRET_HOST}/v1, 10.1.2.3:80, key sk-abcdef123456", "type": "x"}}
).encode()

# Word in the prompt → what is sent before the connection is closed.
FAULTS: dict[str, bytes] = {
    "announces-more": _head(b"content-length: %d" % (len(BODY) + 100)) + BODY,
    "announces-less": _head(b"content-length: %d" % (len(BODY) - 10)) + BODY,
    "two-lengths": _head(b"content-length: %d" % len(BODY), b"content-length: 3") + BODY,
    "both-framings": _head(b"content-length: 5", b"transfer-encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
    "answers-html": _head(b"content-length: %d" % len(_HTML)) + _HTML,
    "refuses-in-html": _head(b"content-length: %d" % len(_HTML), status=b"502 Bad Gateway") + _HTML,
    "says-too-much": _head(b"content-length: %d" % len(_SAID), status=b"400 Bad Request") + _SAID,
    "no-http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "says-nothing": b"",
    "cuts-the-head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "cuts-the-body": _head(b"content-length: %d" % len(BODY)) + BODY[:20],
    "cuts-the-stream": _STREAM,
    # Longer than one read, so that the beginning has been passed on when the framing breaks.
    "breaks-the-stream": _STREAM + chunk("x" * 1000) * 600 + b"zz\r\n",
    "empty": _head(b"content-length: 0"),
    "endless-head": _head(*[b"x-%d: %s" % (i, b"y" * 1000) for i in range(400)]),
    "cuts-a-chunk": _JSON_IN_CHUNKS + b"%x\r\n" % len(BODY) + BODY[:20],
    "breaks-a-chunk": _JSON_IN_CHUNKS + _chunked(BODY[:20]) + b"zz\r\n",
    "cuts-before-the-first-chunk": _BEFORE_CONTENT,
    "breaks-before-the-first-chunk": _BEFORE_CONTENT + b"zz\r\n",
    "only-informational": b"HTTP/1.1 102 Processing\r\n\r\n" * 3,
    "no-status": b"HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n",
    "broken-gzip": _head(b"content-encoding: gzip", b"content-length: %d" % len(BODY)) + BODY,
    "cuts-gzip": _head(b"content-encoding: gzip", b"content-length: %d" % (len(_PACKED) - 9)) + _PACKED[:-9],
    "unknown-encoding": _head(b"content-encoding: rot13", b"content-length: %d" % len(BODY)) + BODY,
    "huge-chunk": _JSON_IN_CHUNKS + b"f" * 20 + b"\r\n" + BODY,
    "cuts-within-a-chunk-of-the-stream": _STREAM + b"40\r\ndata: {",
    **{word: _JSON_IN_CHUNKS + _chunked(BODY) + tail for word, tail in _TRAILERS.items()},
    **{f"{word}-of-the-stream": _WHOLE_STREAM + tail for word, tail in _TRAILERS.items()},
}
# Words whose connection stays open in silence after what is sent, until the other side closes.
STALLS: dict[str, bytes] = {
    "stalls-at-once": b"",
    "stalls-in-the-head": b"HTTP/1.1 200 OK\r\n",
    "stalls-in-the-body": _head(b"content-length: %d" % len(BODY)) + BODY[:20],
    "stalls-in-the-stream": _STREAM,
    "stalls-in-a-chunk": _JSON_IN_CHUNKS + b"%x\r\n" % len(BODY) + BODY[:20],
    "stalls-before-the-first-chunk": _BEFORE_CONTENT,
    "stalls-in-the-trailer": _JSON_IN_CHUNKS + _chunked(BODY) + b"0\r\nx-a: 1\r\n",
    "stalls-in-the-trailer-of-the-stream": _WHOLE_STREAM + b"0\r\nx-a: 1\r\n",
}
# Words whose connection is reset after what is sent, as by a host that fell over.
RESETS: dict[str, bytes] = {
    "resets-at-once": b"",
    "resets-in-the-head": b"HTTP/1.1 200 OK\r\n",
    "resets-in-the-body": _head(b"content-length: %d" % len(BODY)) + BODY[:20],
    "resets-in-a-chunk": _JSON_IN_CHUNKS + b"%x\r\n" % len(BODY) + BODY[:20],
    "resets-the-stream": _STREAM,
}
# Words whose fault comes when the beginning of the stream has been read, where there are readers to say so.
AFTER_THE_BEGINNING = {
    "cuts-the-stream",
    "resets-the-stream",
    "breaks-the-stream",
    "cuts-within-a-chunk-of-the-stream",
    "cuts-the-trailer-of-the-stream",
    "endless-trailer-of-the-stream",
}
# What a provider without fault sends, by whether a stream was asked for.
WELL = {False: _head(b"content-length: %d" % len(BODY)) + BODY, True: _WHOLE_STREAM + b"0\r\n\r\n"}


class RawServer:
    """Listens on a port of its own; a thread for each connection, which is handed to `serve` and closed after it.

    `serve` may raise OSError: the other side is gone. `host` may be an IPv6 address.
    """

    def __init__(self, serve: Callable[[socket.socket], None], host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._serve_one = serve
        self._listener = socket.create_server((host, port), family=family, backlog=512)
        self.port = self._listener.getsockname()[1]
        self.open = 0
        self.accepted = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def start(self) -> Self:
        """Begins to accept."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Accepts no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.open += 1
                self.accepted += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(60)
                self._serve_one(connection)
        finally:
            with self._lock:
                self.open -= 1


def read_request(connection: socket.socket) -> bytes:
    """Returns the next request, head and body; nothing when the other side closed before it was whole."""
    data = b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < _length(data):
        part = connection.recv(65_536)
        if not part:
            return b""
        data += part
    return data


class Readers:
    """Who has read the first of a stream, by model: a fault that is to come after it waits for that."""

    def __init__(self) -> None:
        self._events: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    def has_read(self, model: str) -> None:
        """Tells that the beginning has arrived."""
        self._events[model].set()

    def wait(self, model: str) -> None:
        """Returns when it has. Raises OSError when it never does."""
        if not self._events[model].wait(60):
            raise TimeoutError(f"nobody read the beginning of {model}")


class FaultyProvider(RawServer):
    """Serves one request a connection: the fault that its prompt names.

    With `readers`, what was delivered before a stream breaks is no matter of chance: the fault waits for its reader.
    """

    def __init__(self, readers: Readers | None = None) -> None:
        super().__init__(self._fault)
        self.seen: list[str] = []
        self._readers = readers

    def _fault(self, connection: socket.socket) -> None:
        request = read_request(connection)
        if not request:
            return
        body = json.loads(request.partition(b"\r\n\r\n")[2])
        word = str(body["prompt"] if "prompt" in body else body["messages"][-1]["content"])
        with self._lock:
            self.seen.append(word)
        data = FAULTS.get(word) or STALLS.get(word) or RESETS.get(word, b"")
        begin = next((len(one) for one in (_WHOLE_STREAM, _STREAM) if data.startswith(one)), 0)
        if self._readers is not None and word in AFTER_THE_BEGINNING:
            connection.sendall(data[:begin])
            self._readers.wait(body["model"])
            data = data[begin:]
        connection.sendall(data)
        if word in RESETS:
            reset(connection)
        if word in STALLS:
            # The other side gives up, and closes.
            connection.recv(1)


def reset(connection: socket.socket) -> None:
    """Ends a connection without a word of goodbye; what was sent may or may not arrive."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def answer_well(connection: socket.socket) -> None:
    """Serves the requests of a connection as a provider should; the reply says that the connection ends."""
    request = read_request(connection)
    if request:
        connection.sendall(WELL[bool(json.loads(request.partition(b"\r\n\r\n")[2]).get("stream"))])


def _length(data: bytes) -> int:
    for line in data.partition(b"\r\n\r\n")[0].lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


class FullPort:
    """A TCP port whose backlog is full, so that a connection to it is never established."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.port = self._listener.getsockname()[1]
        self._fill: list[socket.socket] = []

    def start(self) -> None:
        """Fills the backlog."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            probe = socket.socket()
            probe.settimeout(0.3)
            self._fill.append(probe)
            try:
                probe.connect(("127.0.0.1", self.port))
            except TimeoutError:
                return

    def stop(self) -> None:
        """Lets go of the port."""
        for one in [*self._fill, self._listener]:
            one.close()
