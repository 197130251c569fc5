"""`tollgate reconcile`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tollgate_cli.api import Api
from tollgate_cli.errors import Failure, unreadable
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

# Billing reads all that was booked in the time.
SECONDS: Final = 180.0
COLUMNS: Final = ("what", "organization", "requests", "batch", "found", "expected", "why")
COST_COLUMNS: Final = ("day", "model", "currency", "theirs", "ours", "difference", "")
_NAMED: Final = 3
# A hundredth of the currency: less is not worth a look.
_SMALL_PICO: Final = 10**10


def run_reconcile(
    home: Path | None, environment: Mapping[str, str], start: str | None, end: str | None, *, as_json: bool
) -> None:
    """Compares the books. Raises Failure; code 1 when something differs."""
    query = {name: value for name, value in (("from", start), ("to", end)) if value}
    with Api(find_target(home, environment)) as api:
        found = api.get("/api/v1/reconciliation", query, seconds=SECONDS)
    if not as_json:
        _show(found)
    if not found["agree"]:
        count = len(found["differences"]) + found["cut"]
        advice = "docs/runbooks/books.md says what each kind means and what to do."
        raise Failure(f"{count} differences.", advice=advice, details=found)
    if as_json:
        print_json(found)


def _show(found: Mapping[str, Any]) -> None:
    print(
        f"{found['from']} to {found['to']}: {found['rows']} rows in {found['batches']} batches, "
        f"{found['organizations']} wallets, {found['holds']} holds"
    )
    waiting = found["lag_events"] + sum(one["records"] or 0 for one in found["spools"])
    if waiting:
        print(f"{waiting} events are on their way and were not compared")
    for one in found["spools"]:
        if not one["reachable"]:
            print(f"the router at {one['address']} does not answer, so its spool is not known")
    if found["differences"]:
        print()
        print_table(COLUMNS, [difference_row(one) for one in found["differences"]], numbers=("found", "expected"))
        if found["cut"]:
            print(f"and {found['cut']} more")
        print()
        steps = {one["kind"]: one["next_step"] for one in found["differences"] if one["next_step"]}
        for kind, step in steps.items():
            print(f"{kind}: {step}")
    else:
        print("usage rows, sums, ledger, wallets and holds agree")


def difference_row(one: Mapping[str, Any]) -> list[object]:
    """Returns what people read of a difference, by COLUMNS."""
    names = one["request_ids"]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    named = ", ".join(names[:_NAMED]) + more
    return [one["kind"], one["organization_id"], named, one["batch"], one["found"], one["expected"], one["detail"]]


def compare_statement(
    home: Path | None,
    environment: Mapping[str, str],
    file: Path,
    provider: str,
    tolerance: float,
    *,
    as_json: bool,
) -> None:
    """Compares a provider's export of costs with ours. Raises Failure; code 1 when more differs than may."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise unreadable(file, error) from None
    with Api(find_target(home, environment)) as api:
        path = "/api/v1/reconciliation/statements"
        found = api.post_file(path, content, {"provider": provider}, seconds=SECONDS)
    items = [one | {"differs": _differs(one, tolerance)} for one in found["items"]]
    if not as_json:
        print_table(COST_COLUMNS, [_cost(one) for one in items], numbers=COST_COLUMNS[3:6])
    differ = [one for one in items if one["differs"]]
    if differ:
        raise Failure(
            f"{len(differ)} of {len(items)} differ by more than {tolerance:g} percent.",
            advice="docs/runbooks/books.md says where that may come from.",
            details=found | {"items": items},
        )
    if as_json:
        print_json(found | {"items": items})
    else:
        print(f"\nAll {len(items)} agree within {tolerance:g} percent.")


def _differs(one: Mapping[str, Any], tolerance: float) -> bool:
    difference, most = abs(int(one["difference_pico"])), max(int(one["theirs_pico"]), int(one["ours_pico"]))
    return difference > _SMALL_PICO and difference * 100_000 > round(tolerance * 1000) * most


def _cost(one: Mapping[str, Any]) -> list[object]:
    mark = "differs" if one["differs"] else ""
    model = one["model"] or "all"
    return [one["day"], model, one["currency"], one["theirs"], one["ours"], one["difference"], mark]
