"""`tollgate statement`."""

import csv
import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tollgate_cli.api import Api, refusal
from tollgate_cli.commands.tenants import organization_id
from tollgate_cli.errors import USAGE, Failure
from tollgate_cli.output import print_table
from tollgate_cli.tables import Form, Table
from tollgate_cli.tables import show as show_table
from tollgate_cli.target import find_target

FORMATS = ("table", "json", "csv", "html", "parquet")
LINES = ("project", "model", "price_digest", "exchange_rate", "requests", "charged", "taken_back", "amount")
NUMBERS = ("exchange_rate", "requests", "charged", "taken_back", "amount")
TYPES = {"requests": "Int64"} | dict.fromkeys(("charged", "taken_back", "amount"), "Decimal(38, 12)")
MOVEMENTS = ("at", "kind", "reason", "amount")


def show(
    home: Path | None,
    environment: Mapping[str, str],
    month: str,
    organization: str | None,
    form: str,
    output: Path | None,
) -> None:
    """Prints a statement, or writes it to a file. Raises Failure."""
    if form not in FORMATS:
        raise Failure(f"There is no format '{form}'.", advice=f"Take one of: {', '.join(FORMATS)}.")
    if form == "parquet" and output is None:
        raise Failure("A Parquet file is not printed.", code=USAGE, advice="Name the file with --output FILE.")
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization) or str(api.get("/api/v1/balance")["organization_id"])
        path = f"/api/v1/statements/{quote(owner, safe='')}/{quote(month, safe='')}"
        reply = api.send("GET", path, params={"format": {"table": "json", "parquet": "csv"}.get(form, form)})
    if reply.status_code >= 400:
        raise Failure(refusal(reply), details={"status": reply.status_code})
    if form == "table":
        _print(reply.json())
    elif form == "parquet":
        show_table(_table_of(reply.text), Form("parquet", output), None)
    elif output is None:
        sys.stdout.write(reply.text)
    else:
        try:
            output.write_bytes(reply.content)
        except OSError as error:
            raise Failure(f"{output}: {error.strerror}.") from None


def _table_of(text: str) -> Table:
    """Returns the rows of a statement's CSV with their types; an empty cell is none."""
    names, *rows = csv.reader(io.StringIO(text))
    return Table(
        [(name, TYPES.get(name, "String")) for name in names], [[cell or None for cell in row] for row in rows]
    )


def _print(found: Mapping[str, Any]) -> None:
    state = " (the month is not over)" if found["open"] else ""
    print(f"{found['organization']}, {found['month']}{state}, in {found['currency'] or 'no currency yet'}\n")
    if found["lines"]:
        rows = [
            [str(line[name])[:19] if name == "price_digest" else line[name] for name in LINES]
            for line in found["lines"]
        ]
        print_table(LINES, rows, numbers=NUMBERS)
        print()
    if found["movements"]:
        print_table(MOVEMENTS, [[one[name] for name in MOVEMENTS] for one in found["movements"]], numbers=("amount",))
        print()
    sums = (
        ("opening", "opening balance"),
        ("usage", "usage"),
        ("moved", "other movements"),
        ("closing", "closing balance"),
    )
    print_table(("", "amount"), [(text, found[name]) for name, text in sums], numbers=("amount",))
