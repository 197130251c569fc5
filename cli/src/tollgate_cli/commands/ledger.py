"""`tollgate ledger show` and `tollgate wallets rebuild`."""

from collections.abc import Mapping
from pathlib import Path

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

GRANTS = ("reason", "remaining", "amount", "priority", "expires_at")
TRANSFERS = ("created_at", "amount", "currency", "debit", "credit", "reason", "project_id", "model", "batch")
REBUILT = ("organization_id", "before", "wallet", "currency", "changed")


def show(
    home: Path | None, environment: Mapping[str, str], organization: str | None, limit: int, *, as_json: bool
) -> None:
    """Shows accounts, grants and the latest transfers. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization)
        query = {"organization_id": owner} if owner else {}
        books = api.get("/api/v1/ledger", query)
        transfers = api.get("/api/v1/ledger/transfers", {**query, "limit": str(limit)})["items"]
    if as_json:
        print_json({**books, "transfers": transfers})
        return
    currency = books["currency"]
    print(f"{books['organization_id']}: {books['balance']} {currency} may be spent", end="")
    print(f", of which {books['credit_line']} is a credit line.\n" if books["credit_line_pico"] else ".\n")
    rows = [(one["account"], one["balance"], one["currency"]) for one in books["accounts"]]
    print_table(("account", "balance", "currency"), rows, numbers=("balance",))
    if books["grants"]:
        print()
        print_table(GRANTS, [[one[name] for name in GRANTS] for one in books["grants"]], numbers=("remaining",))
    if transfers:
        print()
        print_table(TRANSFERS, [[one[name] for name in TRANSFERS] for one in transfers], numbers=("amount",))


def rebuild(home: Path | None, environment: Mapping[str, str], organization: str | None, *, as_json: bool) -> None:
    """Rebuilds wallets. Raises Failure."""
    with Api(find_target(home, environment), timeout_seconds=330) as api:
        owner = organization_id(api, organization)
        done = api.post("/api/v1/wallets/rebuild", {"organization_id": owner} if owner else {})
    if as_json:
        print_json(done)
        return
    items = done["items"]
    changed = [one for one in items if one["changed"]]
    if changed:
        print_table(REBUILT, [[one[name] for name in REBUILT] for one in changed], numbers=("before", "wallet"))
    print(f"{len(items)} wallets are what the ledger says; {len(changed)} were not before.")
