"""The console API's mending of the usage store, while usage is booked. Operators only.

What makes rows or sums again tells how far it is, a line of JSON at a time, and ends when the caller leaves.
"""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from tollgate.billing.v1 import mending_pb2 as mending
from tollgate.billing.v1 import reports_pb2 as reports
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import text_field
from tollgate_edge.api.reconciliation import render_difference
from tollgate_edge.api.rendering import invalid, parse_time, render_money, render_time
from tollgate_edge.api.tenants import organization_of
from tollgate_edge.errors import PublicError, openai_error

_DAY_US: Final = 24 * 3600 * 1_000_000
# As many as the books are compared of at once.
_REBUILT_DAYS: Final = 90
LINES: Final = "application/x-ndjson"
ROLLUPS: Final = ("minute", "hour", "day")
_COUNTS: Final = ("records", "batches", "copies", "missing", "unfit", "sums", "letters", "mismatches")
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
        asked = mending.RefillRollupsRequest(
            rollup=rollup, from_us=from_us, to_us=to_us, dry_run=_flag(body, "dry_run")
        )
        return _lines(request, await context.mending.refill(asked), _refilled)

    @router.post(
        "/rebuild", summary="Writes missing usage rows again from the event log, and drops copies; charges nothing"
    )
    async def rebuild(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request, optional=True)
        from_us, to_us = _times(context, body, _REBUILT_DAYS)
        asked = mending.RebuildUsageRequest(from_us=from_us, to_us=to_us, dry_run=_flag(body, "dry_run"))
        return _lines(request, await context.mending.rebuild(asked), _rebuilt)

    @router.post("/take-back", summary="What requests were charged twice; takes the second charge back if asked to")
    async def take_back(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request, optional=True)
        from_us, to_us = _times(context, body, _REBUILT_DAYS)
        named, apply = text_field(body, "organization_id", longest=200), _flag(body, "apply")
        found = await context.reports.take_back_repeated(
            reports.TakeBackRepeatedRequest(
                from_us=from_us,
                to_us=to_us,
                organization_id=(await organization_of(context, named)).id if named else "",
                apply=apply,
            )
        )
        return json_response(
            {
                "applied": apply,
                "sent": found.sent,
                "rows": [_repeated(one) for one in found.rows],
                "more": found.more,
                "left_out": dict(sorted(found.left_out.items())),
            }
        )

    return router


def _repeated(one: reports.RepeatedFinal) -> dict[str, Any]:
    names = ("request_id", "organization_id", "project_id", "model", "currency")
    about = {name: getattr(one, name) for name in names}
    return about | render_money("charge", one.charge_pico) | render_money("cost", one.cost_pico)


def _times(context: HttpContext, body: dict[str, Any], days: int) -> tuple[int, int]:
    """Returns the times of a body; the end is now where it is left out, and the beginning so many days before."""
    given = {name: parse_time(text_field(body, name, longest=40), name) for name in ("from", "to")}
    to_us = given["to"] or context.clock.now_us()
    from_us = given["from"] or to_us - days * _DAY_US
    if not 0 < from_us < to_us:
        raise invalid("'from' must be before 'to', and both after 1970.", "from")
    return from_us, to_us


def _flag(body: dict[str, Any], name: str) -> bool:
    found = body.get(name, False)
    if not isinstance(found, bool):
        raise invalid(f"'{name}' must be true or false.", name)
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
