"""`tollgate usage`."""

from collections.abc import Mapping
from pathlib import Path

from tollgate_cli.api import Api
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

SUMS = (
    "requests", "errors", "unpriced", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
    "reasoning_tokens", "images", "charge",
)  # fmt: skip


def run_usage(
    home: Path | None,
    environment: Mapping[str, str],
    group_by: str,
    start: str | None,
    end: str | None,
    *,
    as_json: bool,
) -> None:
    """Shows usage by group. Raises Failure."""
    query = {"group_by": group_by, "from": start, "to": end}
    with Api(find_target(home, environment)) as api:
        found = api.get("/api/v1/usage", {key: value for key, value in query.items() if value})
    if as_json:
        print_json(found)
        return
    rows = found["rows"]
    groups = [name.strip() for name in group_by.split(",") if name.strip()]
    # What no row has is left out.
    sums = [name for name in SUMS if any(row.get(name) not in {None, 0, "0"} for row in rows)]
    if rows:
        print_table([*groups, *sums], ([row.get(name) for name in (*groups, *sums)] for row in rows), numbers=sums)
        print()
    print(f"{found['requests']} requests")
