"""The HTTP side, and what starts both."""

import argparse
import json
import ssl
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tollgate_simulator_notify.checks import CHECKS, Asked
from tollgate_simulator_notify.inbox import Inbox, Message, Receiver
from tollgate_simulator_notify.mail import MailServer

_MOST_BODY = 1_000_000
_MOST_WAIT = 120.0
# Whose name is in the query and not in the path.
_NAMED_IN_QUERY = {"wecom": "key", "dingtalk": "access_token"}


class NotifyServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, inbox: Inbox) -> None:
        self.inbox = inbox
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: NotifyServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library names it.
        """Says nothing: URLs are secrets here."""

    def do_GET(self) -> None:
        """Lists what came."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path != "/_messages":
            self._answer(404, b"{}")
            return
        seconds = min(_MOST_WAIT, float(query.get("seconds", "0")))
        items = self.server.inbox.list(query.get("receiver", ""), int(query.get("wait", "0")), seconds)
        self._answer(200, json.dumps({"items": items}, ensure_ascii=False).encode())

    def do_POST(self) -> None:
        """Takes a message, or what is to be simulated."""
        body = self.rfile.read(min(_MOST_BODY, int(self.headers.get("content-length") or 0)))
        parts = urlsplit(self.path)
        if parts.path.startswith("/_"):
            self._simulate(parts.path, json.loads(body))
            return
        kind = parts.path.strip("/").partition("/")[0]
        name = parts.path.strip("/").rpartition("/")[2]
        if kind in _NAMED_IN_QUERY:
            name = parse_qs(parts.query).get(_NAMED_IN_QUERY[kind], [""])[0]
        receiver = self.server.inbox.receivers.get(name)
        if receiver is None or receiver.kind != kind:
            self._answer(404, b'{"errcode":93000,"errmsg":"invalid webhook url"}')
            return
        headers = {key.lower(): value for key, value in self.headers.items()}
        self._take(name, receiver, Asked(parts.query, headers, body, time.time()))

    def _take(self, name: str, receiver: Receiver, asked: Asked) -> None:
        fault = self.server.inbox.fault(receiver)
        if fault is not None and fault[0]:
            self._answer(fault[0], b'{"errcode":-1,"errmsg":"simulated"}', retry_after=fault[1])
            return
        found = CHECKS[receiver.kind](asked, receiver.secret)
        self.server.inbox.add(Message(name, receiver.kind, found.id, found.text, found.problem))
        if fault is not None:
            self.close_connection = True
            return
        self._answer(found.status, found.answer)

    def _simulate(self, path: str, asked: dict[str, Any]) -> None:
        receivers = self.server.inbox.receivers
        if path == "/_receivers" and asked["kind"] in CHECKS:
            receivers[asked["name"]] = Receiver(asked["kind"], asked.get("secret", ""))
        elif path == "/_faults" and asked["receiver"] in receivers:
            fault = (int(asked["status"]), int(asked.get("retry_after", 0)))
            receivers[asked["receiver"]].faults = [fault] * int(asked.get("count", 1))
        else:
            self._answer(404, b"{}")
            return
        self._answer(200, b"{}")

    def _answer(self, status: int, body: bytes, retry_after: int = 0) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        if retry_after:
            self.send_header("retry-after", str(retry_after))
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)


def run(arguments: Sequence[str]) -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(prog="tollgate_simulator_notify")
    parser.add_argument("--http-port", type=int, default=8095)
    parser.add_argument("--smtp-port", type=int, default=8025)
    parser.add_argument("--smtp-user", default="")
    parser.add_argument("--smtp-password", default="")
    parser.add_argument("--smtp-certificate", default="")
    parser.add_argument("--smtp-key", default="")
    parser.add_argument("--http-certificate", default="")
    parser.add_argument("--http-key", default="")
    asked = parser.parse_args(arguments)
    inbox = Inbox()
    login = (asked.smtp_user, asked.smtp_password)
    mail = MailServer(asked.smtp_port, inbox, login, _tls(asked.smtp_certificate, asked.smtp_key))
    threading.Thread(target=mail.serve_forever, daemon=True).start()
    server = NotifyServer(asked.http_port, inbox)
    tls = _tls(asked.http_certificate, asked.http_key)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def _tls(certificate: str, key: str) -> ssl.SSLContext | None:
    if not certificate:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key or None)
    return made
