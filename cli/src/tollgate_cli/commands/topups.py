"""`tollgate topups create | list`."""

from collections.abc import Mapping
from pathlib import Path

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

COLUMNS = ("id", "state", "amount", "currency", "created_at", "changed_at", "checkout_url")


def create(
    home: Path | None,
    environment: Mapping[str, str],
    amount: str,
    organization: str | None,
    idempotency_key: str | None,
    *,
    as_json: bool,
) -> None:
    """Begins a top-up. Raises Failure."""
    once = {"idempotency-key": idempotency_key} if idempotency_key else {}
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization)
        body = {"amount": amount} | ({"organization_id": owner} if owner else {})
        made = api.post("/api/v1/topups", body, headers=once)
    if as_json:
        print_json(made)
    else:
        print(f"{made['id']}: pay {made['amount']} {made['currency']} at {made['checkout_url']}")


def show(home: Path | None, environment: Mapping[str, str], organization: str | None, *, as_json: bool) -> None:
    """Lists top-ups. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization)
        items = list(api.items("/api/v1/topups", {"organization_id": owner} if owner else None))
    if as_json:
        print_json({"items": items, "next": None})
    else:
        print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in items], numbers=("amount",))
