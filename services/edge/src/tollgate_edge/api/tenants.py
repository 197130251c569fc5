"""The console API's tenants: organizations, their projects, and credit. Operators only."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.api.context import HttpContext, json_response, page_response
from tollgate_edge.api.reading import PageLimit, ShortText, choice_field, text_field
from tollgate_edge.api.rendering import invalid, render_money, render_time
from tollgate_edge.domain.names import CURRENCIES
from tollgate_edge.errors import Conflict, public_error
from tollgate_edge.ports import Organization, Project
from tollgate_rating import INT64_MAX, PICO, InvalidPrice, parse_decimal

NO_ORGANIZATION: Final = (
    "There is no organization yet. Make one: POST /api/v1/organizations, or `tollgate organizations create NAME`."
)
NO_PROJECT: Final = (
    "There is no project yet. Make an organization and then a project: POST /api/v1/organizations and "
    "/api/v1/projects, or `tollgate organizations create NAME` and `tollgate projects create NAME`."
)
_MAX_IDEMPOTENCY_KEY: Final = 128


def tenants_router(context: HttpContext) -> APIRouter:
    """Returns organizations, projects and credit under /api/v1."""
    router = APIRouter(prefix="/api/v1")
    _add_organizations(router, context)
    _add_credit(router, context)
    _add_projects(router, context)
    return router


def _add_organizations(router: APIRouter, context: HttpContext) -> None:
    @router.post("/organizations", status_code=201, summary="Makes an organization; names are taken once")
    async def create_organization(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        try:
            currency = choice_field(body, "currency", CURRENCIES[0], CURRENCIES)
            made = await context.create_tenant.organization(text_field(body, "name", required=True), currency)
        except ValueError as error:
            raise invalid(f"'name': {error}.", "name") from None
        except Conflict as error:
            raise public_error(errors.ERROR_KIND_CONFLICT, f"Not made: {error}.", "name") from None
        return json_response(_organization(made), 201)

    @router.get("/organizations", summary="Organizations, newest first")
    async def list_organizations(
        request: Request, name: ShortText = "", limit: PageLimit = 100, cursor: ShortText = ""
    ) -> Response:
        await context.operator(request)
        found = await context.tenants.list_organizations(limit + 1, cursor, name)
        return page_response([_organization(one) for one in found], limit)


def _add_credit(router: APIRouter, context: HttpContext) -> None:
    @router.post("/organizations/{organization_id}/credit", status_code=201, summary="Adds to an organization's money")
    async def give_credit(request: Request, organization_id: str) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        organization = await organization_of(context, organization_id)
        amount = amount_field(body)
        key = idempotency_key(request)
        reason = text_field(body, "reason", longest=200) or "credit"
        balance = await context.give_credit(organization, amount, reason, key)
        return json_response(
            {
                "organization_id": organization.id,
                "currency": organization.currency,
                **render_money("amount", amount),
                **render_money("balance", balance),
            },
            201,
        )


def _add_projects(router: APIRouter, context: HttpContext) -> None:
    @router.post("/projects", status_code=201, summary="Makes a project; an organization has a name once")
    async def create_project(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        organization = await organization_of(context, text_field(body, "organization_id", longest=200))
        try:
            made = await context.create_tenant.project(
                organization,
                text_field(body, "name", required=True),
                price_group=text_field(body, "price_group"),
                route_group=text_field(body, "route_group"),
            )
        except ValueError as error:
            raise invalid(f"The project is not valid: {error}.", "") from None
        except Conflict as error:
            raise public_error(errors.ERROR_KIND_CONFLICT, f"Not made: {error}.", "name") from None
        return json_response(_project(made), 201)

    @router.get("/projects", summary="Projects, newest first")
    async def list_projects(
        request: Request,
        organization_id: ShortText = "",
        name: ShortText = "",
        limit: PageLimit = 100,
        cursor: ShortText = "",
    ) -> Response:
        await context.operator(request)
        found = await context.tenants.list_projects(organization_id, limit + 1, cursor, name)
        return page_response([_project(one) for one in found], limit)


async def organization_of(context: HttpContext, organization_id: str) -> Organization:
    """Returns the organization of this id, or the only one there is when none is named. Raises PublicError."""
    if organization_id:
        found = await context.tenants.find_organization(organization_id)
        if found is None:
            raise public_error(errors.ERROR_KIND_NOT_FOUND, "There is no such organization.", "organization_id")
        return found
    some = await context.tenants.list_organizations(2, "", "")
    if not some:
        raise public_error(errors.ERROR_KIND_NOT_FOUND, NO_ORGANIZATION, "organization_id")
    if len(some) > 1:
        raise invalid("There is more than one organization: say which in 'organization_id'.", "organization_id")
    return some[0]


def idempotency_key(request: Request) -> str:
    """Returns what the header says, or nothing. Raises PublicError."""
    key = request.headers.get("idempotency-key", "")
    if len(key) > _MAX_IDEMPOTENCY_KEY:
        raise invalid(f"The header Idempotency-Key is longer than {_MAX_IDEMPOTENCY_KEY} characters.", "")
    return key


def amount_field(body: dict[str, Any]) -> int:
    """Returns pico-units. A JSON number is refused: money is never a float."""
    try:
        amount = parse_decimal(body.get("amount"))
    except InvalidPrice:
        amount = 0
    if not 0 < amount <= INT64_MAX:
        raise invalid(
            f'\'amount\' must be a decimal string above 0 and below {INT64_MAX // PICO}, such as "100" or "12.5".',
            "amount",
        )
    return amount


def _organization(found: Organization) -> dict[str, Any]:
    return {
        "id": found.id,
        "name": found.name,
        "currency": found.currency,
        "created_at": render_time(found.created_at_us),
    }


def _project(found: Project) -> dict[str, Any]:
    return {
        "id": found.id,
        "organization_id": found.organization_id,
        "name": found.name,
        "price_group": found.price_group,
        "route_group": found.route_group,
        "created_at": render_time(found.created_at_us),
    }
