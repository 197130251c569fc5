"""The console API's mending of the usage store, while usage is booked. Operators only.

Both tell how far they are, a line of JSON at a time, and end when the caller leaves.
"""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from tollgate.billing.v1 import mending_pb2 as mending
from tollgate_edge.api.context import HttpContext
from tollgate_edge.api.reading import text_field
from tollgate_edge.api.reconciliation import render_difference
from tollgate_edge.api.rendering import invalid, parse_time, render_time
from tollgate_edge.errors import PublicError, openai_error

_DAY_US: Final = 24 * 3600 * 1_000_000
# As many as the books are compared of at once.
_REBUILT_DAYS: Final = 90
LINES: Final = "application/x-ndjson"
ROLLUPS: Final = ("minute", "hour", "day")
_COUNTS: Final = ("records", "batches", "missing", "unfit", "sums", "letters", "mismatches")
T = TypeVar("T")


def mending_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1/usage that mend."""
    router = APIRouter(prefix="/api/v1/usage")

    @router.post("/rollups/refill", summary="Makes sums by minute, hour or day again from usage rows, line by line")
    async def refill(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        rollup = text_field(body, "rollup", longest=20)
        if rollup and rollup not in ROLLUPS:
            raise invalid(f"'rollup' takes {', '.join(ROLLUPS)}; left out it is all of them.", "rollup")
        from_us, to_us = _times(context, body, 1)
        asked = mending.RefillRollupsRequest(rollup=rollup, from_us=from_us, to_us=to_us, dry_run=_dry_run(body))
        return _lines(request, await context.mending.refill(asked), _refilled)

    @router.post("/rebuild", summary="Writes missing usage rows again from the event log; charges nothing")
    async def rebuild(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request, optional=True)
        from_us, to_us = _times(context, body, _REBUILT_DAYS)
        asked = mending.RebuildUsageRequest(from_us=from_us, to_us=to_us, dry_run=_dry_run(body))
        return _lines(request, await context.mending.rebuild(asked), _rebuilt)

    return router


def _times(context: HttpContext, body: dict[str, Any], days: int) -> tuple[int, int]:
    """Returns the times of a body; the end is now where it is left out, and the beginning so many days before."""
    given = {name: parse_time(text_field(body, name, longest=40), name) for name in ("from", "to")}
    to_us = given["to"] or context.clock.now_us()
    from_us = given["from"] or to_us - days * _DAY_US
    if not 0 < from_us < to_us:
        raise invalid("'from' must be before 'to', and both after 1970.", "from")
    return from_us, to_us


def _dry_run(body: dict[str, Any]) -> bool:
    found = body.get("dry_run", False)
    if not isinstance(found, bool):
        raise invalid("'dry_run' must be true or false.", "dry_run")
    return found


def _lines(request: Request, replies: AsyncIterator[T], render: Callable[[T], dict[str, Any]]) -> Response:
    """Returns each reply as a line; where billing breaks off, the last line is an error."""

    async def lines() -> AsyncIterator[bytes]:
        try:
            async for one in replies:
                yield _line(render(one))
        except PublicError as error:
            yield _line({"error": openai_error(error, request.headers.get("x-request-id", ""), "")})

    return StreamingResponse(lines(), media_type=LINES, headers={"cache-control": "private, no-store"})


def _line(found: dict[str, Any]) -> bytes:
    return json.dumps(found, ensure_ascii=False).encode(errors="replace") + b"\n"


def _refilled(one: mending.RefillRollupsResponse) -> dict[str, Any]:
    return {
        "rollup": one.rollup,
        "from": render_time(one.from_us),
        "to": render_time(one.to_us),
        "differed": one.differed,
    }


def _rebuilt(one: mending.RebuildUsageResponse) -> dict[str, Any]:
    found: dict[str, Any] = {"step": one.step} | {name: getattr(one, name) for name in _COUNTS}
    if one.step != "done":
        return found
    kept = [{"partition": of.partition, "offset": of.offset, "at": render_time(of.at_us)} for of in one.kept]
    return found | {
        "kept": kept,
        "not_rebuilt": [render_difference(of) for of in one.not_rebuilt],
        "cut": one.cut,
    }
