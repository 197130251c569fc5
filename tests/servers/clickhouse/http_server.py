"""The HTTP interface of ClickHouse over chDB: what `clickhouse-connect` needs of it.

It proves our SQL and the wire path. It does not prove ClickHouse's own server: there are no users but one, no row
policies or quotas, no replication, no native protocol, and a reply is made whole before it is sent.

Run as `python -m tests.servers.clickhouse.http_server DIRECTORY PORT USER PASSWORD`.
"""

import argparse
import base64
import contextlib
import gzip
import json
import re
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import chdb
import lz4.frame
from backports import zstd

AUTHENTICATION_FAILED = 516
SESSION_IS_LOCKED = 373
# Status by exception code, where it is not 500; as the real server does.
STATUSES = {
    36: 400, 46: 404, 47: 404, 60: 404, 62: 400, 81: 404, 117: 400,
    164: 403, 241: 500, 394: 500, AUTHENTICATION_FAILED: 403, 497: 403,
}  # fmt: skip
# Parameters of the interface itself; all others are settings of the query.
INTERFACE = {
    "query", "database", "user", "password", "session_id", "session_timeout", "session_check", "query_id", "quota_key",
    "role", "compress", "decompress", "wait_end_of_query", "buffer_size", "client_protocol_version", "default_format",
    "enable_http_compression", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
}  # fmt: skip
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": zstd.decompress,
}
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstd.compress,
    "lz4": lz4.frame.compress,
    "gzip": gzip.compress,
}
INSERT_WITH_DATA = re.compile(
    rb"\A\s*(?P<into>INSERT\s+INTO\s+(?:[^'\"]|'[^']*'|\"[^\"]*\")*?)"
    rb"(?P<settings>\sSETTINGS\s(?:[^'\"]|'[^']*')*?)?\sFORMAT\s+(?P<format>(?!VALUES\b)\w+)[ \t]*;?\r?\n?",
    re.IGNORECASE,
)
TRAILING_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*\Z", re.IGNORECASE)
SETTING_NAME = re.compile(r"\A[A-Za-z_]\w*\Z")
CODE = re.compile(r"Code: (\d+)")
LARGEST_BODY = 512 * 1024 * 1024


class QueryError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Reply:
    body: bytes
    format: str
    read_rows: int
    written_rows: int


class Engine:
    """One chDB directory. Each request gets a handle of its own, so that settings and databases never leak."""

    def __init__(self, directory: Path) -> None:
        self._directory = str(directory)
        # While this file is there, every query runs as that of a user who may only read.
        self._read_only = directory.with_name("read-only")
        # The engine lives as long as one handle is open.
        self._keeper = chdb.connect(self._directory)
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self.timezone = self._keeper.query("SELECT timezone()", "TabSeparated").bytes().decode().strip()

    def close(self) -> None:
        """Closes the directory."""
        self._keeper.close()

    @contextlib.contextmanager
    def session(self, name: str) -> Iterator[None]:
        """Refuses a second query of a session that runs one, as the real server does."""
        with self._lock:
            if name and name in self._busy:
                raise QueryError(SESSION_IS_LOCKED, f"Code: 373. DB::Exception: Session {name} is locked by a query.")
            self._busy.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(name)

    def run(self, statement: bytes, parameters: dict[str, str]) -> Reply:
        """Runs one statement, which may carry data after it. Raises QueryError."""
        handle = chdb.connect(self._directory)
        try:
            if parameters.get("database"):
                handle.query(f"USE {_identifier(parameters['database'])}")
            for name, value in parameters.items():
                if name not in INTERFACE and not name.startswith("param_"):
                    if not SETTING_NAME.match(name):
                        raise QueryError(115, f"Code: 115. DB::Exception: Unknown setting '{name}'")
                    handle.query(f"SET {name} = {_string(value)}")
            if self._read_only.exists() and "readonly" not in parameters:
                handle.query("SET readonly = 1")
            bound = {name[6:]: value for name, value in parameters.items() if name.startswith("param_")}
            insert = INSERT_WITH_DATA.match(statement)
            if insert is not None:
                return self._insert(handle, insert, statement[insert.end() :])
            return self._query(handle, statement.decode(), parameters.get("default_format", "TabSeparated"), bound)
        except chdb.ChdbError as error:
            found = CODE.search(str(error))
            raise QueryError(int(found[1]) if found else 1002, str(error)) from error
        finally:
            handle.close()

    def _query(self, handle: Any, statement: str, default_format: str, bound: dict[str, str]) -> Reply:
        named = TRAILING_FORMAT.search(statement)
        result = handle.query(statement, default_format, params=bound) if bound else handle.query(
            statement, default_format
        )  # fmt: skip
        body = result.bytes() if result is not None else b""
        rows = (result.rows_read(), result.rows_written()) if result is not None else (0, 0)
        return Reply(bytes(body or b""), named[1] if named else default_format, *rows)

    def _insert(self, handle: Any, insert: re.Match[bytes], data: bytes) -> Reply:
        """Data goes through a file: a handle takes text only."""
        with tempfile.NamedTemporaryFile(suffix=".data") as file:
            file.write(data)
            file.flush()
            result = handle.query(
                f"{insert['into'].decode()} FROM INFILE {_string(file.name)}"
                f"{(insert['settings'] or b'').decode()} FORMAT {insert['format'].decode()}"
            )
        return Reply(b"", "", 0, result.rows_written() if result is not None else 0)


