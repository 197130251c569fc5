"""`tollgate organizations create | list | credit` and `tollgate projects create | list`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.errors import Failure
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

# Longer than edge waits for billing.
_LONG_SECONDS: Final = 330.0
ORGANIZATION_COLUMNS = ("id", "name", "currency", "created_at")
PROJECT_COLUMNS = ("id", "name", "organization_id", "price_group", "route_group", "created_at")


def organization_id(api: Api, named: str | None) -> str | None:
    """Returns the id of an organization that is named by its name or its id; None for none."""
    if named is None:
        return None
    found = api.get("/api/v1/organizations", {"name": named})["items"]
    return str(found[0]["id"]) if found else named


def ask_of_organization(
    home: Path | None, environment: Mapping[str, str], path: str, asked: Mapping[str, Any], organization: str | None
) -> dict[str, Any]:
    """Returns the answer to a question about one organization or all, which may take minutes. Raises Failure.

    `organization` is a name or an id; what is None in `asked` is not said.
    """
    body = {name: value for name, value in asked.items() if value is not None}
    with Api(find_target(home, environment), timeout_seconds=_LONG_SECONDS) as api:
        if organization is not None:
            body["organization_id"] = organization_id(api, organization)
        return dict(api.post(path, body))


def project_id(api: Api, named: str | None, organization: str | None) -> str | None:
    """Returns the id of a project that is named by its name or its id; None for none. Raises Failure for two."""
    if named is None:
        return None
    query = {"name": named} | ({"organization_id": organization} if organization else {})
    found = api.get("/api/v1/projects", query)["items"]
    if len(found) > 1:
        raise Failure(
            f"{len(found)} organizations have a project '{named}'.", advice="Say which one with --organization."
        )
    return str(found[0]["id"]) if found else named


def create_organization(
    home: Path | None, environment: Mapping[str, str], name: str, currency: str, *, as_json: bool
) -> None:
    """Makes an organization. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        made = api.post("/api/v1/organizations", {"name": name, "currency": currency})
    if as_json:
        print_json(made)
    else:
        print(f"Made {made['id']}, which pays in {made['currency']}. It has no project and no money yet.")


def show_organizations(home: Path | None, environment: Mapping[str, str], *, as_json: bool) -> None:
    """Lists all organizations. Raises Failure."""
    show_all("/api/v1/organizations", ORGANIZATION_COLUMNS, home, environment, as_json=as_json)


def give_credit(
    home: Path | None,
    environment: Mapping[str, str],
    organization: str,
    amount: str,
    reason: str,
    idempotency_key: str | None,
    *,
    as_json: bool,
) -> None:
    """Adds money to an organization's wallet, once per key. Raises Failure."""
    once = {"idempotency-key": idempotency_key} if idempotency_key else {}
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization) or ""
        path = f"/api/v1/organizations/{quote(owner, safe='')}/credit"
        given = api.post(path, {"amount": amount, "reason": reason}, headers=once)
    if as_json:
        print_json(given)
    else:
        print(f"Added {given['amount']} {given['currency']}. The balance is {given['balance']} {given['currency']}.")


def create_project(
    home: Path | None,
    environment: Mapping[str, str],
    name: str,
    organization: str | None,
    groups: Mapping[str, str | None],
    *,
    as_json: bool,
) -> None:
    """Makes a project; `groups` holds price_group and route_group. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        body = {"name": name, "organization_id": organization_id(api, organization), **groups}
        made = api.post("/api/v1/projects", {key: value for key, value in body.items() if value is not None})
    if as_json:
        print_json(made)
    else:
        print(f"Made {made['id']}.")


def show_projects(home: Path | None, environment: Mapping[str, str], *, as_json: bool) -> None:
    """Lists all projects. Raises Failure."""
    show_all("/api/v1/projects", PROJECT_COLUMNS, home, environment, as_json=as_json)


def show_all(
    path: str, columns: tuple[str, ...], home: Path | None, environment: Mapping[str, str], *, as_json: bool
) -> None:
    """Lists everything at `path`, page by page. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        items = list(api.items(path))
    if as_json:
        print_json({"items": items, "next": None})
    else:
        print_table(columns, ([item.get(column) for column in columns] for item in items))
