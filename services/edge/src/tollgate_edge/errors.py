"""Public errors: what a kind of failure looks like to a caller. The only place that turns kinds into HTTP.

PublicError   an error as a caller sees it; raised by handlers, passed as a value on the hot path
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors

_NO_RETRY: Final = {"x-should-retry": "false"}


class PublicError(Exception):
    """An error in public words. `headers` are lower-case names; `code` is stable."""

    def __init__(
        self,
        status: int,
        type: str,  # noqa: A002 - the name on the wire.
        code: str,
        message: str,
        param: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.code = code
        self.message = message
        self.param = param
        self.headers: Mapping[str, str] = headers or {}

    def with_status(self, status: int, **headers: str) -> "PublicError":
        """Returns the same error under another status, with more headers."""
        return PublicError(status, self.type, self.code, self.message, self.param, {**self.headers, **headers})


@dataclass(frozen=True, slots=True)
class _Words:
    status: int
    type: str
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)
    # Internal failures never show what was said inside.
    hide: bool = False


_INVALID: Final = "invalid_request_error"
_UPSTREAM: Final = "upstream_error"
_SERVER: Final = "server_error"
_LIMIT: Final = "rate_limit_error"

_TABLE: Final[Mapping[int, _Words]] = {
    errors.ERROR_KIND_INVALID_REQUEST: _Words(400, _INVALID, "invalid_request", "The request is not valid."),
    errors.ERROR_KIND_UNAUTHENTICATED: _Words(
        401, _INVALID, "invalid_api_key", "The API key is not valid. Check it, or create one.", _NO_RETRY
    ),
    errors.ERROR_KIND_FORBIDDEN: _Words(403, "permission_error", "forbidden", "This key may not do that.", _NO_RETRY),
    errors.ERROR_KIND_NOT_FOUND: _Words(404, _INVALID, "not_found", "There is nothing here."),
    errors.ERROR_KIND_MODEL_NOT_FOUND: _Words(
        404, _INVALID, "model_not_found", "The model does not exist or this key may not use it."
    ),
    errors.ERROR_KIND_CONTEXT_LENGTH: _Words(
        400, _INVALID, "context_length_exceeded", "The request is longer than the model's context."
    ),
    errors.ERROR_KIND_CONTENT_POLICY: _Words(
        400, _INVALID, "content_policy_violation", "The provider refused the content."
    ),
    errors.ERROR_KIND_PAYLOAD_TOO_LARGE: _Words(
        413, _INVALID, "payload_too_large", "The request body is too large.", _NO_RETRY
    ),
    errors.ERROR_KIND_CONFLICT: _Words(409, _INVALID, "conflict", "The request conflicts with an earlier one."),
    errors.ERROR_KIND_RATE_LIMITED: _Words(
        429, _LIMIT, "rate_limit_exceeded", "Too many requests. Wait and send it again."
    ),
    errors.ERROR_KIND_INSUFFICIENT_QUOTA: _Words(
        429,
        "insufficient_quota",
        "insufficient_quota",
        "The balance is too low for this request. Top it up; sending it again does not help.",
        _NO_RETRY,
    ),
    errors.ERROR_KIND_UPSTREAM_UNAVAILABLE: _Words(
        502, _UPSTREAM, "upstream_unavailable", "The provider could not be reached or failed. Send it again."
    ),
    errors.ERROR_KIND_UPSTREAM_TIMEOUT: _Words(
        504, _UPSTREAM, "upstream_timeout", "The provider did not answer in time."
    ),
    errors.ERROR_KIND_UPSTREAM_PROTOCOL: _Words(
        502, _UPSTREAM, "upstream_protocol_error", "The provider's answer could not be read."
    ),
    errors.ERROR_KIND_UPSTREAM_REJECTED_CREDENTIALS: _Words(
        502, _UPSTREAM, "upstream_credentials_rejected", "The provider refused the gateway's credentials.", _NO_RETRY
    ),
    errors.ERROR_KIND_UPSTREAM_CUT: _Words(502, _UPSTREAM, "upstream_cut", "The provider's answer broke off."),
    errors.ERROR_KIND_UPSTREAM_RATE_LIMITED: _Words(
        429, _LIMIT, "upstream_rate_limited", "The provider takes no more requests now. Wait and send it again."
    ),
    errors.ERROR_KIND_UNAVAILABLE: _Words(
        503, _SERVER, "service_unavailable", "The gateway cannot serve this now. Try again in a moment."
    ),
    errors.ERROR_KIND_INTERNAL: _Words(500, _SERVER, "internal_error", "Something went wrong inside.", hide=True),
    errors.ERROR_KIND_DEADLINE: _Words(504, _SERVER, "timeout", "The request took longer than allowed."),
    errors.ERROR_KIND_CANCELLED: _Words(499, _INVALID, "client_closed_request", "The caller went away."),
}


def public_error(kind: int, message: str = "", param: str = "", code: str = "", retry_after_ms: int = 0) -> PublicError:
    """Returns the public form of a failure of this kind. A kind that is not known is an internal error.

    `message` and `code` replace the table's; those of internal errors are dropped.
    """
    words = _TABLE.get(kind) or _TABLE[errors.ERROR_KIND_INTERNAL]
    if words.hide:
        return PublicError(words.status, words.type, words.code, words.message, "", words.headers)
    headers = words.headers
    if retry_after_ms > 0:
        headers = {**headers, "retry-after": str(-(-retry_after_ms // 1000)), "retry-after-ms": str(retry_after_ms)}
    return PublicError(words.status, words.type, code or words.code, message or words.message, param, headers)


def from_wire(error: errors.Error) -> PublicError:
    """Returns the public form of a typed error that another service sent."""
    return public_error(error.kind, error.message, error.param, error.code, error.retry_after_ms)


def render_openai(error: PublicError, request_id: str) -> bytes:
    """Returns the JSON body in OpenAI's shape. Failures of ours name the request, so that they can be looked up."""
    message = f"{error.message} Request id: {request_id}." if error.status >= 500 and request_id else error.message
    body = {"error": {"message": message, "type": error.type, "param": error.param or None, "code": error.code or None}}
    return json.dumps(body, ensure_ascii=False).encode(errors="replace")
