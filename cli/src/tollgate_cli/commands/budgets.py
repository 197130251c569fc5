"""`tollgate budgets create | list | show | delete` and `tollgate anomalies`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.commands.tenants import organization_id, project_id
from tollgate_cli.errors import USAGE, Failure
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

COLUMNS = ("id", "name", "scope", "period", "amount", "spent", "currency", "used", "now", "opens_at")


@dataclass(frozen=True, slots=True)
class Scope:
    """What a budget is of, as it was named; at most one but the first."""

    organization: str | None
    project: str | None
    key: str | None
    model: str | None
    tag: str | None
    member: str | None = None


def read_thresholds(
    notify: Sequence[int], downgrade: Sequence[str], block: int | None
) -> list[dict[str, object]] | None:
    """Returns thresholds as the API takes them; None for the usual ones. Raises Failure."""
    found: list[dict[str, object]] = [{"percent": percent, "action": "notify"} for percent in notify]
    for text in downgrade:
        percent, _, model = text.partition(":")
        if not percent.isdecimal() or not percent.isascii() or not model:
            raise Failure(
                f"--downgrade takes PERCENT:MODEL, not {text!r}.",
                code=USAGE,
                advice="Such as --downgrade 90:gpt-5-mini.",
            )
        found.append({"percent": int(percent), "action": "downgrade", "model": model})
    if block is not None:
        found.append({"percent": block, "action": "block"})
    return found or None


def create(
    home: Path | None, environment: Mapping[str, str], body: Mapping[str, object], scope: Scope, *, as_json: bool
) -> None:
    """Makes a budget. Raises Failure."""
    named = {
        "project": scope.project,
        "member": scope.member,
        "key": scope.key,
        "model": scope.model,
        "tag": scope.tag,
    }
    given = [kind for kind, value in named.items() if value is not None]
    if len(given) > 1:
        raise Failure(f"--{given[0]} and --{given[1]} exclude each other.", code=USAGE, advice="Make two budgets.")
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, scope.organization)
        of: dict[str, object] = {"organization_id": owner}
        if given:
            value = project_id(api, scope.project, owner) if given[0] == "project" else named[given[0]]
            of |= {"scope": given[0], "scope_id": value}
        sent = {name: value for name, value in {**body, **of}.items() if value is not None}
        made = api.post("/api/v1/budgets", sent)
    if as_json:
        print_json(made)
    else:
        print(f"Made {made['id']}: {made['amount']} {made['currency']} {_period(made)}, {_scope(made)}.")


def show_all(home: Path | None, environment: Mapping[str, str], organization: str | None, *, as_json: bool) -> None:
    """Lists budgets. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization)
        items = list(api.items("/api/v1/budgets", {"organization_id": owner} if owner else {}))
    if as_json:
        print_json({"items": items, "next": None})
    else:
        print_table(COLUMNS, [_row(one) for one in items], numbers=("amount", "spent", "used"))


def show(home: Path | None, environment: Mapping[str, str], budget_id: str, *, as_json: bool) -> None:
    """Shows a budget with its forecast. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        found = api.get(_path(budget_id))
    if as_json:
        print_json(found)
        return
    state, ahead, wallet, currency = found["state"], found["forecast"], found["wallet"], found["currency"]
    thresholds = [
        f"{one['percent']} % {one['action']}" + (f" to {one['model']}" if "model" in one else "")
        for one in found["thresholds"]
    ]
    print(f"{found['name']} ({found['id']}): {found['amount']} {currency} {_period(found)}, {_scope(found)}")
    print(f"Thresholds: {'; '.join(thresholds)}")
    ends = f", until {state['ends_at']}, by days of {found['time_zone']}" if state["ends_at"] else ""
    print(f"Spent: {state['spent']} {currency} ({_used(found)} %){ends}")
    if state["action"]:
        until = state["opens_at"] or "somebody changes the budget"
        model = f" to {state['model']}" if state["model"] else ""
        print(f"Now: {state['action']}{model}, until {until}")
    hours = f"of the last {ahead['measured_hours']} h, {ahead['per_day']} {currency} a day"
    print(f"At the pace {hours}: {_when('used up', ahead['runs_out_at'], 'not used up within the window')}")
    hours = f"of all of the organization, {wallet['per_day']} {currency} a day"
    said = _when(f"the {wallet['balance']} {currency} are gone", wallet["runs_out_at"], "the money is not running out")
    print(f"At the pace {hours}: {said}")


def delete(home: Path | None, environment: Mapping[str, str], budget_id: str, *, as_json: bool) -> None:
    """Deletes a budget. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        done = api.delete(_path(budget_id))
    if as_json:
        print_json(done)
    else:
        print(f"Deleted {budget_id}.")


def show_anomalies(
    home: Path | None, environment: Mapping[str, str], organization: str | None, limit: int, *, as_json: bool
) -> None:
    """Lists what looked wrong. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        owner = organization_id(api, organization)
        query = {"limit": str(limit)} | ({"organization_id": owner} if owner else {})
        found = api.get("/api/v1/anomalies", query)
    if as_json:
        print_json(found)
        return
    for one in found["items"]:
        print(f"{one['hour']} {one['kind']}: {_whose(one)}, {one['organization_id']}")
        scope = "key" if one["api_key_id"] else "project" if one["project_id"] else "model"
        print(f"  The {scope} {one['explanation']}.\n  {one['next_step']}")
    if not found["items"]:
        print("Nothing looked wrong.")


def _whose(anomaly: Mapping[str, Any]) -> str:
    """Returns the key with its name and project, or the project or the model where no key is named."""
    if not anomaly["api_key_id"]:
        return str(anomaly["project_id"] or anomaly["subject"])
    named = ", ".join(filter(None, (anomaly["key_name"], anomaly["member"])))
    return f"{anomaly['api_key_id']}{f' ({named})' if named else ''} of {anomaly['project_id']}"


def _path(budget_id: str) -> str:
    return f"/api/v1/budgets/{quote(budget_id, safe='')}"


def _period(budget: Mapping[str, Any]) -> str:
    if budget["period"] == "rolling":
        return f"in {budget['days']} days"
    return "in total" if budget["period"] == "total" else f"a {budget['period']}"


def _scope(budget: Mapping[str, Any]) -> str:
    return f"of {budget['scope']} {budget['scope_id'] or budget['organization_id']}"


def _used(budget: Mapping[str, Any]) -> int:
    return int(budget["state"]["spent_pico"]) * 100 // int(budget["amount_pico"])


def _when(what: str, moment: str | None, never: str) -> str:
    return never if moment is None else f"{what} at {moment}"


def _row(budget: Mapping[str, Any]) -> list[object]:
    state = budget["state"]
    whose = budget["scope"] if budget["scope_id"] is None else f"{budget['scope']} {budget['scope_id']}"
    period = f"{budget['days']} days" if budget["period"] == "rolling" else budget["period"]
    head = [budget["id"], budget["name"], whose, period, budget["amount"]]
    if state is None:
        return [*head, None, budget["currency"], None, None, None]
    now = " ".join(filter(None, (state["action"], state["model"]))) or None
    return [*head, state["spent"], budget["currency"], f"{_used(budget)} %", now, state["opens_at"]]
