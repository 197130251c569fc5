"""`tollgate limits list | show | set`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.errors import Failure
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrency")
COLUMNS = ("id", "name", "payment", *LIMITS, "budget")


def show_all(home: Path | None, environment: Mapping[str, str], *, as_json: bool) -> None:
    """Lists whoever has a limit or pays later. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        items = list(api.items("/api/v1/limits"))
    if as_json:
        print_json({"items": items, "next": None})
    else:
        _print(items)


def show(home: Path | None, environment: Mapping[str, str], owner_id: str, *, as_json: bool) -> None:
    """Shows the limits of one. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        owner = api.get(_path(owner_id))
    if as_json:
        print_json(owner)
    else:
        _print([owner])


def change(
    home: Path | None,
    environment: Mapping[str, str],
    owner_id: str,
    changes: Mapping[str, object],
    *,
    as_json: bool,
) -> None:
    """Sets what is given and shows what holds then. Raises Failure."""
    given = {name: value for name, value in changes.items() if value is not None}
    if not given:
        raise Failure("There is nothing to set.", advice="Name a limit, such as --requests-per-minute 60.")
    with Api(find_target(home, environment)) as api:
        owner = api.patch(_path(owner_id), given)
    if as_json:
        print_json(owner)
    else:
        _print([owner])


def _path(owner_id: str) -> str:
    return f"/api/v1/limits/{quote(owner_id, safe='')}"


def read_budget(amount: str | None, window: str | None) -> dict[str, str] | None:
    """Returns a budget as the API takes it. Raises Failure for a window without an amount."""
    if amount is None:
        if window is not None:
            raise Failure("A window needs an amount.", advice="Add --budget, such as --budget 25.")
        return None
    return {"amount": amount} | ({"window": window} if window is not None else {})


def _print(owners: list[dict[str, Any]]) -> None:
    print_table(COLUMNS, [_row(owner) for owner in owners], numbers=LIMITS)


def _row(owner: Mapping[str, Any]) -> list[object]:
    limits = owner["limits"]
    budget = limits.get("budget")
    said = None if budget is None else f"{budget['amount']} {budget['window']}"
    return [owner["id"], owner["name"], owner.get("payment"), *(limits[one] for one in LIMITS), said]
