"""Public errors: what a kind of failure looks like to a caller. The only place that turns kinds into HTTP.

PublicError            an error as a caller sees it; raised by handlers, passed as a value on the hot path
StoreUnavailable       the database cannot be asked now
Conflict               a name or id is taken
ConfigurationInvalid   declared files were refused; nothing changed
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.error_entry import Entry
from tollgate_edge.error_table import BY_CODE, BY_KIND
from tollgate_resources.problems import Problem

# Where the page of errors is, below the public URL.
ERRORS_PATH: Final = "/docs/errors"


class StoreUnavailable(Exception):  # noqa: N818 - a state of the world more than a fault.
    """The database cannot be asked now."""


class Conflict(Exception):  # noqa: N818
    """A name or id is taken."""


class ConfigurationInvalid(Exception):  # noqa: N818 - it names a state of files.
    """Files were refused; nothing changed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problems in the declared configuration")
        self.problems = tuple(problems)


class PublicError(Exception):
    """An error in public words. `headers` are lower-case names; `code` is stable; `entry` is what the page says."""

    def __init__(
        self,
        entry: Entry,
        message: str = "",
        param: str = "",
        code: str = "",
        headers: Mapping[str, str] | None = None,
        status: int = 0,
    ) -> None:
        message = message or entry.message
        super().__init__(message)
        self.entry = entry
        self.status = status or entry.status
        self.type = entry.type
        self.code = code or entry.code
        self.message = message
        self.param = param
        self.headers: Mapping[str, str] = entry.headers if headers is None else headers

    def with_status(self, status: int, **headers: str) -> "PublicError":
        """Returns the same error under another status, with more headers."""
        return PublicError(self.entry, self.message, self.param, self.code, {**self.headers, **headers}, status)

    def with_headers(self, **headers: str) -> "PublicError":
        """Returns the same error with more headers."""
        return self.with_status(self.status, **headers)

    def link(self, docs: str) -> str:
        """Returns the address of what the page of errors says of this one; `docs` is the page's own."""
        return f"{docs or ERRORS_PATH}#{self.entry.code}"


def public_error(kind: int, message: str = "", param: str = "", code: str = "", retry_after_ms: int = 0) -> PublicError:
    """Returns the public form of a failure of this kind. A kind that is not known is an internal error.

    `message` replaces the table's, and `code` too: one of the table that is of this kind brings its status with it, a
    provider's word for a request that is not valid is passed on. What else providers say is replaced by the kind's own
    code, since that is what clients know; what is said of internal errors is dropped.
    """
    entry = BY_KIND.get(kind) or BY_KIND[errors.ERROR_KIND_INTERNAL]
    if entry.hide:
        return PublicError(entry)
    named = BY_CODE.get(code)
    if named is not None and named.kind == kind:
        entry = named
    elif entry.kind != errors.ERROR_KIND_INVALID_REQUEST or code.isdecimal():
        code = ""
    headers = entry.headers
    if retry_after_ms > 0:
        headers = {**headers, "retry-after": str(-(-retry_after_ms // 1000)), "retry-after-ms": str(retry_after_ms)}
    return PublicError(entry, message, param, code, headers)


def from_wire(error: errors.Error) -> PublicError:
    """Returns the public form of a typed error that another service sent."""
    return public_error(error.kind, error.message, error.param, error.code, error.retry_after_ms)


def render_openai(error: PublicError, request_id: str, docs: str = "") -> bytes:
    """Returns the JSON body in OpenAI's shape. Failures of ours name the request, so that they can be looked up.

    `docs` is the address of the page of errors; empty: its path on this host.
    """
    return json.dumps({"error": openai_error(error, request_id, docs)}, ensure_ascii=False).encode(errors="replace")


def openai_error(error: PublicError, request_id: str, docs: str) -> dict[str, str | None]:
    """Returns OpenAI's error object; `doc_url` is a member that its clients pass over or show."""
    message = f"{error.message} Request id: {request_id}." if error.status >= 500 and request_id else error.message
    return {
        "message": message,
        "type": error.type,
        "param": error.param or None,
        "code": error.code or None,
        "doc_url": error.link(docs),
    }
