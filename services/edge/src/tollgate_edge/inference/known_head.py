"""The head of the last request of a connection: callers send the same one again and again, before another body.

A request whose head differs from it in nothing but the digits of Content-Length is not parsed a second time: what the
parser said of that one holds for this one, too.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tollgate_edge.inference.exchange import InferenceExchange
from tollgate_edge.inference.operations import FORMS

if TYPE_CHECKING:
    from tollgate_edge.inference.client import Client
    from tollgate_edge.inference.gateway import InferenceGateway

_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})\r\n", re.IGNORECASE)
_MOST_DIGITS: Final = 9
# It is kept for each connection; longer ones are parsed each time.
_MOST_BYTES: Final = 4096


class KnownHead:
    """`names` are those of the headers that routers looked at when it was read."""

    __slots__ = ("_after", "_before", "_content_type", "_cors", "_forwarded", "_host", "_passed", "_presented",
        "_route", "_traceparent", "names",
    )  # fmt: skip

    def __init__(self, before: bytes, after: bytes, read: InferenceExchange, names: Sequence[bytes]) -> None:
        # What stands before the digits of the length, and behind them.
        self._before = before
        self._after = after
        self._route = read.operation, read.face, read.named
        self._presented = read.presented
        self._host = read.host
        self._content_type = read.content_type
        self._traceparent = read.traceparent
        self._cors = read.cors
        self._passed = read.passed
        self._forwarded = read.forwarded
        self.names = names

    def body_of(self, data: bytes) -> bytes | None:
        """Returns the body where `data` is one whole request that begins with this head; else None."""
        begin = len(self._before)
        if not data.startswith(self._before):
            return None
        end = data.find(b"\r", begin, begin + _MOST_DIGITS + 1)
        digits = data[begin:end]
        if end < 0 or not digits.isdigit() or not data.startswith(self._after, end):
            return None
        body = data[end + len(self._after) :]
        return body if len(body) == int(digits) else None

    def exchange(self, gateway: "InferenceGateway", client: "Client", body: bytes) -> InferenceExchange:
        """Returns a request with this head and that body."""
        made = InferenceExchange(gateway, client, *self._route)
        made.presented = self._presented
        made.host = self._host
        made.content_type = self._content_type
        made.traceparent = self._traceparent
        made.cors = self._cors
        made.passed = self._passed
        made.forwarded = self._forwarded
        made.body_parts = [body]
        made.body_size = made.content_length = len(body)
        return made


def known_head(data: bytes, read: InferenceExchange, names: Sequence[bytes]) -> KnownHead | None:
    """Returns the head of `data` where that is one whole request, of which the parser made `read`; else None.

    The body is as long as the parser says, and so is the number in the head: with both, the head ends where the parser
    has it end, and the number is the one that it read.
    """
    end = data.find(_END, 0, _MOST_BYTES)
    body_at = end + len(_END)
    if end < 0 or len(data) - body_at != read.content_length or read.operation in FORMS:
        return None
    length = _LENGTH.search(data, 0, end + 2)
    if length is None or int(length[1]) != read.content_length:
        return None
    return KnownHead(data[: length.start(1)], data[length.end(1) : body_at], read, names)
