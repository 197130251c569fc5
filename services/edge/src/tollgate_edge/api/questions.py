"""The console API's questions about usage: kept views, an operator's SQL, exports; asked of billing."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from google.protobuf.json_format import MessageToDict
from grpc import aio
from starlette.responses import StreamingResponse

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.figures import organization_asked
from tollgate_edge.api.reading import ShortText, text_field, whole_field
from tollgate_edge.api.rendering import invalid
from tollgate_edge.domain.principal import Principal

_MOST_ROWS: Final = 10_000
_MOST_PARAMETERS: Final = 20
_LONGEST_SQL: Final = 20_000
RowLimit = Annotated[int, Query(ge=1, le=_MOST_ROWS)]


def questions_router(context: HttpContext) -> APIRouter:
    """Returns views, SQL and exports under /api/v1/usage."""
    router = APIRouter(prefix="/api/v1/usage")
    _add_views(router, context)
    _add_sql(router, context)
    _add_exports(router, context)
    return router


def _add_views(router: APIRouter, context: HttpContext) -> None:
    @router.get("/views", summary="The questions about usage that are kept as views")
    async def views(request: Request) -> Response:
        principal = await context.anyone(request)
        found = await context.billing.views(billing.ListViewsRequest(operator=principal.is_operator))
        return json_response({"items": [_view(one) for one in found.views]})

    @router.get("/views/{name}", summary="The answer of a view; its parameters are those of the query")
    async def view(request: Request, name: str, organization_id: ShortText = "", limit: RowLimit = 1_000) -> Response:
        principal = await context.anyone(request)
        given = {key: value for key, value in request.query_params.items() if key not in {"organization_id", "limit"}}
        # A key may come as `?key=`, as some clients send it; no view takes that.
        given.pop("key", None)
        if len(given) > _MOST_PARAMETERS or any(len(value) > 200 for value in given.values()):
            raise invalid(f"A view takes up to {_MOST_PARAMETERS} parameters of up to 200 characters.", "query")
        # Which organization is asked about has one name here, for all who may not choose it.
        given.pop("organization", None)
        found = await context.billing.view(
            billing.QueryViewRequest(
                name=name,
                parameters=given,
                organization_id=await _organization(context, principal, organization_id),
                operator=principal.is_operator,
                limit=limit,
            )
        )
        return _table({"view": name}, found.columns, found.rows_json, truncated=found.truncated)


def _add_sql(router: APIRouter, context: HttpContext) -> None:
    @router.post("/sql", summary="One SELECT over the usage store, for operators")
    async def sql(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        text = text_field(body, "sql", required=True, longest=_LONGEST_SQL)
        limit = whole_field(body, "limit", 1_000, 1, _MOST_ROWS)
        found = await context.billing.sql(billing.RunSqlRequest(sql=text, limit=limit))
        return _table({}, found.columns, found.rows_json, truncated=found.truncated)


def _add_exports(router: APIRouter, context: HttpContext) -> None:
    @router.get("/export", summary="Usage rows of an organization and a month, as Parquet")
    async def export(
        request: Request, month: Annotated[str, Query(max_length=40)], organization_id: ShortText = ""
    ) -> Response:
        principal = await context.anyone(request)
        organization = await _organization(context, principal, organization_id)
        if not organization:
            raise invalid("'organization_id' names the organization whose rows are exported.", "organization_id")
        pieces = await context.billing.export(
            billing.ExportUsageRequest(organization_id=organization, month=month, operator=principal.is_operator)
        )
        headers = {"content-disposition": 'attachment; filename="usage.parquet"', "cache-control": "private, no-store"}
        return StreamingResponse(_whole(pieces), media_type="application/vnd.apache.parquet", headers=headers)

    @router.get("/isolation", summary="What gives an organization's analysts their own rows on a ClickHouse server")
    async def isolation(request: Request, organization_id: Annotated[str, Query(max_length=200)]) -> Response:
        asked = await _organization(context, await context.operator(request), organization_id)
        if not asked:
            raise invalid("'organization_id' names the organization whose analysts are let in.", "organization_id")
        found = await context.billing.isolation(billing.DescribeIsolationRequest(organization_id=organization_id))
        return json_response({"statements": list(found.statements), "run": False})


async def _whole(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Breaks the connection where billing breaks off: a file without its end is not taken for a whole one."""
    try:
        async for piece in pieces:
            yield piece
    except aio.AioRpcError as failure:
        raise ConnectionError(f"billing ended an export with {failure.code().name}") from None


async def _organization(context: HttpContext, principal: Principal, asked: str) -> str:
    """Returns whose usage is asked about; empty is everybody's, for operators.

    Raises PublicError for one that is not there: it would have used nothing.
    """
    return "" if principal.is_operator and not asked else await organization_asked(context, principal, asked)


def _table(
    head: dict[str, Any], columns: Sequence[billing.ViewColumn], rows: Sequence[str], *, truncated: bool
) -> Response:
    """Returns columns and rows; each row is an array in the order of the columns, amounts in decimal text."""
    described = [
        {"name": one.name, "type": one.type, "unit": one.unit or None, "meaning": one.meaning or None}
        for one in columns
    ]
    return json_response(head | {"columns": described, "rows": list(map(json.loads, rows)), "truncated": truncated})


def _view(one: billing.View) -> dict[str, Any]:
    found: dict[str, Any] = MessageToDict(
        one, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for parameter in found["parameters"]:
        parameter.setdefault("default", None)
    for column in found["columns"]:
        column.pop("type")
    return found
