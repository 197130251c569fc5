"""`tollgate usage refill`, `tollgate usage rebuild` and `tollgate usage take-back`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tollgate_cli.api import Api
from tollgate_cli.commands.reconcile import COLUMNS, difference_row
from tollgate_cli.commands.tenants import ask_of_organization
from tollgate_cli.errors import Failure
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

# Until the next line of progress.
SECONDS: Final = 600.0
_BOOKS: Final = "docs/runbooks/books.md"
REPEATED: Final = ("request_id", "organization_id", "project_id", "model", "currency", "charge", "cost")
# Why a second charge stays.
_LEFT_OUT: Final = {"too_old": "they began more than 89 days ago (see tollgate credit correct)"}


def run_refill(
    home: Path | None,
    environment: Mapping[str, str],
    rollup: str | None,
    start: str | None,
    end: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Makes sums again from usage rows. Raises Failure."""
    asked = _given(rollup=rollup, **{"from": start, "to": end}) | {"dry_run": dry_run}
    slices: list[Mapping[str, Any]] = []
    with Api(find_target(home, environment)) as api:
        for one in api.lines("/api/v1/usage/rollups/refill", asked, seconds=SECONDS):
            slices.append(one)
            _progress(f"{one['rollup']}: up to {one['to']}")
    _progress("")
    differed = sum(one["differed"] for one in slices)
    if as_json:
        print_json({"dry_run": dry_run, "differed": differed, "slices": slices})
        return
    if not slices:
        print("Nothing of that time is kept by rows and sums alike.")
        return
    changed = [[one["rollup"], one["from"], one["to"], one["differed"]] for one in slices if one["differed"]]
    if changed:
        print_table(("rollup", "from", "to", "sums"), changed, numbers=("sums",))
    done = "would be made again" if dry_run else "were made again from usage rows"
    print(f"{differed} sums were not what their rows say; those of {len(slices)} slices of time {done}.")


def run_rebuild(
    home: Path | None,
    environment: Mapping[str, str],
    start: str | None,
    end: str | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Writes missing usage rows again. Raises Failure; code 1 where some cannot be."""
    asked = _given(**{"from": start, "to": end}) | {"dry_run": dry_run}
    found: Mapping[str, Any] = {}
    with Api(find_target(home, environment)) as api:
        for found in api.lines("/api/v1/usage/rebuild", asked, seconds=SECONDS):
            _progress(f"{found['step']}: {found['records']} records, {found['missing']} rows missing")
    _progress("")
    if found.get("step") != "done":
        raise Failure("The rebuild ended without a word.", advice="Run it again: nothing is done twice.")
    found = {**found, "dry_run": dry_run}
    if not as_json:
        _tell(found)
    if left := len(found["not_rebuilt"]) + found["cut"]:
        advice = f"{_BOOKS} says what that means. The ledger is right, and what customers pay by."
        raise Failure(f"{left} lines of batches could not be rebuilt.", advice=advice, details=found)
    if as_json:
        print_json(found)


def _tell(found: Mapping[str, Any]) -> None:
    for one in found["kept"]:
        print(f"partition {one['partition']}: the event log keeps records from {one['offset']}, {one['at']}, on")
    if found["copies"]:
        gone = "would be taken away" if found["dry_run"] else "were taken away"
        print(f"{found['copies']} rows were inserted again beside those of the same events, and {gone}.")
    done = "would be written again" if found["dry_run"] else "were written again, charged as they were"
    print(f"{found['records']} records in {found['batches']} batches: {found['missing']} rows were missing", end="")
    print(f", {found['missing'] - found['unfit']} of them {done}.")
    if found["unfit"]:
        print(f"{found['unfit']} were left out: with them their batches would not be what the ledger booked.")
    if found["letters"] or found["mismatches"]:
        print(f"{found['letters']} dead letters and {found['mismatches']} mismatches are listed again.")
    if not found["dry_run"]:
        print(f"{found['sums']} sums by minute, hour and day were made again.")
    if found["not_rebuilt"]:
        print()
        print_table(COLUMNS, [difference_row(one) for one in found["not_rebuilt"]], numbers=("found", "expected"))
        print(f"and {found['cut']} more\n" if found["cut"] else "")


def run_take_back(
    home: Path | None,
    environment: Mapping[str, str],
    asked: Mapping[str, Any],
    organization: str | None,
    *,
    as_json: bool,
) -> None:
    """Shows what requests were charged twice, or takes it back. Raises Failure."""
    found = ask_of_organization(home, environment, "/api/v1/usage/take-back", asked, organization)
    if as_json:
        print_json(found)
        return
    if found["rows"]:
        print_table(REPEATED, [[row[name] for name in REPEATED] for row in found["rows"]], numbers=REPEATED[-2:])
        print()
    for reason, count in found["left_out"].items():
        print(f"{count} second charges stay: {_LEFT_OUT.get(reason, reason)}.")
    if found["applied"]:
        print(f"{found['sent']} second charges are taken back as soon as billing has booked that, in a few seconds.")
    elif found["rows"]:
        print("Nothing is changed; --apply takes them back.")
    else:
        print("No request was charged twice.")
    if found["more"]:
        print("There are more than these; run it again after them.")


def _given(**values: str | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _progress(text: str) -> None:
    """Says on a terminal how far it is, in one line that the next one takes the place of."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()
