"""`tollgate notify add | list | test | remove | log`."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id
from tollgate_cli.errors import USAGE, Failure, unreadable
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

PATH = "/api/v1/destinations"
COLUMNS = (
    "id",
    "name",
    "kind",
    "address",
    "organization_id",
    "about",
    "language",
    "quiet",
    "digest_minutes",
    "time_zone",
)
LOG_COLUMNS = ("id", "destination_id", "state", "text", "attempts", "created_at", "due_at", "sent_at", "problem")
STDIN = "-"
_QUIET = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)")


def create(
    home: Path | None,
    environment: Mapping[str, str],
    body: Mapping[str, object],
    organization: str | None,
    quiet: str | None,
    secret_file: str | None,
    *,
    as_json: bool,
) -> None:
    """Adds who is told. Raises Failure."""
    sent: dict[str, Any] = {name: value for name, value in body.items() if value is not None}
    if quiet is not None:
        found = _QUIET.fullmatch(quiet)
        if found is None:
            raise Failure(f"--quiet takes HH:MM-HH:MM, not {quiet!r}.", code=USAGE, advice="Such as 22:00-08:00.")
        sent["quiet"] = {"begin": found[1], "end": found[2]}
    if "target" not in sent:
        if secret_file == STDIN:
            raise Failure("Both target and secret are to come from stdin.", code=USAGE, advice="Put one into a file.")
        sent["target"] = sys.stdin.read().strip()
    if secret_file is not None:
        sent["secret"] = _read(secret_file)
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization)
        made = api.post(PATH, sent | ({"organization_id": owner} if owner else {}))
    if as_json:
        print_json(made)
    else:
        print(f"Added {made['id']}. Try it: tollgate notify test {made['id']}")


def show(home: Path | None, environment: Mapping[str, str], *, as_json: bool) -> None:
    """Lists who is told. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        items = list(api.items(PATH))
    if as_json:
        print_json({"items": items, "next": None})
        return
    rows = []
    for one in items:
        quiet = one["quiet"] and f"{one['quiet']['begin']}-{one['quiet']['end']}"
        rows.append([quiet if name == "quiet" else one[name] for name in COLUMNS])
    print_table(COLUMNS, rows, numbers=("digest_minutes",))


def test(home: Path | None, environment: Mapping[str, str], destination_id: str, *, as_json: bool) -> None:
    """Sends a message now. Raises Failure, also when the destination does not take it."""
    with Api(find_target(home, environment), timeout_seconds=60) as api:
        done = api.post(f"{_path(destination_id)}/test")
    if not done["delivered"]:
        raise Failure(f"Not delivered: {done['problem']}.", advice="Mend the destination: remove it and add it anew.")
    if as_json:
        print_json(done)
    else:
        print("Delivered.")


def remove(home: Path | None, environment: Mapping[str, str], destination_id: str, *, as_json: bool) -> None:
    """Removes a destination. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        done = api.delete(_path(destination_id))
    if as_json:
        print_json(done)
    else:
        print(f"Removed {destination_id}.")


def log(home: Path | None, environment: Mapping[str, str], limit: int, *, as_json: bool) -> None:
    """Lists notices. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        found = api.get("/api/v1/notices", {"limit": str(limit)})
    if as_json:
        print_json(found)
    else:
        print_table(LOG_COLUMNS, [[one[name] for name in LOG_COLUMNS] for one in found["items"]], numbers=("attempts",))


def _path(destination_id: str) -> str:
    return f"{PATH}/{quote(destination_id, safe='')}"


def _read(secret_file: str) -> str:
    try:
        text = sys.stdin.read() if secret_file == STDIN else Path(secret_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(secret_file, error) from None
    return text.strip()
