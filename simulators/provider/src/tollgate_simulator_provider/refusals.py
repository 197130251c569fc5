"""Errors in the shape and words of the wire."""

import json
from functools import cache
from importlib import resources
from typing import Any

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


class RefusedByVendor(Exception):  # noqa: N818
    """A refusal with a body of the vendor's own; `name` is the error's where that stands in a header."""

    def __init__(self, status: int, body: bytes, name: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.name = name


@cache
def _recorded() -> dict[str, dict[str, dict[str, Any]]]:
    data = resources.files("tollgate_simulator_provider") / "data" / "refusals.json"
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(data.read_bytes())
    return found


def recorded(vendor: str, kind: str) -> RefusedByVendor:
    """Returns what a vendor with a wire of its own was seen to refuse with. Raises Refused where nothing is known."""
    found = _recorded().get(vendor, {}).get(kind)
    if found is None:
        raise Refused(400, f"[simulated] no refusal {kind!r} of {vendor} is recorded", code="unknown_fault")
    return RefusedByVendor(found["status"], json.dumps(found["body"]).encode(), found.get("name", ""))


def error_body(status: int, message: str, *, param: str | None = None, code: str | None = None) -> bytes:
    """Returns the JSON body of an error."""
    kind, usual = KINDS.get(status, ("server_error", None) if status >= 500 else ("invalid_request_error", None))
    error = {"message": message, "type": kind, "param": param, "code": code or usual}
    return json.dumps({"error": error}).encode()
