"""`tollgate route explain`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tollgate_cli.api import Api
from tollgate_cli.errors import USAGE, Failure, unreadable
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

COLUMNS = ("", "model", "level", "channel", "key", "upstream model", "weight", "why", "wait")
MARKS = {"taken": "→", "possible": "·", "out": "✗", "failed": "!"}


def explain(
    home: Path | None,
    environment: Mapping[str, str],
    model: str,
    *,
    key_id: str | None,
    group: str | None,
    body_file: Path | None,
    headers: Sequence[str],
    operation: str | None,
    dialect: str | None,
    as_json: bool,
) -> None:
    """Shows where a request would go now, and why. Raises Failure; code 1 when it would go nowhere."""
    question = {
        "model": model,
        "key_id": key_id,
        "route_group": group,
        "request": _request(body_file),
        "headers": _headers(headers),
        "operation": operation,
        "dialect": dialect,
    }
    with Api(find_target(home, environment)) as api:
        found = api.post("/api/v1/routes/explain", {name: value for name, value in question.items() if value})
    nowhere = found["refusal"] or not any(router["explanation"] for router in found["routers"])
    if not as_json:
        _show(found)
    if nowhere:
        raise Failure(found["refusal"] or "No router says where it would go.", details=found)
    if as_json:
        print_json(found)


def _request(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise unreadable(file, error) from None
    if not isinstance(found, dict):
        raise Failure(f"{file} holds no JSON object.", code=USAGE)
    return found


def _headers(given: Sequence[str]) -> dict[str, str]:
    pairs = [one.partition(":") for one in given]
    if wrong := [one for one, (_, colon, _) in zip(given, pairs, strict=True) if not colon]:
        raise Failure(f"{wrong[0]!r} is no header; write NAME:VALUE.", code=USAGE)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _show(found: Mapping[str, Any]) -> None:
    print(f"{found['model']} for the route group {found['route_group']}; {found['operation']} in {found['dialect']}")
    if found["refusal"]:
        print(f"refused by edge: {found['refusal']}")
    for router in found["routers"]:
        explanation = router["explanation"]
        several = len(found["routers"]) > 1
        if several or explanation is None:
            print(f"\n{router['address']}: {_state(router)}")
        if explanation is not None:
            _show_explanation(explanation)


def _state(router: Mapping[str, Any]) -> str:
    if not router["reachable"]:
        return "does not answer"
    return "knows no such route" if router["explanation"] is None else "answers"


def _show_explanation(explanation: Mapping[str, Any]) -> None:
    words = [f"strategy {explanation['strategy']}"]
    if explanation["affinity"]:
        bound = "" if explanation["bound"] else ", which this request has no value for"
        words.append(f"bound by {explanation['affinity']}{bound}")
    if explanation["canary"]:
        words.append("of the canary's share")
    if explanation["needs"]:
        words.append(f"needs {', '.join(explanation['needs'])}")
    if explanation["unmet"]:
        words.append(f"which no target is known to have: {', '.join(explanation['unmet'])}")
    if explanation["fallback_model"]:
        words.append(f"falls back to {explanation['fallback_model']} for {explanation['fallback_reason']}")
    print("; ".join(words) + "\n")
    print_table(
        COLUMNS, (target_row(one) for one in explanation["targets"]), numbers=("level", "key", "weight", "wait")
    )
    if explanation["omitted"]:
        print(f"and {explanation['omitted']} more")
    if explanation["refusal"]:
        print(f"\n{explanation['refusal']}")


def target_row(target: Mapping[str, Any]) -> list[object]:
    """Returns the cells of a target that was considered, under COLUMNS."""
    why = ": ".join(part for part in (target["reason"], target["detail"]) if part) or target["verdict"]
    return [
        MARKS.get(target["verdict"], ""),
        target["model"],
        target["level"] or "canary",
        target["channel"],
        target["key"],
        target["upstream_model"],
        target["weight"],
        why,
        f"{target['wait_ms'] / 1000:.0f} s" if target["wait_ms"] else "",
    ]
