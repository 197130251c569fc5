"""What the parser says of replies, and which of them are refused.

The parser's callbacks only take notes; `Connection` acts on them after a read was parsed as a whole, so that the 65
chunks of one read reach the sink as one piece, and so that a sink may cancel its call from within.
"""

from typing import Any, Final

import httptools

from tollgate_router.upstream.decoding import BrokenEncoding, Decoder, new_decoder
from tollgate_router.upstream.sink import ClientLimits

_NO_BODY: Final = frozenset({204, 304})
_ACTED_ON: Final = frozenset({b"transfer-encoding", b"content-encoding", b"keep-alive"})
_UNTRUE_UNPACKED: Final = frozenset({b"transfer-encoding", b"content-encoding", b"content-length"})
# The parser takes 0.9 and 2.0 as well.
_VERSIONS: Final = frozenset({"1.1", "1.0"})


class ReplyReader:
    """Notes of the reply under way; one reader serves a connection's replies in turn."""

    __slots__ = (
        "_barren_bytes",
        "_body",
        "_coding",
        "_complete",
        "_continues",
        "_decoder",
        "_headers",
        "_informational",
        "_keep_alive",
        "_limits",
        "_parser",
        "_promise",
        "_refusal",
        "_status",
        "on_body",
        "served",
    )

    def __init__(self, limits: ClientLimits) -> None:
        self._limits = limits
        self.served = 0
        self._body: list[bytes] = []
        # The parser calls list.append itself: no Python frame per chunk (65 of them: 3 µs less a read).
        self.on_body = self._body.append
        self._parser: Any = httptools.HttpResponseParser(self)
        self._clear()

    def _let_go(self) -> None:
        # The parser holds our methods: without this, every connection would wait for the garbage collector.
        self._parser = None

    def _clear(self) -> None:
        self._status = 0
        self._complete = False
        self._keep_alive = False
        self._refusal = ""
        self._informational = 0
        self._continues = False
        # Bytes since the last one of a body: head, trailers and framing, which must not grow without end.
        self._barren_bytes = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._coding = b""
        self._promise = b""
        self._decoder: Decoder | None = None

    @property
    def _ends_by_closing(self) -> bool:
        framed = self._coding or any(name == b"content-length" for name, _ in self._headers)
        return self._status != 0 and not framed and self._status not in _NO_BODY

    def _true_headers(self) -> list[tuple[bytes, bytes]]:
        """Returns those that are still true when the body was unpacked."""
        return [header for header in self._headers if header[0] not in _UNTRUE_UNPACKED]

    def _check_size(self) -> None:
        """More bytes than a head may have came before a body: refuses them when they are head, trailers or framing."""
        head = sum(len(name) + len(value) + 4 for name, value in self._headers)
        if not self._body:
            self._refusal = "too many bytes without a body"
        elif head > self._limits.header_bytes:
            self._refusal = "the head of the reply is too large"

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._complete:
            self._refusal = "bytes after the reply"

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers are counted among the barren bytes and dropped: nobody may learn anything from them.
        if self._status:
            return
        name = name.lower()
        # The parser takes the blanks before a value off, and leaves those behind it.
        value = value.rstrip()
        self._headers.append((name, value))
        if name in _ACTED_ON:
            self._note(name, value.lower())

    def _note(self, name: bytes, value: bytes) -> None:
        if name == b"content-encoding":
            self._note_encoding(value)
        elif name == b"keep-alive":
            self._promise = value
        elif self._coding or value != b"chunked":
            # The parser refuses a transfer encoding beside a content length.
            self._refusal = "a transfer encoding that is not just chunked"
        else:
            self._coding = value

    def _note_encoding(self, encoding: bytes) -> None:
        if self._decoder is not None:
            self._refusal = "two content encodings"
            return
        try:
            self._decoder = new_decoder(encoding, self._limits.decoded_bytes_per_read)
        except BrokenEncoding as error:
            self._refusal = str(error)

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._informational += 1
            if status < 100 or status == 101 or self._informational > self._limits.informational_replies:
                self._refusal = "a status below 100, or too many informational replies"
            self._continues = self._continues or status == 100
            self._headers = []
            self._coding, self._decoder = b"", None
            return
        self._status = status
        if len(self._headers) > self._limits.header_count:
            self._refusal = "the head of the reply is too large"
        # Costs 0.3 µs, and a server does not change its version between two replies.
        if not self.served and self._parser.get_http_version() not in _VERSIONS:
            self._refusal = "a version other than HTTP/1.0 and HTTP/1.1"

    def on_message_complete(self) -> None:
        # Informational replies are messages of their own to the parser.
        if self._status and not self._complete:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()
