"""Single requests on the wire: rows of usage and of the request log, and evidence."""

import json
from typing import Any, Final

from google.protobuf.json_format import Parse

from tollgate.billing.v1 import billing_pb2 as wire
from tollgate.exchange.v1.exchange_pb2 import Limit
from tollgate.routing.v1.explanation_pb2 import Explanation
from tollgate_billing.domain.rows import NO_EVENT, Row, log_place, to_pico
from tollgate_billing.errors import InvalidQuery
from tollgate_billing.ports import HoldRecord, Place
from tollgate_billing.use_cases.look_at_requests import Evidence, Rerating
from tollgate_rating import REQUEST, format_decimal

_SAME: Final = (
    *("request_id", "trace_id", "started_at_us", "organization_id", "project_id", "api_key_id", "member", "model"),
    *("requested_model", "fallback_reason", "upstream_model", "provider", "channel", "operation", "outcome"),
    *("error_kind", "status", "final", "estimated", "unpriced", "stream", "attempt", "input_tokens", "output_tokens"),
    *("cache_read_tokens", "reasoning_tokens", "images", "currency", "price_digest", "config_digest"),
    *("rate_digest", "list_currency", "provider_currency"),
    *("first_byte_us", "total_us", "kind", "media_job_id", "price_group", "batch", "upstream_status"),
    *("replay", "source"),
)
_OTHER_TOKENS: Final = ("audio_input_tokens", "audio_output_tokens", "image_input_tokens", "image_output_tokens")
_SAME_OF_REFUSED: Final = (
    *("request_id", "trace_id", "started_at_us", "organization_id", "project_id", "api_key_id", "member", "model"),
    *("operation", "stream", "total_us", "http_status", "message", "route", "left_out"),
)


def read_cursor(cursor: str) -> Place | None:
    """Returns the place that a cursor names; None for the beginning. Raises InvalidQuery."""
    if not cursor:
        return None
    started, _, event_id = cursor.partition(".")
    plain = event_id.replace("-", "")
    if not started.isdecimal() or len(plain) != 32 or any(char not in "0123456789abcdef" for char in plain):
        raise InvalidQuery("the cursor is none that was given out")
    return int(started), event_id


def request_row(kind: str, row: Row) -> wire.RequestRow:
    """Returns a row of a list; `kind` is usage or refused."""
    return _usage(row, row["superseded"]) if kind == "usage" else _refused(row)


def evidence_reply(evidence: Evidence) -> wire.GetEvidenceResponse:
    """Returns all that is known of a request; without rows when that is nothing."""
    lost = evidence.superseded
    usage = [_usage(row, (row["event_id"].bytes, log_place(row)) in lost) for row in evidence.rows]
    reply = wire.GetEvidenceResponse(
        rows=[*usage, *(_refused(row) for row in evidence.refused)],
        ratings=[_rating(one) for one in evidence.ratings],
        ledger=[
            wire.LedgerLine(
                batch=one.batch,
                debit=one.debit,
                credit=one.credit,
                currency=one.currency,
                amount_pico=one.amount_pico,
                events=one.events,
                created_us=one.created_us,
            )
            for one in evidence.ledger
        ],
        mismatches=[
            wire.RatingMismatch(**{name: row[name] for name in _MISMATCH}, event_id=str(row["event_id"]))
            for row in evidence.mismatches
        ],
        charge_pico=evidence.charge_pico,
        currency=next((row["currency"] for row in evidence.rows if row["currency"]), ""),
    )
    if evidence.rows:
        reply.hold.CopyFrom(_hold(evidence.hold))
    return reply


_MISMATCH: Final = ("reason", "detail", "found_pico", "expected_pico", "found_at_us")


def _usage(row: Row, superseded: bool) -> wire.RequestRow:  # noqa: FBT001 - said of the row.
    routing = Parse(row["routing"], Explanation(), ignore_unknown_fields=True) if row["routing"] else None
    corrects = row["corrects_event_id"]
    return wire.RequestRow(
        routing=routing,
        event_id=str(row["event_id"]),
        charge_pico=to_pico(row["charge"]),
        cost_pico=to_pico(row["cost"]),
        list_charge_pico=to_pico(row["list_charge"]),
        provider_cost_pico=to_pico(row["provider_cost"]),
        hold_pico=to_pico(row["hold"]),
        limits=[Limit(**limit) for limit in json.loads(row["limits"] or "[]")],
        cache_write_tokens=row["cache_write_5m_tokens"] + row["cache_write_1h_tokens"],
        units=_units(row),
        corrects_event_id="" if corrects == NO_EVENT else str(corrects),
        tags=_tags(row),
        superseded=superseded,
        **{"try": row["try"]},
        **{name: row[name] for name in _SAME},
    )


def _tags(row: Row) -> list[str]:
    return row["tags"].split(",") if row["tags"] else []


def _units(row: Row) -> dict[str, int]:
    """Returns what was used of units that have no field of their own."""
    found = {name.removesuffix("_tokens"): row[name] for name in _OTHER_TOKENS if row[name]}
    if row["requests"]:
        found[REQUEST] = row["requests"]
    return found | dict(row["extra_units"])


def _refused(row: Row) -> wire.RequestRow:
    gone = row["http_status"] == 499
    return wire.RequestRow(
        kind="refused",
        status="refused",
        event_id=str(row["event_id"]),
        outcome="cancelled" if gone else "refused",
        error_kind=row["code"],
        tags=_tags(row),
        **{name: row[name] for name in _SAME_OF_REFUSED},
    )


def _rating(one: Rerating) -> wire.Rerating:
    row: dict[str, Any] = one.row
    return wire.Rerating(
        event_id=str(row["event_id"]),
        price_book=one.price_book,
        price_digest=row["price_digest"],
        price_group=row["price_group"],
        currency=row["currency"],
        lines=[
            wire.RatedLine(
                unit=line.unit, quantity=line.quantity, price=line.price, per=line.per, amount_pico=line.amount_pico
            )
            for line in one.lines
        ],
        charged_pico=one.charged_pico,
        rated_pico=one.rated_pico,
        problem=one.problem,
        rate_digest=row["rate_digest"],
        exchange_rate="" if one.exchange is None else format_decimal(one.exchange.rate),
        list_currency="" if one.exchange is None else row["list_currency"],
        list_pico=0 if one.exchange is None else to_pico(row["list_charge"]),
    )


def _hold(record: HoldRecord | None) -> wire.HoldState:
    if record is None:
        return wire.HoldState(state="none")
    return wire.HoldState(state=record.state, amount_pico=record.amount_pico, at_us=record.at_us)
