"""`tollgate evidence`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.commands.requests import print_requests
from tollgate_cli.commands.route import COLUMNS as TARGET_COLUMNS
from tollgate_cli.commands.route import target_row
from tollgate_cli.errors import USAGE, Failure
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_TIME: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400}
_ATTEMPTS: Final = ("try", "attempt", "status", "model", "channel", "outcome", "error", "ms", "in", "out", "charge")


def show(home: Path | None, environment: Mapping[str, str], request_id: str, *, as_json: bool) -> None:
    """Shows all that is known of a request. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        found = api.get(_path(_resolved(api, request_id)))
    if as_json:
        print_json(found)
    else:
        _print(found)


def make_link(
    home: Path | None, environment: Mapping[str, str], request_id: str, expires: str, *, as_json: bool
) -> None:
    """Makes a link to the evidence. Raises Failure."""
    body = {"expires_in_seconds": read_time(expires)}
    with Api(find_target(home, environment)) as api:
        made = api.post(f"{_path(_resolved(api, request_id))}/link", body)
    if as_json:
        print_json(made)
    else:
        print(f"{made['url']}\nIt needs no key, and is good until {made['expires_at']}.")


def read_time(text: str) -> int:
    """Returns the seconds of 30m, 24h or 7d. Raises Failure."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise Failure(f"{text!r} is no time.", code=USAGE, advice="Write it as 30m, 24h or 7d.")
    return int(found[1]) * _SECONDS[found[2]]


def _path(request_id: str) -> str:
    return f"/api/v1/requests/{quote(request_id, safe='')}"


def _resolved(api: Api, request_id: str) -> str:
    """Returns the id of a request, which a trace id names too. Raises Failure where that names several."""
    if not _TRACE.fullmatch(request_id):
        return request_id
    items = api.get("/api/v1/requests", {"trace_id": request_id})["items"]
    ids = sorted({item["request_id"] for item in items})
    if not ids:
        raise Failure(f"No request has the trace id {request_id}.", details={"trace_id": request_id})
    if len(ids) > 1:
        print_requests(items)
        raise Failure(f"The trace has {len(ids)} requests.", advice="Name one of them.", details={"requests": ids})
    return str(ids[0])


def _print(found: Mapping[str, Any]) -> None:
    print(f"request {found['request_id']}, {found['outcome'] or 'unknown outcome'}")
    key = found["key"]
    _facts(
        ("began", found["started_at"]),
        ("trace", found["trace_id"]),
        ("organization", _named(found["organization"])),
        ("project", _named(found["project"])),
        ("key", _key(key) if key else "not known: the request had no key of this gateway"),
        ("member", (key or {}).get("member")),
        ("tags", ", ".join((key or {}).get("tags") or ())),
        ("model", _model(found)),
        ("price group", found["price_group"]),
        ("configuration", found["config_digest"]),
    )
    if found["refused"]:
        _print_refusal(found["refused"])
    if found["attempts"]:
        _heading("attempts")
        print_table(_ATTEMPTS, [_attempt(one) for one in found["attempts"]], numbers=_ATTEMPTS[-4:])
    if found.get("routing"):
        _print_routing(found["routing"])
    for one in found["prices"]:
        _print_prices(one)
    _print_money(found)
    for one in found.get("mismatches", ()):
        print(f"billing computed {one['expected_pico']} and not {one['found_pico']} pico-units: {one['reason']}")
    _print_limits("limits that it was admitted within", found.get("limits", ()))
    _print_limits("limits as they are now", found.get("limits_now", ()))


def _facts(*pairs: tuple[str, object]) -> None:
    for name, value in pairs:
        if value:
            print(f"  {name:<14}{value}")


def _heading(text: str) -> None:
    print(f"\n{text}")


def _named(one: Mapping[str, Any]) -> str:
    name = one.get("name")
    return f"{one['id']} ({name})" if name else one["id"] or ""


def _key(key: Mapping[str, Any]) -> str:
    parts = [key["id"], f"({key['name']})" if key.get("name") else "", f"ends in {key['last_four']}"]
    if key.get("revoked_at"):
        parts.append(f"revoked {key['revoked_at']}")
    return " ".join(part for part in parts if part)


def _model(found: Mapping[str, Any]) -> str:
    if not found["requested_model"]:
        return str(found["model"] or "")
    return f"{found['model']}, asked for as {found['requested_model']}; fell back for {found['fallback_reason']}"


def _print_refusal(refused: Mapping[str, Any]) -> None:
    _heading(f"refused: {refused['http_status']} {refused['error_kind']}")
    _facts(("told", refused["message"]), ("at", refused["route"]))
    if refused["left_out"]:
        print(f"  {refused['left_out']} refusals before it were left out of the log")


def _attempt(one: Mapping[str, Any]) -> list[object]:
    status = "taken back" if one["kind"] == "adjustment" else one["status"]
    later = one.get("source") == "billing"
    marks = [word for word in ("superseded", "estimated", "replay", "unpriced") if one.get(word) and not later]
    marks += ["rated later"] if later else []
    return [
        one["try"],
        one["attempt"],
        " ".join([status, *marks]),
        one["model"],
        one.get("channel"),
        one["outcome"],
        one["error_kind"],
        f"{one['total_us'] / 1000:.1f}",
        one["input_tokens"],
        one["output_tokens"],
        one["charge"],
    ]


def _print_routing(routing: Mapping[str, Any]) -> None:
    _heading(f"why this way: route group {routing['route_group']}, strategy {routing['strategy']}")
    numbers = ("level", "key", "weight", "wait")
    print_table(TARGET_COLUMNS, [target_row(one) for one in routing["targets"]], numbers=numbers)
    if routing["refusal"]:
        print(routing["refusal"])


def _print_prices(one: Mapping[str, Any]) -> None:
    _heading(f"price book {one['price_book'] or 'unknown'} {one['price_digest']}")
    if one["lines"]:
        rows: Sequence[Sequence[object]] = [
            (line["unit"], line["quantity"], f"{line['price']} per {line['per']:,}", line["amount"])
            for line in one["lines"]
        ]
        print_table(("unit", "quantity", "price", "amount"), rows, numbers=("quantity", "amount"))
    exchange = one["exchange_rate"]
    if exchange:
        print(f"  converted: 1 {exchange['from']} is {exchange['rate']} {exchange['to']}, {exchange['rate_digest']}")
        print(f"  before that: {exchange['list_charge']} {exchange['from']}")
    if one["problem"]:
        print(f"  cannot be computed again: {one['problem']}")
    elif one["agrees"]:
        print(f"  computed again: {one['computed_again']} {one['currency']}, as charged")
    else:
        print(f"  computed again: {one['computed_again']}; charged: {one['charged']} {one['currency']}: they DIFFER")


def _print_money(found: Mapping[str, Any]) -> None:
    hold = found["hold"]
    if hold is None:
        return
    _heading(f"paid {found['charge']} {found['currency'] or ''}")
    if hold["state"] == "none":
        held = f"{hold['held']} {found['currency']} were held; " if hold["held"] else ""
        print(f"  {held}no hold is left: it was settled and booked")
    else:
        print(f"  hold: {hold['state']} {hold['amount']} {found['currency'] or ''}, {hold['at']}")
    for one in found["ledger"]:
        amount = f"{one['amount']} {one['currency']}"
        print(f"  ledger: {one['debit']} to {one['credit']} {amount} for {one['events']} events, batch {one['batch']}")


def _print_limits(heading: str, limits: Sequence[Mapping[str, Any]]) -> None:
    said = [
        (one["id"], ", ".join(f"{name} {_limit(value)}" for name, value in one["limits"].items() if value))
        for one in limits
    ]
    if any(text for _, text in said):
        _heading(heading)
        _facts(*said)


def _limit(value: Any) -> str:
    return f"{value['amount']} a {value['window']}" if isinstance(value, dict) else str(value)
