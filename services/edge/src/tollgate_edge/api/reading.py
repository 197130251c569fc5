"""What comes in with a request: its key, and its body as JSON within limits."""

import json
import re
from typing import Annotated, Any, Final

from fastapi import Query
from starlette.requests import ClientDisconnect, Request

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.domain.access import client_address
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import PublicError, public_error
from tollgate_edge.ports import Authenticator, Refused

PageLimit = Annotated[int, Query(ge=1, le=1000)]
ShortText = Annotated[str, Query(max_length=200)]
NO_KEY: Final = "No API key was given. Send it as 'Authorization: Bearer YOUR_KEY'."
_KEY_HEADERS: Final = ("x-api-key", "x-goog-api-key", "api-key")
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?')
_NO_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def presented_key(request: Request) -> bytes | None:
    """Returns the key, from wherever clients put it."""
    authorization = request.headers.get("authorization", "")
    if authorization[:7].lower() == "bearer ":
        return authorization[7:].strip().encode("latin-1")
    for name in _KEY_HEADERS:
        if name in request.headers:
            return request.headers[name].strip().encode("latin-1")
    found = request.query_params.get("key")
    return found.encode(errors="replace") if found else None


async def authenticate(request: Request, authenticator: Authenticator, trusted_hops: int, endpoint: str) -> Principal:
    """Returns who asks, when the key may be used from there, and for `endpoint`. Raises PublicError."""
    presented = presented_key(request)
    if presented is None:
        raise public_error(errors.ERROR_KIND_UNAUTHENTICATED, NO_KEY)
    found = authenticator.cached(presented)
    if found is None:
        found = await authenticator.authenticate(presented)
    # For the request log, should the request end with an error.
    request.state.caller = found.principal if isinstance(found, Refused) else found
    if isinstance(found, Refused):
        raise public_error(found.kind, found.message)
    if found.access is not None:
        peer = request.client.host if request.client is not None else ""
        forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
        problem = found.access.problem(endpoint, client_address(peer, forwarded, trusted_hops))
        if problem is not None:
            raise public_error(errors.ERROR_KIND_FORBIDDEN, problem[1], code=problem[0])
    return found


class BodyReader:
    def __init__(self, max_bytes: int, max_depth: int) -> None:
        self._max_bytes = max_bytes
        self._max_depth = max_depth

    async def read_file(self, request: Request, most_bytes: int) -> bytes:
        """Returns the body as it is. Raises PublicError: 400 for an empty one, 413."""
        body = await self.read_bytes(request)
        if len(body) > most_bytes:
            raise public_error(
                errors.ERROR_KIND_PAYLOAD_TOO_LARGE, f"The file is larger than {most_bytes} bytes. Send it in parts."
            )
        if not body:
            raise _invalid("The body is empty; send the file in it.")
        return body

    async def read_object(self, request: Request, *, optional: bool = False) -> dict[str, Any]:
        """Returns the JSON object of the body. Raises PublicError: 400, 413 or 415."""
        body = await self.read_bytes(request)
        if optional and not body:
            return {}
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise public_error(
                errors.ERROR_KIND_INVALID_REQUEST,
                "Content-Type must be application/json.",
                code="unsupported_media_type",
            )
        if depth_of(body) > self._max_depth:
            raise _invalid(f"The body is nested deeper than {self._max_depth} levels.")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise _invalid("The body is not valid JSON.") from None
        if not isinstance(found, dict):
            raise _invalid("The body must be a JSON object.")
        return found

    async def read_bytes(self, request: Request) -> bytes:
        """Returns the body as it came. Raises PublicError: 413."""
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self._max_bytes:
            raise self._too_large()
        parts, size = [], 0
        try:
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > self._max_bytes:
                    raise self._too_large()
        except ClientDisconnect:
            raise public_error(errors.ERROR_KIND_CANCELLED) from None
        return b"".join(parts)

    def _too_large(self) -> PublicError:
        return public_error(
            errors.ERROR_KIND_PAYLOAD_TOO_LARGE, f"The request body is larger than {self._max_bytes} bytes."
        )


def _invalid(message: str, param: str = "") -> PublicError:
    return public_error(errors.ERROR_KIND_INVALID_REQUEST, message, param)


def depth_of(body: bytes) -> int:
    """Returns how deep brackets nest outside of strings, without building anything."""
    depth = deepest = 0
    for byte in _STRINGS.sub(b"", body):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def text_field(body: dict[str, Any], name: str, *, required: bool = False, longest: int = 1_000) -> str:
    """Returns a string field; empty when it is absent or null. Raises PublicError."""
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value.strip()):
        raise _invalid(f"'{name}' must be a {'non-empty ' if required else ''}string.", name)
    if len(value) > longest:
        raise _invalid(f"'{name}' is longer than {longest} characters.", name)
    if _NO_SURROGATES.search(value):
        raise _invalid(f"'{name}' holds half a surrogate pair.", name)
    if "\x00" in value:
        # PostgreSQL keeps none.
        raise _invalid(f"'{name}' holds a NUL character.", name)
    return value


def whole_field(body: dict[str, Any], name: str, default: int, lowest: int, highest: int) -> int:
    """Returns a whole number field. Raises PublicError."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise _invalid(f"'{name}' must be a whole number from {lowest} to {highest}.", name)
    return value


def object_field(body: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns a field that is an object; empty when it is absent or null. Raises PublicError."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _invalid(f"'{name}' must be an object.", name)
    return value


def choice_field(body: dict[str, Any], name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Returns a field that takes one of a few words. Raises PublicError."""
    value = body.get(name)
    if value is None:
        return default
    if value not in allowed:
        raise _invalid(f"'{name}' must be one of: {', '.join(allowed)}.", name)
    return str(value)
