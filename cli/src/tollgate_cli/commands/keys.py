"""`tollgate keys create | list | revoke`."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id, project_id, show_all
from tollgate_cli.output import print_json
from tollgate_cli.target import find_target

COLUMNS = ("id", "name", "last_four", "project_id", "created_at", "revoked_at")


def create(
    home: Path | None,
    environment: Mapping[str, str],
    name: str,
    organization: str | None,
    project: str | None,
    limits: Mapping[str, object],
    *,
    as_json: bool,
) -> None:
    """Makes a key and shows it. Raises Failure."""
    given = {limit: value for limit, value in limits.items() if value is not None}
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization)
        project = project_id(api, project, owner)
        body = {"name": name, "organization_id": owner, "project_id": project, "limits": given or None}
        made = api.post("/api/v1/keys", {key: value for key, value in body.items() if value is not None})
    if as_json:
        print_json(made)
    else:
        print(f"{made['key']}\n\nThis is {made['id']}. The key is not shown again.")


def show(home: Path | None, environment: Mapping[str, str], *, as_json: bool) -> None:
    """Lists all keys. Raises Failure."""
    show_all("/api/v1/keys", COLUMNS, home, environment, as_json=as_json)


def revoke(home: Path | None, environment: Mapping[str, str], key_id: str, *, as_json: bool) -> None:
    """Revokes a key. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        revoked = api.post(f"/api/v1/keys/{quote(key_id, safe='')}/revoke")
    if as_json:
        print_json(revoked)
    else:
        print(f"Revoked {key_id}.")
