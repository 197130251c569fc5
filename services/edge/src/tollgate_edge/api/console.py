"""The console API's resources: keys, routers, and who asks. Operators only, but for the last."""

from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response, page_response
from tollgate_edge.api.limits import read_limits, render_limits
from tollgate_edge.api.reading import PageLimit, ShortText, object_field, text_field
from tollgate_edge.api.rendering import invalid, parse_time, plain, render_time
from tollgate_edge.api.tenants import NO_PROJECT
from tollgate_edge.domain.access import ENDPOINTS, Access, network_of
from tollgate_edge.domain.limits import NO_LIMITS
from tollgate_edge.domain.names import MEMBER, MEMBER_WORDS, MOST_TAGS, TAG, TAG_WORDS
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import Conflict, public_error
from tollgate_edge.ports import KeyRecord, Project

_MOST_LISTED: Final = 100
# As long as the name of a model may be.
_LONGEST_LISTED: Final = 200


def console_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1."""
    router = APIRouter(prefix="/api/v1")
    _add_identity(router, context)
    _add_keys(router, context)
    return router


def _add_identity(router: APIRouter, context: HttpContext) -> None:
    @router.get("/whoami", summary="Whose key this is")
    async def whoami(request: Request) -> Response:
        principal = await context.anyone(request)
        if principal.is_operator:
            return json_response({"kind": "operator", "id": principal.api_key_id})
        return json_response(
            {
                "kind": "api_key",
                "id": principal.api_key_id,
                "organization_id": principal.organization_id,
                "project_id": principal.project_id,
                "price_group": principal.price_group,
                "route_group": principal.route_group,
                "models": None if principal.models is None else sorted(principal.models),
                **_access(principal),
            }
        )

    @router.get("/router", summary="What the routers know of each channel")
    async def routers(request: Request) -> Response:
        await context.operator(request)
        found = [
            {"address": address, "reachable": state is not None} | ({} if state is None else plain(state))
            for address, state in await context.routers.describe()
        ]
        return json_response({"routers": found})


def _add_keys(router: APIRouter, context: HttpContext) -> None:
    @router.post("/keys", status_code=201, summary="Makes an API key; it is shown once")
    async def create_key(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request, optional=True)
        project = await project_of(context, body)
        try:
            record, key = await context.create_key(
                project,
                text_field(body, "name") or "key",
                tags=_tags(body),
                member=_member(body),
                **key_terms(context, body),
            )
        except ValueError as error:
            raise public_error(errors.ERROR_KIND_INVALID_REQUEST, f"'name': {error}.", "name") from None
        except Conflict as error:
            raise public_error(errors.ERROR_KIND_CONFLICT, str(error)) from None
        return json_response(_key(record) | {"key": key.reveal()}, 201)

    @router.get("/keys", summary="API keys, newest first, without their secrets")
    async def list_keys(
        request: Request, organization_id: ShortText = "", limit: PageLimit = 100, cursor: ShortText = ""
    ) -> Response:
        await context.operator(request)
        records = await context.keys.list_keys(organization_id, limit + 1, cursor)
        return page_response([_key(record) for record in records], limit)

    @router.post("/keys/{key_id}/revoke", summary="Revokes a key, everywhere within a second")
    @router.delete("/keys/{key_id}", summary="Revokes a key, everywhere within a second")
    async def revoke_key(request: Request, key_id: str) -> Response:
        await context.operator(request)
        record = await context.keys.revoke_key("", key_id, context.clock.now_us())
        if record is None:
            raise public_error(errors.ERROR_KIND_NOT_FOUND, "There is no such key.")
        return json_response(_key(record))


def key_terms(context: HttpContext, body: dict[str, Any]) -> dict[str, Any]:
    """Returns what a key may be used for, from where, until when and how much, by the names of `KeyRecord`.

    Raises PublicError.
    """
    return {
        "models": _models(body),
        "endpoints": _endpoints(body),
        "cidrs": _cidrs(body),
        "expires_at_us": _expiry(context, body),
        "limits": replace(NO_LIMITS, **read_limits(object_field(body, "limits"))),
    }


async def project_of(context: HttpContext, body: dict[str, Any]) -> Project:
    """Returns the project that is named, or the oldest one where none is. Raises PublicError."""
    project_id = text_field(body, "project_id", longest=200)
    found = await context.tenants.find_project(text_field(body, "organization_id", longest=200), project_id)
    if found is None:
        any_project = project_id or await context.tenants.find_project("", "") is not None
        raise public_error(
            errors.ERROR_KIND_NOT_FOUND, "There is no such project." if any_project else NO_PROJECT, "project_id"
        )
    return found


def _access(principal: Principal) -> dict[str, Any]:
    access = principal.access or Access()
    networks = access.networks
    return {"endpoints": access.endpoints, "cidrs": None if networks is None else [str(one) for one in networks]}


def _models(body: dict[str, Any]) -> tuple[str, ...] | None:
    return _texts(body, "models", "model names")


def _endpoints(body: dict[str, Any]) -> tuple[str, ...] | None:
    found = _texts(body, "endpoints", "endpoints")
    for one in found or ():
        if one not in ENDPOINTS:
            raise invalid(f"'endpoints' may name: {', '.join(ENDPOINTS)}.", "endpoints")
    return found


def _cidrs(body: dict[str, Any]) -> tuple[str, ...] | None:
    found = _texts(body, "cidrs", "networks")
    try:
        return None if found is None else tuple(dict.fromkeys(network_of(one) for one in found))
    except ValueError as error:
        raise invalid(f"'cidrs' are networks such as 203.0.113.0/24 or 2001:db8::/32: {error}.", "cidrs") from None


def _texts(body: dict[str, Any], name: str, what: str, most: int = _MOST_LISTED) -> tuple[str, ...] | None:
    value = body.get(name)
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) > most
        or not all(isinstance(one, str) and 0 < len(one) <= _LONGEST_LISTED for one in value)
    ):
        raise invalid(
            f"'{name}' must be a list of at most {most} {what}, each 1 to {_LONGEST_LISTED} characters long.",
            name,
        )
    return tuple(dict.fromkeys(value))


def _tags(body: dict[str, Any]) -> tuple[str, ...]:
    found = _texts(body, "tags", "tags", MOST_TAGS) or ()
    if not all(TAG.fullmatch(one) for one in found):
        raise invalid(f"'tags' are up to {MOST_TAGS} words of {TAG_WORDS}.", "tags")
    return tuple(sorted(found))


def _member(body: dict[str, Any]) -> str:
    found = text_field(body, "member", longest=100)
    if found and not MEMBER.fullmatch(found):
        raise invalid(f"'member' says whose key it is, in {MEMBER_WORDS}.", "member")
    return found


def _expiry(context: HttpContext, body: dict[str, Any]) -> int:
    at_us = parse_time(text_field(body, "expires_at"), "expires_at")
    if at_us and at_us <= context.clock.now_us():
        raise invalid("'expires_at' has passed already.", "expires_at")
    return at_us


def _key(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "last_four": record.last_four,
        "organization_id": record.organization_id,
        "project_id": record.project_id,
        "models": record.models,
        "endpoints": record.endpoints,
        "cidrs": record.cidrs,
        "tags": record.tags,
        "member": record.member or None,
        "limits": render_limits(record.limits),
        "created_at": render_time(record.created_at_us),
        "revoked_at": render_time(record.revoked_at_us),
        "expires_at": render_time(record.expires_at_us),
    }
