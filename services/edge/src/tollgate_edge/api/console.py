"""The console API: keys, usage, requests, balance and routers. Operators see all; a key sees its organization."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from google.protobuf.json_format import MessageToDict
from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_rating import format_decimal

from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import text_field
from tollgate_edge.domain.principal import Principal
from tollgate_edge.errors import PublicError, public_error
from tollgate_edge.ports import Conflict, KeyRecord, Project

GROUPS: Final = (
    "organization", "project", "key", "model", "channel", "provider", "operation", "outcome", "day", "hour",
)  # fmt: skip
_MAX_MODELS: Final = 100
_Limit = Annotated[int, Query(ge=1, le=1000)]
_Id = Annotated[str, Query(max_length=200)]


def console_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1."""
    router = APIRouter(prefix="/api/v1")
    _add_identity(router, context)
    _add_keys(router, context)
    _add_money(router, context)
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
            }
        )

    @router.get("/router", summary="What the routers know of each channel")
    async def routers(request: Request) -> Response:
        await context.operator(request)
        found = [
            {"address": address, "reachable": state is not None} | ({} if state is None else _plain(state))
            for address, state in await context.routers.describe()
        ]
        return json_response({"routers": found})


def _add_keys(router: APIRouter, context: HttpContext) -> None:
    @router.post("/keys", status_code=201, summary="Makes an API key; it is shown once")
    async def create_key(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request, optional=True)
        project = await _project(context, body)
        try:
            record, key = await context.create_key(
                project,
                text_field(body, "name") or "key",
                models=_models(body),
                expires_at_us=_moment(text_field(body, "expires_at"), "expires_at"),
            )
        except ValueError as error:
            raise public_error(errors.ERROR_KIND_INVALID_REQUEST, f"'name': {error}.", "name") from None
        except Conflict as error:
            raise public_error(errors.ERROR_KIND_CONFLICT, str(error)) from None
        return json_response(_key(record) | {"key": key.reveal()}, 201)

    @router.get("/keys", summary="API keys, newest first, without their secrets")
    async def list_keys(request: Request, organization_id: _Id = "", limit: _Limit = 100, cursor: _Id = "") -> Response:
        await context.operator(request)
        records = await context.keys.list_keys(organization_id, limit + 1, cursor)
        page = records[:limit]
        return json_response(
            {"items": [_key(record) for record in page], "next": page[-1].id if len(records) > limit else None}
        )

    @router.post("/keys/{key_id}/revoke", summary="Revokes a key, everywhere within a second")
    @router.delete("/keys/{key_id}", summary="Revokes a key, everywhere within a second")
    async def revoke_key(request: Request, key_id: str) -> Response:
        await context.operator(request)
        record = await context.keys.revoke_key("", key_id, context.clock.now_us())
        if record is None:
            raise public_error(errors.ERROR_KIND_NOT_FOUND, "There is no such key.")
        return json_response(_key(record))


def _add_money(router: APIRouter, context: HttpContext) -> None:
    @router.get("/usage", summary="Sums over usage rows")
    async def usage(
        request: Request,
        group_by: Annotated[str, Query(max_length=200)] = "model",
        limit: _Limit = 100,
        organization_id: _Id = "",
        project_id: _Id = "",
        api_key_id: _Id = "",
        model: _Id = "",
        since: Annotated[str, Query(alias="from", max_length=40)] = "",
        until: Annotated[str, Query(alias="to", max_length=40)] = "",
    ) -> Response:
        principal = await context.anyone(request)
        groups = [name.strip() for name in group_by.split(",") if name.strip()]
        if unknown := [name for name in groups if name not in GROUPS]:
            raise _invalid(f"'group_by' takes {', '.join(GROUPS)}, not '{unknown[0]}'.", "group_by")
        found = await context.billing.usage(
            billing.QueryUsageRequest(
                filter=_filter(principal, organization_id, project_id, api_key_id, model, since, until),
                group_by=groups,
                limit=limit,
            )
        )
        rows = [dict(zip(groups, row.group, strict=False)) | _sums(row) for row in found.rows]
        return json_response({"requests": found.total.requests, "total": _sums(found.total), "rows": rows})

    @router.get("/requests", summary="Single requests, newest first")
    async def requests(
        request: Request,
        request_id: _Id = "",
        limit: _Limit = 100,
        cursor: Annotated[str, Query(max_length=1000)] = "",
        organization_id: _Id = "",
        project_id: _Id = "",
        api_key_id: _Id = "",
        model: _Id = "",
        since: Annotated[str, Query(alias="from", max_length=40)] = "",
        until: Annotated[str, Query(alias="to", max_length=40)] = "",
    ) -> Response:
        principal = await context.anyone(request)
        found = await context.billing.requests(
            billing.ListRequestsRequest(
                filter=_filter(principal, organization_id, project_id, api_key_id, model, since, until),
                request_id=request_id,
                limit=limit,
                cursor=cursor,
            )
        )
        items = [_request(row, principal) for row in found.rows]
        return json_response({"items": items, "next": found.next_cursor or None})

    @router.get("/balance", summary="Money of an organization: in the ledger, free to spend, held")
    async def balance(request: Request, organization_id: _Id = "") -> Response:
        organization = await _organization(context, await context.anyone(request), organization_id)
        found = await context.billing.balance(billing.GetBalanceRequest(organization_id=organization))
        wallet = found.wallet_pico if found.HasField("wallet_pico") else None
        return json_response(
            {
                "organization_id": organization,
                "currency": found.currency,
                **_money("ledger", found.ledger_pico),
                **_money("wallet", wallet),
                **_money("held", found.held_pico),
                **_money("settled_unbooked", found.settled_unbooked_pico),
            }
        )

    @router.get("/billing/status", summary="How far billing is behind")
    async def status(request: Request) -> Response:
        await context.operator(request)
        return json_response(_plain(await context.billing.status()))


