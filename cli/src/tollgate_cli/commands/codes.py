"""`tollgate codes create | redeem | list | revoke`."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id, show_all
from tollgate_cli.output import print_json
from tollgate_cli.target import find_target

COLUMNS = ("id", "label", "state", "amount", "currency", "created_at", "expires_at", "redeemed_at", "redeemed_by")


def create(home: Path | None, environment: Mapping[str, str], body: Mapping[str, object], *, as_json: bool) -> None:
    """Makes codes and prints them, one a line. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        made = api.post("/api/v1/codes", {name: value for name, value in body.items() if value is not None})
    if as_json:
        print_json(made)
        return
    for one in made["items"]:
        print(one["code"])


def redeem(
    home: Path | None, environment: Mapping[str, str], code: str, organization: str | None, *, as_json: bool
) -> None:
    """Redeems a code. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization)
        body = {"code": code} | ({"organization_id": owner} if owner else {})
        done = api.post("/api/v1/codes/redeem", body)
    if as_json:
        print_json(done)
        return
    until = f" until {done['expires_at']}" if done["expires_at"] else ""
    before = "Was redeemed before: " if done["repeated"] else "Redeemed: "
    print(f"{before}{done['amount']} {done['currency']}{until}. The balance is {done['balance']} {done['currency']}.")


def show(home: Path | None, environment: Mapping[str, str], *, as_json: bool) -> None:
    """Lists codes. Raises Failure."""
    show_all("/api/v1/codes", COLUMNS, home, environment, as_json=as_json)


def revoke(home: Path | None, environment: Mapping[str, str], code_id: str, *, as_json: bool) -> None:
    """Withdraws a code. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        done = api.post(f"/api/v1/codes/{quote(code_id, safe='')}/revoke")
    if as_json:
        print_json(done)
    else:
        print(f"Withdrew {done['id']}.")
