"""A proxy between client and gateway, set up in one of the ways in which people set them up wrong."""

import contextlib
import gzip
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HOP_BY_HOP = {"transfer-encoding", "content-length", "connection", "keep-alive", "date", "server"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_OPTIONS(self) -> None:
        self._serve()

    def _serve(self) -> None:
        fault = self.server.fault  # type: ignore[attr-defined]  # Set by `proxy`.
        if fault == "login":
            self._answer(302, [("location", "https://login.example/")], b"")
        elif fault == "web page":
            self._answer(200, [("content-type", "text/html")], b"<html>Welcome</html>")
        elif fault == "no upstream":
            self._answer(502, [("content-type", "text/html")], b"<html>Bad Gateway</html>")
        elif fault == "eats preflight" and self.command == "OPTIONS":
            self._answer(403, [], b"")
        else:
            self._forward(fault)

    def _forward(self, fault: str) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=120)  # type: ignore[attr-defined]  # As above.
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = dict(self.headers.items())
        if fault == "loses the key":
            headers.pop("authorization", None)
        with contextlib.closing(upstream):
            upstream.request(self.command, self.path.removeprefix("/gate"), body, headers)
            with upstream.getresponse() as reply:
                self._pass(fault, reply)

    def _pass(self, fault: str, reply: http.client.HTTPResponse) -> None:
        kept = [(name, value) for name, value in reply.getheaders() if name.lower() not in _HOP_BY_HOP]
        if fault == "own cors":
            kept.append(("access-control-allow-origin", "*"))
        if fault == "buffers" or reply.status == 204:
            self._answer(reply.status, kept, reply.read())
        elif fault == "compresses":
            self._answer(reply.status, [*kept, ("content-encoding", "gzip")], gzip.compress(reply.read()))
        elif fault == "cuts off":
            self._answer(reply.status, kept, reply.read()[:-20])
        else:
            self._stream(reply, kept)

    def _stream(self, reply: http.client.HTTPResponse, headers: list[tuple[str, str]]) -> None:
        self.send_response(reply.status)
        for name, value in [*headers, ("transfer-encoding", "chunked")]:
            self.send_header(name, value)
        self.end_headers()
        while piece := reply.read1(65536):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in [*headers, ("content-length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def proxy(target: str, fault: str) -> Iterator[str]:
    """Yields the address of a proxy to `target` with this fault, which also serves it below `/gate`; empty: none."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.target, server.fault = urlsplit(target).port, fault  # type: ignore[attr-defined]  # For the handler.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