async def _project(context: HttpContext, body: dict[str, Any]) -> Project:
    project_id = text_field(body, "project_id", longest=200)
    found = await context.tenants.find_project(text_field(body, "organization_id", longest=200), project_id)
    if found is None:
        raise public_error(errors.ERROR_KIND_NOT_FOUND, "There is no such project.", "project_id")
    return found


async def _organization(context: HttpContext, principal: Principal, asked: str) -> str:
    """Returns the organization to speak of: a key's own, or for operators the one asked for or else the oldest."""
    if not principal.is_operator:
        if asked not in {"", principal.organization_id}:
            raise public_error(errors.ERROR_KIND_FORBIDDEN, "This key belongs to another organization.")
        return principal.organization_id
    if asked:
        return asked
    found = await context.tenants.find_project("", "")
    if found is None:
        raise public_error(errors.ERROR_KIND_NOT_FOUND, "There is no organization yet.", "organization_id")
    return found.organization_id


def _filter(
    principal: Principal, organization_id: str, project_id: str, api_key_id: str, model: str, since: str, until: str
) -> billing.UsageFilter:
    if not principal.is_operator:
        if organization_id not in {"", principal.organization_id}:
            raise public_error(errors.ERROR_KIND_FORBIDDEN, "This key belongs to another organization.")
        organization_id = principal.organization_id
    return billing.UsageFilter(
        organization_id=organization_id,
        project_id=project_id,
        api_key_id=api_key_id,
        model=model,
        from_us=_moment(since, "from"),
        to_us=_moment(until, "to"),
    )


def _moment(value: str, name: str) -> int:
    """Returns microseconds since the epoch of an ISO time; 0 for none."""
    if not value:
        return 0
    try:
        moment = datetime.fromisoformat(value)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        raise _invalid(f"'{name}' must be a time such as 2026-11-01T00:00:00Z.", name) from None


def _models(body: dict[str, Any]) -> tuple[str, ...] | None:
    value = body.get("models")
    if value is None:
        return None
    if (
        not isinstance(value, list)
        or len(value) > _MAX_MODELS
        or not all(isinstance(one, str) and one for one in value)
    ):
        raise _invalid(f"'models' must be a list of at most {_MAX_MODELS} model names.", "models")
    return tuple(dict.fromkeys(value))


def _invalid(message: str, param: str) -> PublicError:
    return public_error(errors.ERROR_KIND_INVALID_REQUEST, message, param)


def _key(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "last_four": record.last_four,
        "organization_id": record.organization_id,
        "project_id": record.project_id,
        "models": None if record.models is None else list(record.models),
        "created_at": _time(record.created_at_us),
        "revoked_at": _time(record.revoked_at_us),
        "expires_at": _time(record.expires_at_us),
    }


def _time(at_us: int) -> str | None:
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="milliseconds") if at_us else None


def _money(name: str, pico: int | None) -> dict[str, Any]:
    """Returns the amount twice: for people as a decimal string, for programs in exact pico-units."""
    return {name: None if pico is None else format_decimal(pico), f"{name}_pico": pico}


def _sums(row: billing.UsageRow) -> dict[str, Any]:
    return {
        "requests": row.requests,
        "errors": row.errors,
        "unpriced": row.unpriced,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cache_read_tokens": row.cache_read_tokens,
        "cache_write_tokens": row.cache_write_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "images": row.images,
        **_money("charge", row.charge_pico),
        **_money("cost", row.cost_pico),
    }


def _request(row: billing.RequestRow, principal: Principal) -> dict[str, Any]:
    found = _plain(row)
    found["started_at"] = _time(row.started_at_us)
    found.update(_money("charge", row.charge_pico))
    found.update(_money("cost", row.cost_pico))
    if not principal.is_operator:
        # How we buy is none of the caller's business.
        for name in ("channel", "provider", "upstream_model", "cost", "cost_pico"):
            found.pop(name, None)
    return found


def _plain(message: Any) -> dict[str, Any]:
    plain: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return {name: _number(message, name, value) for name, value in plain.items()}


def _number(message: Any, name: str, value: Any) -> Any:
    # Protobuf's JSON writes 64-bit numbers as strings.
    own = getattr(message, name, None)
    return own if isinstance(own, int) and isinstance(value, str) else value
