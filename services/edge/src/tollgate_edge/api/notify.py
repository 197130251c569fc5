"""The console API's destinations of notices, and the notices that were sent or wait. Operators only."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import PageLimit, ShortText, choice_field, object_field, text_field, whole_field
from tollgate_edge.api.rendering import invalid, render_time
from tollgate_edge.errors import public_error

_KINDS: Final = ("mail", "webhook", "feishu", "dingtalk", "wecom", "slack")
_LANGUAGES: Final = ("en", "zh")
_BOOKS: Final = "books"
_ABOUTS: Final = ("budget", "anomaly", _BOOKS)
_FIELDS: Final = frozenset(
    {
        *("organization_id", "name", "kind", "target", "secret", "language", "time_zone", "quiet", "digest_minutes"),
        "about",
    }
)
_MOST_DIGEST: Final = 7 * 24 * 60


def notify_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1/destinations and /api/v1/notices."""
    router = APIRouter(prefix="/api/v1")

    @router.post("/destinations", status_code=201, summary="Adds who is told; target and secret are never shown again")
    async def create_destination(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        asked = _read(body)
        if asked.destination.organization_id:
            found = await context.tenants.find_organization(asked.destination.organization_id)
            if found is None:
                raise public_error(errors.ERROR_KIND_NOT_FOUND, "There is no such organization.", "organization_id")
        made = await context.controls.create_destination(asked)
        return json_response(_destination(made.destination), 201)

    @router.get("/destinations", summary="Who is told, by name")
    async def list_destinations(request: Request) -> Response:
        await context.operator(request)
        found = await context.controls.destinations(wire.ListDestinationsRequest())
        return json_response({"items": [_destination(one) for one in found.destinations], "next": None})

    @router.delete("/destinations/{destination_id}", summary="Removes a destination and what waits for it")
    async def delete_destination(request: Request, destination_id: str) -> Response:
        await context.operator(request)
        await context.controls.delete_destination(wire.DeleteDestinationRequest(id=destination_id))
        return json_response({"id": destination_id, "deleted": True})

    @router.post("/destinations/{destination_id}/test", summary="Sends a message now and says what became of it")
    async def test_destination(request: Request, destination_id: str) -> Response:
        await context.operator(request)
        done = await context.controls.test_destination(wire.TestDestinationRequest(id=destination_id))
        return json_response({"id": destination_id, "delivered": not done.problem, "problem": done.problem or None})

    @router.get("/notices", summary="Notices and what became of them, newest first")
    async def list_notices(request: Request, limit: PageLimit = 100, cursor: ShortText = "") -> Response:
        await context.operator(request)
        found = await context.controls.notices(wire.ListNoticesRequest(limit=limit, cursor=cursor))
        return json_response({"items": [_notice(one) for one in found.notices], "next": found.next_cursor or None})

    return router


def _read(body: dict[str, Any]) -> wire.CreateDestinationRequest:
    if unknown := [name for name in body if name not in _FIELDS]:
        raise invalid(f"'{unknown[0][:100]}' is no field of a destination.", unknown[0][:100])
    quiet = object_field(body, "quiet")
    if quiet and set(quiet) != {"begin", "end"}:
        raise invalid('\'quiet\' is an object such as {"begin": "22:00", "end": "07:00"}.', "quiet")
    about = body.get("about") or []
    if not isinstance(about, list) or not all(one in _ABOUTS for one in about):
        raise invalid(f"'about' is a list of some of: {', '.join(_ABOUTS)}; leave it out for all.", "about")
    destination = wire.Destination(
        organization_id=text_field(body, "organization_id", longest=200),
        name=text_field(body, "name", required=True, longest=100),
        kind=choice_field(body, "kind", "", _KINDS),
        language=choice_field(body, "language", "en", _LANGUAGES),
        time_zone=text_field(body, "time_zone", longest=64) or "UTC",
        digest_minutes=whole_field(body, "digest_minutes", 0, 0, _MOST_DIGEST),
        about=about,
    )
    if quiet:
        begin, end = (text_field(quiet, name, required=True, longest=5) for name in ("begin", "end"))
        destination.quiet.CopyFrom(wire.QuietHours(begin=begin, end=end))
    return wire.CreateDestinationRequest(
        destination=destination,
        target=text_field(body, "target", required=True, longest=2_000),
        secret=text_field(body, "secret", longest=500),
    )


def _destination(one: wire.Destination) -> dict[str, Any]:
    quiet = {"begin": one.quiet.begin, "end": one.quiet.end} if one.HasField("quiet") else None
    return {
        "id": one.id,
        "organization_id": one.organization_id or None,
        "name": one.name,
        "kind": one.kind,
        "address": one.address,
        "has_secret": one.has_secret,
        "language": one.language,
        "time_zone": one.time_zone,
        "quiet": quiet,
        "digest_minutes": one.digest_minutes,
        # The books are of no organization.
        "about": list(one.about) or [name for name in _ABOUTS if name != _BOOKS or not one.organization_id],
        "created_at": render_time(one.created_us),
    }


def _notice(one: wire.Notice) -> dict[str, Any]:
    return {
        "id": one.id,
        "destination_id": one.destination_id,
        "organization_id": one.organization_id or None,
        "about": one.about,
        "state": one.state,
        "text": one.text,
        "attempts": one.attempts,
        "created_at": render_time(one.created_us),
        "due_at": render_time(one.due_us) if one.state == "waiting" else None,
        "sent_at": render_time(one.sent_us),
        "problem": one.problem or None,
    }
