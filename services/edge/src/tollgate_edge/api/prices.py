"""The console API's prices: what usage would have cost under a draft, charging what had no price, exchange rates."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from tollgate.billing.v1 import reports_pb2 as reports
from tollgate_edge.api.context import HttpContext, json_response
from tollgate_edge.api.reading import object_field, text_field
from tollgate_edge.api.rendering import invalid, parse_time, render_money, render_time
from tollgate_edge.api.tenants import organization_of
from tollgate_rating import ExchangeRate, InvalidPrice, RateTable, format_decimal
from tollgate_rating import PriceBook as RatedBook
from tollgate_resources import PriceBook


def prices_router(context: HttpContext) -> APIRouter:
    """Returns the routes under /api/v1/prices and /api/v1/exchange-rates."""
    router = APIRouter(prefix="/api/v1")
    _add_what_if(router, context)
    _add_rerate(router, context)

    @router.get("/exchange-rates", summary="Every exchange rate of the configuration, and which are in force")
    async def exchange_rates(request: Request) -> Response:
        await context.anyone(request)
        version, now_us = context.version.current(), context.clock.now_us()
        rates = version.price_table.rates if version is not None else RateTable()
        return json_response({"items": [_rate(one, rates, now_us) for one in rates.all()], "next": None})

    return router


def _add_what_if(router: APIRouter, context: HttpContext) -> None:
    @router.post("/prices/what-if", summary="Rates what was used under a draft of a price book; changes nothing")
    async def what_if(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        book = _draft(object_field(body, "book"))
        first, last = _span(body)
        named = text_field(body, "organization_id", longest=200)
        organization = (await organization_of(context, named)).id if named else ""
        found = await context.reports.what_if(
            reports.WhatIfRequest(
                book=book.canonical().decode(), from_us=first, to_us=last, organization_id=organization
            )
        )
        return json_response(
            {
                "book": book.name,
                "digest": found.digest,
                "currency": found.currency,
                "other_currency_requests": found.other_currency,
                "total": _sums(found.total),
                "rows": [_row(row) for row in found.rows],
            }
        )


def _add_rerate(router: APIRouter, context: HttpContext) -> None:
    @router.post("/prices/rerate", summary="Rates what had no price by a book that has one now; charges it if asked to")
    async def rerate(request: Request) -> Response:
        await context.operator(request)
        body = await context.bodies.read_object(request)
        first, last = _span(body)
        apply = body.get("apply", False)
        if not isinstance(apply, bool):
            raise invalid("'apply' must be true or false.", "apply")
        named = text_field(body, "organization_id", longest=200)
        found = await context.reports.rerate_unpriced(
            reports.RerateUnpricedRequest(
                from_us=first,
                to_us=last,
                organization_id=(await organization_of(context, named)).id if named else "",
                model=text_field(body, "model", longest=256),
                price_digest=text_field(body, "price_digest", longest=100),
                apply=apply,
            )
        )
        return json_response(
            {
                "applied": apply,
                "sent": found.sent,
                "rows": [_rerated(row) for row in found.rows],
                "shortened": found.shortened,
                "left_out": dict(sorted(found.left_out.items())),
            }
        )


def _span(body: dict[str, Any]) -> tuple[int, int]:
    """Returns 'from' and 'to' in microseconds. Raises PublicError."""
    since, until = text_field(body, "from", required=True), text_field(body, "to", required=True)
    first, last = parse_time(since, "from"), parse_time(until, "to")
    if first >= last:
        raise invalid("'from' must be before 'to'.", "from")
    return first, last


def _rerated(row: reports.RerateUnpricedRow) -> dict[str, Any]:
    names = ("organization_id", "project_id", "model", "price_digest", "currency", "requests")
    about = {name: getattr(row, name) for name in names}
    return about | render_money("charge", row.charge_pico) | render_money("cost", row.cost_pico)


def _rate(one: ExchangeRate, rates: RateTable, now_us: int) -> dict[str, Any]:
    return {
        "base": one.base,
        "quote": one.quote,
        "rate": format_decimal(one.rate),
        "effective": render_time(one.effective_us),
        "in_force": rates.find(one.base, one.quote, now_us) is one,
        "digest": one.digest,
    }


def _draft(given: dict[str, Any]) -> RatedBook:
    """Returns the book. Raises PublicError that names what is wrong."""
    try:
        return PriceBook.model_validate(given).rated()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in ("book", *first["loc"]))
        raise invalid(f"'{where[:200]}': {first['msg'].removeprefix('Value error, ')}.", "book") from None
    except InvalidPrice as error:
        raise invalid(f"'book': {error}.", "book") from None


def _row(row: reports.WhatIfRow) -> dict[str, Any]:
    about = {"organization_id": row.organization_id, "project_id": row.project_id, "model": row.model}
    return about | _sums(row)


def _sums(row: reports.WhatIfRow) -> dict[str, Any]:
    return {
        "requests": row.requests,
        "not_in_draft": row.not_in_draft,
        "unpriced": row.unpriced,
        **render_money("charged", row.charged_pico),
        **render_money("would", row.would_pico),
        **render_money("difference", row.would_pico - row.charged_pico),
    }
