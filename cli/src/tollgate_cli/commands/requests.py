"""`tollgate requests`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

COLUMNS = ("started", "request", "key", "model", "outcome", "error", "tokens in", "out", "charge", "currency")
NUMBERS = ("tokens in", "out", "charge")


def show(
    home: Path | None, environment: Mapping[str, str], query: Mapping[str, str | int | None], *, as_json: bool
) -> None:
    """Lists requests. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        asked = dict(query) | {"organization_id": organization_id(api, _text(query["organization_id"]))}
        found = api.get("/api/v1/requests", {name: str(value) for name, value in asked.items() if value is not None})
    if as_json:
        print_json(found)
        return
    print_requests(found["items"])
    if found["next"]:
        print("\nThere are more: raise --limit, or narrow --from and --to.")


def print_requests(items: list[dict[str, Any]]) -> None:
    """Prints rows of single requests."""
    if not items:
        print("No request is like that.")
        return
    print_table(COLUMNS, [_row(item) for item in items], numbers=NUMBERS)


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _row(item: Mapping[str, Any]) -> list[object]:
    refused = item["kind"] == "refused"
    outcome = item["outcome"] if item["kind"] != "adjustment" else "taken back"
    used = [None if refused else item[name] for name in ("input_tokens", "output_tokens", "charge", "currency")]
    error = f"{item['http_status']} {item['error_kind']}" if refused else item["error_kind"]
    return [item["started_at"], item["request_id"], item["api_key_id"], item["model"], outcome, error, *used]
