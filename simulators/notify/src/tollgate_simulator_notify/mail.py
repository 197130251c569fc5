"""A mail server as far as submission needs it: RFC 5321, STARTTLS of RFC 3207, AUTH PLAIN of RFC 4954."""

import base64
import email
import email.policy
import socketserver
import ssl
from typing import Any

from tollgate_simulator_notify.inbox import Inbox, Message

_MOST_LINE = 2_000
_MOST_LINES = 10_000


class MailServer(socketserver.ThreadingTCPServer):
    """`login` is user and password, empty for none; `tls` is asked for before anything else where it is set."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, inbox: Inbox, login: tuple[str, str], tls: ssl.SSLContext | None) -> None:
        self.inbox, self.login, self.tls = inbox, login, tls
        super().__init__(("127.0.0.1", port), _Session)


class _Session(socketserver.StreamRequestHandler):
    timeout = 30
    server: MailServer

    def handle(self) -> None:
        self.secure, self.known = self.server.tls is None, not self.server.login[0]
        self.sender, self.recipients = "", list[str]()
        self._say(220, "simulator ESMTP")
        while line := self.rfile.readline(_MOST_LINE):
            verb, _, rest = line.decode("ascii", "replace").strip().partition(" ")
            if verb.upper() == "QUIT":
                self._say(221, "bye")
                return
            self._do(verb.upper(), rest)

    def _do(self, verb: str, rest: str) -> None:
        if verb in {"EHLO", "HELO"}:
            abilities = ["simulator", *(["STARTTLS"] if not self.secure else []), "AUTH PLAIN", "8BITMIME"]
            for one in abilities[:-1]:
                self.wfile.write(f"250-{one}\r\n".encode())
            self._say(250, abilities[-1])
        elif verb == "STARTTLS" and self.server.tls is not None:
            self._say(220, "go ahead")
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
            self.setup()
            self.secure = True
        elif not self.secure:
            self._say(530, "Must issue a STARTTLS command first")
        elif verb == "AUTH":
            self._login(rest)
        elif not self.known:
            self._say(530, "Authentication required")
        elif verb == "MAIL":
            self.sender, self.recipients = _address(rest), []
            self._say(250, "ok")
        elif verb == "RCPT":
            self.recipients.append(_address(rest))
            self._say(250, "ok")
        elif verb == "DATA" and self.recipients:
            self._take()
        else:
            self._say(503 if verb == "DATA" else 502, "no")

    def _login(self, rest: str) -> None:
        method, _, given = rest.partition(" ")
        expected = base64.b64encode("\0".join(("", *self.server.login)).encode()).decode()
        self.known = method.upper() == "PLAIN" and given == expected
        self._say(*((235, "welcome") if self.known else (535, "Authentication credentials invalid")))

    def _take(self) -> None:
        self._say(354, "end with a dot")
        lines: list[bytes] = []
        while (line := self.rfile.readline(_MOST_LINE)) not in {b".\r\n", b""} and len(lines) < _MOST_LINES:
            lines.append(line.removeprefix(b"."))
        found = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        missing = [name for name in ("From", "To", "Subject", "Date", "Message-ID") if not found[name]]
        content: Any = found.get_body(("plain",))
        text = f"{found['Subject']}\n\n{content.get_content() if content is not None else ''}"
        problem = f"without {', '.join(missing)}" if missing else ""
        for recipient in self.recipients:
            self.server.inbox.add(Message(recipient, "mail", str(found["Message-ID"] or ""), text, problem))
        self._say(*((554, problem) if problem else (250, "taken")))

    def _say(self, code: int, words: str) -> None:
        self.wfile.write(f"{code} {words}\r\n".encode())


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]
