"""`tollgate dlq list`, `show` and `replay`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.errors import USAGE, Failure
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

COLUMNS: Final = ("id", "set aside", "state", "request", "bytes", "why")
_REPLAY_SECONDS: Final = 300.0


def show_letters(
    home: Path | None, environment: Mapping[str, str], limit: int, cursor: str | None, *, as_json: bool
) -> None:
    """Lists letters. Raises Failure."""
    query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    with Api(find_target(home, environment)) as api:
        found = api.get("/api/v1/dead-letters", query)
    if as_json:
        print_json(found)
        return
    if not found["items"]:
        print("No usage event was set aside.")
        return
    print_table(COLUMNS, [_row(one) for one in found["items"]], numbers=("bytes",))
    if found["next"]:
        print(f"\nThere are more: tollgate dlq list --cursor {found['next']}")


def show_letter(home: Path | None, environment: Mapping[str, str], letter_id: str, *, as_json: bool) -> None:
    """Shows a letter. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        found = api.get(f"/api/v1/dead-letters/{quote(letter_id, safe='')}")
    if as_json:
        print_json(found)
        return
    print(f"{found['id']}: {found['topic']}, partition {found['partition']}, offset {found['offset']}")
    print(f"set aside: {found['reason']} ({found['logged_at']})")
    print(f"now: {found['state']}" + (f", {found['problem']}" if found["problem"] else ""))
    print(f"{found['size_bytes']} bytes: {found['value_base64']}")
    if found["event"] is not None:
        print("what of it can be read:")
        print_json(found["event"])


def replay(
    home: Path | None, environment: Mapping[str, str], ids: Sequence[str], *, everything: bool, as_json: bool
) -> None:
    """Replays letters. Raises Failure; code 1 when some still cannot be booked."""
    if everything == bool(ids):
        raise Failure(
            "Say which letters: ids, or --all.", code=USAGE, advice="`tollgate dlq list` shows what there is."
        )
    with Api(find_target(home, environment)) as api:
        body = {"all": True} if everything else {"ids": list(ids)}
        found = api.post("/api/v1/dead-letters/replay", body, seconds=_REPLAY_SECONDS)
    if found["unusable"]:
        if not as_json:
            _tell(found)
        raise Failure(
            f"{found['unusable']} letters still cannot be booked.",
            advice="docs/runbooks/billing.md says what to do about them.",
            details=found,
        )
    if as_json:
        print_json(found)
    else:
        _tell(found)


def _tell(found: Mapping[str, Any]) -> None:
    for one in found["items"]:
        print(f"{one['id']}: {one['state']}" + (f", {one['problem']}" if one["problem"] else ""))
    print(f"{found['sent']} sent to the topic that they came from; `tollgate dlq list` says when they are booked.")


def _row(one: Mapping[str, Any]) -> list[object]:
    why = one["problem"] or one["reason"]
    return [one["id"], one["logged_at"], one["state"], one["request_id"], one["size_bytes"], why]
