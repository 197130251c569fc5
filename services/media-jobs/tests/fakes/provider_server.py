"""A provider on loopback that speaks the images wire and keeps a ledger of what it accepted.

What it does with a request is said in the prompt: a word before the first colon, such as `cut: a fox`.
"""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .images import png


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        owner = self.server.owner
        with owner.lock:
            owner.ledger.append({"path": self.path, "auth": self.headers.get("authorization"), **body})
        what = body["prompt"].partition(":")[0]
        behave = getattr(self, f"_{what}", self._draw)
        owner.arrived.set()
        behave(body, owner)

    def do_GET(self):
        owner = self.server.owner
        with owner.lock:
            owner.fetched.append((self.path, self.headers.get("authorization")))
        status, body, headers = owner.pages.get(self.path, (404, b"gone", {}))
        self._reply(status, body, headers)

    def _draw(self, body, owner):
        data = [{"b64_json": base64.b64encode(png(4, 4, shade)).decode()} for shade in range(body["n"])]
        usage = {"input_tokens": 7, "output_tokens": 100, "input_tokens_details": {"text_tokens": 7, "image_tokens": 0}}
        self._json(200, {"created": 1, "data": data, "usage": usage})

    def _link(self, body, owner):
        self._json(200, {"data": [{"url": f"{owner.base_url}/picture.png"}]})

    def _page(self, body, owner):
        self._json(200, {"data": [{"url": body["prompt"].partition(":")[2].strip()}]})

    def _wait(self, body, owner):
        owner.release.wait(60)
        self._draw(body, owner)

    def _cut(self, body, owner):
        self.close_connection = True
        self.connection.shutdown(2)

    def _half(self, body, owner):
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b'{"data": [')
        self.close_connection = True

    def _silent(self, body, owner):
        owner.release.wait(60)
        self.close_connection = True

    def _bare(self, body, owner):
        self._reply(502, b"<html>bad gateway</html>", {"content-type": "text/html"})

    def _busy(self, body, owner):
        self._json(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, {"retry-after": "1"})

    def _invalid(self, body, owner):
        message = "size is wrong for org-abcdef123 at https://internal.example/x"
        self._json(400, {"error": {"message": message, "param": "size", "code": "invalid_value"}})

    def _rubbish(self, body, owner):
        self._json(200, {"data": [{"b64_json": base64.b64encode(b"<html>").decode()}]})

    def _json(self, status, document, headers=None):
        self._reply(status, json.dumps(document).encode(), {"content-type": "application/json"} | (headers or {}))

    def _reply(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class ProviderServer:
    def __init__(self):
        self.lock = threading.Lock()
        self.ledger, self.fetched, self.pages = [], [], {}
        self.arrived, self.release = threading.Event(), threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.pages["/picture.png"] = (200, png(8, 6, 3), {"content-type": "image/png"})
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def start(self):
        self._thread.start()

    def stop(self):
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def submits(self, prompt):
        with self.lock:
            return [entry for entry in self.ledger if entry["prompt"] == prompt]
