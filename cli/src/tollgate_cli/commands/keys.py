"""`tollgate keys create | list | revoke`."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id, project_id, show_all
from tollgate_cli.output import print_json
from tollgate_cli.target import find_target

COLUMNS = (
    *("id", "name", "last_four", "project_id", "models", "endpoints", "cidrs", "tags", "member"),
    *("created_at", "expires_at", "revoked_at"),
)
_DURATION = re.compile(r"([1-9][0-9]{0,5})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def create(
    home: Path | None,
    environment: Mapping[str, str],
    name: str,
    organization: str | None,
    project: str | None,
    limits: Mapping[str, object],
    terms: Mapping[str, object],
    *,
    as_json: bool,
) -> None:
    """Makes a key and shows it; `terms` are more fields of it, None or empty for those not given. Raises Failure."""
    given = {limit: value for limit, value in limits.items() if value is not None}
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization)
        project = project_id(api, project, owner)
        fields = {"name": name, "organization_id": owner, "project_id": project, "limits": given or None, **terms}
        made = api.post("/api/v1/keys", {key: value for key, value in fields.items() if value})
    if as_json:
        print_json(made)
    else:
        print(f"{made['key']}\n\nThis is {made['id']}. The key is not shown again.")


def expiry(text: str | None, now: float) -> str | None:
    """Returns what `30d` from `now` (seconds since the epoch) or a time means, in ISO form. Raises ValueError."""
    if text is None:
        return None
    found = _DURATION.fullmatch(text)
    if found is not None:
        span = timedelta(**{_UNITS[found[2]]: int(found[1])})
        return (datetime.fromtimestamp(now, UTC) + span).isoformat(timespec="seconds")
    return datetime.fromisoformat(text).isoformat()


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
