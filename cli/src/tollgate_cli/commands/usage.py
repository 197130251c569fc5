"""`tollgate usage` and what is below it."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id
from tollgate_cli.errors import USAGE, Failure
from tollgate_cli.output import print_json, print_table
from tollgate_cli.tables import Form, Table, show
from tollgate_cli.target import find_target

SUMS = {
    "requests": "UInt64", "errors": "UInt64", "unpriced": "UInt64", "input_tokens": "UInt64",
    "output_tokens": "UInt64", "cache_read_tokens": "UInt64", "cache_write_tokens": "UInt64",
    "reasoning_tokens": "UInt64", "images": "UInt64", "charge": "Decimal(38, 12)",
}  # fmt: skip


def run_usage(
    home: Path | None,
    environment: Mapping[str, str],
    query: Mapping[str, str | None],
    organization: str | None,
    form: Form,
) -> None:
    """Shows usage by group. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        asked = {**query, "organization_id": organization_id(api, organization)}
        found = api.get("/api/v1/usage", {key: value for key, value in asked.items() if value})
    rows = found["rows"]
    groups = [name.strip() for name in (query["group_by"] or "").split(",") if name.strip()]
    # What no row has is left out where people read it.
    sums = [name for name in SUMS if form.kind == "parquet" or any(row.get(name) not in {None, 0, "0"} for row in rows)]
    columns = [*((name, "String") for name in groups), *((name, SUMS[name]) for name in sums)]
    if "charge" in sums:
        # Groups of organizations that pay in two currencies are two rows.
        columns.append(("currency", "String"))
    table = Table(columns, [[row.get(name) for name, _ in columns] for row in rows])
    if rows or form.kind != "table":
        show(table, form, found)
    if form.kind == "table":
        print(f"\n{found['requests']} requests" if rows else f"{found['requests']} requests")


def run_views(home: Path | None, environment: Mapping[str, str], *, as_json: bool) -> None:
    """Lists the views. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        found = api.get("/api/v1/usage/views")
    if as_json:
        print_json(found)
        return
    rows = []
    for view in found["items"]:
        taken = [
            one["name"] if one["default"] is None else f"{one['name']}={one['default']}"
            for one in view["parameters"]
            if one["name"] != "organization"
        ]
        rows.append([view["name"], view["question"], " ".join(taken), "yes" if view["operators_only"] else ""])
    print_table(["view", "question", "parameters", "operators only"], rows)


def run_view(
    home: Path | None,
    environment: Mapping[str, str],
    name: str,
    parameters: Sequence[str],
    organization: str | None,
    limit: int,
    form: Form,
) -> None:
    """Shows the answer of a view. Raises Failure."""
    given: dict[str, str] = {}
    for one in parameters:
        key, sign, value = one.partition("=")
        if not sign or not key:
            raise Failure(f"'{one}' is no parameter.", code=USAGE, advice="Write NAME=VALUE, such as since=7d.")
        if key == "organization":
            raise Failure("The organization is an option.", code=USAGE, advice="Write --organization NAME.")
        given[key] = value
    if not name.isidentifier():
        raise Failure(f"'{name}' is no name of a view.", code=USAGE, advice="`tollgate usage views` lists them.")
    with Api(find_target(home, environment)) as api:
        query = {"limit": str(limit)} | _whose(api, organization) | given
        _show(api.get(f"/api/v1/usage/views/{name}", query), form)


def run_sql(home: Path | None, environment: Mapping[str, str], query: str, limit: int, form: Form) -> None:
    """Shows the answer of a SELECT. Raises Failure."""
    text = sys.stdin.read() if query == "-" else query
    with Api(find_target(home, environment)) as api:
        _show(api.post("/api/v1/usage/sql", {"sql": text, "limit": limit}), form)


def run_export(
    home: Path | None,
    environment: Mapping[str, str],
    month: str,
    organization: str | None,
    file: Path,
    *,
    as_json: bool,
) -> None:
    """Writes a Parquet file; there is either all of it or none. Raises Failure."""
    partial = file.with_name(f"{file.name}.partial")
    try:
        with Api(find_target(home, environment)) as api:
            query = {"month": month} | _whose(api, organization)
            size = api.download("/api/v1/usage/export", query, partial)
        partial.replace(file)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror or error}.") from error
    finally:
        partial.unlink(missing_ok=True)
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        print(f"{size} bytes written to {file}")


def run_isolation(home: Path | None, environment: Mapping[str, str], organization: str, *, as_json: bool) -> None:
    """Prints statements for an administrator. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        found = api.get("/api/v1/usage/isolation", _whose(api, organization))
    if as_json:
        print_json(found)
        return
    print("-- Checked by the engine's parser, run by no test. Run them in the usage store's database.")
    print("".join(f"{one};\n" for one in found["statements"]), end="")


def _whose(api: Api, organization: str | None) -> dict[str, str]:
    """Returns whose usage is asked about. An id goes as it is: only operators may look names up."""
    if not organization:
        return {}
    found = organization if organization.startswith("org_") else organization_id(api, organization)
    return {"organization_id": str(found)}


def _show(found: Mapping[str, Any], form: Form) -> None:
    table = Table([(one["name"], one["type"]) for one in found["columns"]], found["rows"])
    named = [dict(zip(table.names, row, strict=True)) for row in table.rows]
    show(table, form, {"rows": named, "truncated": found["truncated"]})
    if form.kind == "table":
        more = ", and there are more: raise --limit or ask for less" if found["truncated"] else ""
        print(f"\n{len(table.rows)} rows{more}")
    elif found["truncated"] and form.kind != "json":
        sys.stderr.write("There are more rows: raise --limit or ask for less.\n")
