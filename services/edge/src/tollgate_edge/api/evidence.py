"""The evidence of one request as JSON: who asked, which way it went, what it cost and why, and where that is booked.

How much of it is shown depends on who looks: operators see how providers are bought from, the organization that paid
does not, and whoever has a link sees neither that nor the names of keys.
"""

import enum
from typing import Any, Final

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate_edge.api.context import HttpContext
from tollgate_edge.api.limits import render_limits
from tollgate_edge.api.rendering import plain, render_explanation, render_money, render_time
from tollgate_edge.domain.limits import Limits


class View(enum.Enum):
    OPERATOR = "operator"
    OWNER = "owner"
    SUPPORT = "support"


# How we buy is none of the caller's business.
_BOUGHT: Final = (
    *("channel", "provider", "upstream_model", "upstream_status", "cost", "cost_pico", "routing"),
    *("provider_currency", "provider_cost", "provider_cost_pico"),
)
_REFUSED: Final = ("http_status", "message", "route", "left_out")
_ATTEMPT: Final = (
    *("kind", "try", "attempt", "source", "status", "outcome", "error_kind", "final", "superseded", "estimated"),
    *("replay", "model", "channel", "provider", "upstream_model", "upstream_status", "started_at", "first_byte_us"),
    *("total_us", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
    *(
        "images",
        "units",
        "unpriced",
        "charge",
        "charge_pico",
        "cost",
        "cost_pico",
        "provider_currency",
        "provider_cost",
    ),
    *("provider_cost_pico", "batch", "event_id", "corrects_event_id"),
)
_OF_REQUEST: Final = (
    *("request_id", "trace_id", "started_at", "operation", "stream", "model", "requested_model", "fallback_reason"),
    *("outcome", "price_group", "config_digest", "media_job_id"),
)
_CALLERS_ACCOUNT: Final = "wallet"


def render_row(row: billing.RequestRow, view: View) -> dict[str, Any]:
    """Returns a row of a list."""
    found = plain(row)
    found["started_at"] = render_time(row.started_at_us)
    found.update(render_money("charge", row.charge_pico))
    found.update(render_money("cost", row.cost_pico))
    found.update(render_money("list_charge", row.list_charge_pico))
    found.update(render_money("provider_cost", row.provider_cost_pico))
    found.update(render_money("hold", row.hold_pico))
    found["limits"] = _limits(row)
    found["units"] = dict(row.units)
    found["routing"] = render_explanation(row.routing) if row.HasField("routing") else None
    if view is not View.OPERATOR:
        for name in _BOUGHT:
            found.pop(name, None)
    if row.kind != "refused":
        for name in _REFUSED:
            found.pop(name, None)
    return found


def owner_of(found: billing.GetEvidenceResponse) -> str:
    """Returns the organization that asked; empty where nobody knows."""
    return str(found.rows[0].organization_id)


async def render_evidence(context: HttpContext, found: billing.GetEvidenceResponse, view: View) -> dict[str, Any]:
    """Returns the document. Raises StoreUnavailable."""
    rows = [render_row(row, view) for row in found.rows]
    used = [row for row in rows if row["kind"] != "refused"]
    refused = next((row for row in rows if row["kind"] == "refused"), None)
    said = _deciding(used) or rows[0]
    document: dict[str, Any] = {name: said.get(name) for name in _OF_REQUEST}
    # The try that explains itself is the last one of a request.
    document["routing"] = next((row["routing"] for row in reversed(used) if row.get("routing")), None)
    document |= {"currency": found.currency or None, **render_money("charge", found.charge_pico)}
    document |= await _who(context, said, view)
    document["refused"] = _named(refused, (*_REFUSED, "error_kind")) if refused is not None else None
    document["attempts"] = [_named(row, _ATTEMPT) for row in used]
    document["prices"] = [_rating(one) for one in found.ratings]
    document["hold"] = _hold(found, said) if used else None
    document["ledger"] = [_transfer(one) for one in found.ledger if view is View.OPERATOR or _is_callers(one)]
    if view is View.OPERATOR:
        document["mismatches"] = [plain(one) | {"found_at": render_time(one.found_at_us)} for one in found.mismatches]
    else:
        document.pop("routing")
    return document


def _named(row: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names if name in row}


def _deciding(used: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns the row that says how the request ended: its final that stands, else its last one."""
    taken_back = {row["corrects_event_id"] for row in used if row["corrects_event_id"]}
    standing = [
        row
        for row in used
        if row["final"] and row["kind"] == "usage" and not row["superseded"] and row["event_id"] not in taken_back
    ]
    return standing[-1] if standing else used[-1] if used else None


async def _who(context: HttpContext, said: dict[str, Any], view: View) -> dict[str, Any]:
    """Returns whose key it was, what it was admitted within, and what it may do now."""
    key = await context.keys.key(said["api_key_id"]) if said["api_key_id"] else None
    shown: dict[str, Any] = {
        "organization": {"id": said["organization_id"] or None},
        "project": {"id": said["project_id"] or None},
        "key": {"id": said["api_key_id"], "last_four": key.last_four if key is not None else None}
        if said["api_key_id"]
        else None,
    }
    if view is View.SUPPORT or not said["organization_id"]:
        return shown
    if shown["key"] is not None:
        # As they were when it asked; a key keeps both.
        shown["key"] |= {"member": said["member"] or None, "tags": said["tags"]}
    organization = await context.tenants.find_organization(said["organization_id"])
    project = await context.tenants.find_project(said["organization_id"], said["project_id"])
    shown["organization"]["name"] = organization.name if organization is not None else None
    shown["project"]["name"] = project.name if project is not None and said["project_id"] else None
    if key is not None:
        shown["key"] |= {
            "name": key.name,
            "created_at": render_time(key.created_at_us),
            "revoked_at": render_time(key.revoked_at_us),
            "expires_at": render_time(key.expires_at_us),
            "models": None if key.models is None else list(key.models),
        }
    # Of a request that was refused, or that is older than this record of them, nobody knows.
    shown["limits"] = said["limits"]
    owners = [await context.limits.limits_of(one) for one in _owners(said)]
    shown["limits_now"] = [
        {"kind": one.kind, "id": one.id, "limits": render_limits(one.limits)} for one in owners if one is not None
    ]
    return shown


def _owners(said: dict[str, Any]) -> list[str]:
    return [said[name] for name in ("api_key_id", "project_id", "organization_id") if said[name]]


def _rating(one: billing.Rerating) -> dict[str, Any]:
    lines = [
        {
            "unit": line.unit,
            "quantity": line.quantity,
            "price": line.price,
            "per": line.per,
            **render_money("amount", line.amount_pico),
        }
        for line in one.lines
    ]
    return {
        "event_id": one.event_id,
        "price_book": one.price_book or None,
        "price_digest": one.price_digest,
        "price_group": one.price_group,
        "currency": one.currency,
        "exchange_rate": _exchange_rate(one),
        "lines": lines,
        **render_money("charged", one.charged_pico),
        **render_money("computed_again", None if one.problem else one.rated_pico),
        "agrees": not one.problem and one.charged_pico == one.rated_pico,
        "problem": one.problem or None,
    }


def _exchange_rate(one: billing.Rerating) -> dict[str, Any] | None:
    """Returns by which rate a price was converted, and the charge before that; None where it was not."""
    if not one.rate_digest:
        return None
    return {
        "rate_digest": one.rate_digest,
        "rate": one.exchange_rate or None,
        "from": one.list_currency or None,
        "to": one.currency,
        **render_money("list_charge", one.list_pico if one.exchange_rate else None),
    }


def _hold(found: billing.GetEvidenceResponse, said: dict[str, Any]) -> dict[str, Any]:
    """Returns what was held for the request, and what of that Redis has still."""
    hold = found.hold
    held = said["hold_pico"] or None
    if hold.state == "none":
        return {"state": "none", "amount": None, "amount_pico": None, "at": None, **render_money("held", held)}
    return {
        "state": hold.state,
        **render_money("amount", hold.amount_pico),
        "at": render_time(hold.at_us),
        **render_money("held", held),
    }


def _limits(row: billing.RequestRow) -> list[dict[str, Any]]:
    return [
        {
            "kind": one.kind,
            "id": one.id,
            "limits": render_limits(
                Limits(
                    one.requests_per_minute,
                    one.tokens_per_minute,
                    one.concurrency,
                    one.budget_pico,
                    one.budget_window or "month",
                )
            ),
        }
        for one in row.limits
    ]


def _is_callers(line: billing.LedgerLine) -> bool:
    return _CALLERS_ACCOUNT in {line.debit, line.credit}


def _transfer(line: billing.LedgerLine) -> dict[str, Any]:
    return {
        "batch": line.batch,
        "debit": line.debit,
        "credit": line.credit,
        "currency": line.currency,
        **render_money("amount", line.amount_pico),
        "events": line.events,
        "booked_at": render_time(line.created_us),
    }
