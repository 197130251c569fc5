"""Errors in the shape and words of the wire."""

import json

KINDS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("permission_error", "permission_denied"),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", "request_too_large"),
    429: ("requests", "rate_limit_exceeded"),
}


class Refused(Exception):  # noqa: N818
    """The request is refused with an HTTP status and an error of the wire."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


def error_body(status: int, message: str, *, param: str | None = None, code: str | None = None) -> bytes:
    """Returns the JSON body of an error."""
    kind, usual = KINDS.get(status, ("server_error", None) if status >= 500 else ("invalid_request_error", None))
    error = {"message": message, "type": kind, "param": param, "code": code or usual}
    return json.dumps({"error": error}).encode()