def _identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _string(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port: int, engine: Engine, user: str, password: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.engine = engine
        self.credentials = (user, password)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # A reply leaves in one write; two small ones would wait for the client's delayed acknowledgement.
    wbufsize = 1 << 20
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *arguments: object) -> None:
        """Says nothing about requests that went well."""

    def do_GET(self) -> None:
        """`/ping` and `/` say that the server runs; everything else is a query."""
        address = urlsplit(self.path)
        if address.path in {"/ping", "/replicas_status"} or (address.path == "/" and not address.query):
            self._send(200, b"Ok.\n", {"Content-Type": "text/html; charset=UTF-8"})
        else:
            self._answer(b"")

    def do_POST(self) -> None:
        """A query, in `query`, in the body, or in both."""
        body = self._body()
        if body is not None:
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        started = time.monotonic()
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):
            # Parameters that are too long for the address.
            parameters |= _form(kind, body)
            body = b""
        query_id = parameters.get("query_id") or str(uuid.uuid4())
        headers = {"X-ClickHouse-Query-Id": query_id, "X-ClickHouse-Timezone": self.server.engine.timezone}
        try:
            self._authenticate(parameters)
            statement = parameters.get("query", "").encode()
            statement = statement + b"\n" + body if statement and body else statement or body
            with self.server.engine.session(parameters.get("session_id", "")):
                reply = self.server.engine.run(statement, parameters)
        except QueryError as error:
            headers["X-ClickHouse-Exception-Code"] = str(error.code)
            self._send(STATUSES.get(error.code, 500), f"{error}\n".encode(), headers)
            return
        headers["X-ClickHouse-Summary"] = json.dumps(
            {
                "read_rows": str(reply.read_rows),
                "written_rows": str(reply.written_rows),
                "elapsed_ns": str(int((time.monotonic() - started) * 1e9)),
            }
        )
        if reply.format:
            headers["X-ClickHouse-Format"] = reply.format
        headers["Content-Type"] = "text/plain; charset=UTF-8"
        self._send(200, self._encoded(reply.body, parameters, headers), headers)

    def _authenticate(self, parameters: dict[str, str]) -> None:
        given = (parameters.get("user", "default"), parameters.get("password", ""))
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            user, _, password = base64.b64decode(value).decode(errors="replace").partition(":")
            given = (user, password)
        elif "X-ClickHouse-User" in self.headers:
            given = (self.headers["X-ClickHouse-User"], self.headers.get("X-ClickHouse-Key", ""))
        if given != self.server.credentials:
            raise QueryError(AUTHENTICATION_FAILED, f"Code: 516. DB::Exception: {given[0]}: Authentication failed.")

    def _body(self) -> bytes | None:
        """Returns the request's body, decoded; None when it cannot be, which has then been answered."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = b"".join(self._chunks())
        else:
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), LARGEST_BODY))
        encoding = self.headers.get("Content-Encoding", "identity").lower()
        if encoding in {"", "identity"}:
            return body
        if encoding not in DECODERS:
            self._send(415, f"Unknown compression method: {encoding}\n".encode(), {})
            return None
        return DECODERS[encoding](body)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def _encoded(self, body: bytes, parameters: dict[str, str], headers: dict[str, str]) -> bytes:
        accepted = self.headers.get("Accept-Encoding", "")
        if parameters.get("enable_http_compression") == "1" and body:
            for name, encode in ENCODERS.items():
                if name in accepted:
                    headers["Content-Encoding"] = name
                    return encode(body)
        return body

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _form(kind: str, body: bytes) -> dict[str, str]:
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    return {
        str(part.get_param("name", header="Content-Disposition")): bytes(part.get_payload(decode=True)).decode()
        for part in message.iter_parts()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("user")
    parser.add_argument("password")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    engine = Engine(arguments.directory)
    server = Server(arguments.port, engine, arguments.user, arguments.password)
    # The main thread serves; `shutdown` must be called by another.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()
        engine.close()


if __name__ == "__main__":
    main()
