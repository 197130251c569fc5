"""`tollgate channels list | drain | disable | enable`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tollgate_cli.api import Api
from tollgate_cli.output import print_json, print_table
from tollgate_cli.target import find_target

COLUMNS = ("channel", "router", "provider", "state", "open", "attempts", "failures", "held back")


def show(home: Path | None, environment: Mapping[str, str], *, as_json: bool) -> None:
    """Lists the channels as each router sees them. Raises Failure."""
    with Api(find_target(home, environment)) as api:
        routers = api.get("/api/v1/router")["routers"]
    items = [channel | {"router": router["address"]} for router in routers for channel in router.get("channels", ())]
    if as_json:
        print_json({"items": items, "next": None})
        return
    print_table(COLUMNS, (_row(item) for item in items), numbers=("open", "attempts", "failures"))


def set_mode(
    home: Path | None, environment: Mapping[str, str], name: str, mode: str, reason: str | None, *, as_json: bool
) -> None:
    """Drains, disables or enables a channel in every router. Raises Failure."""
    body = {"mode": mode, "reason": reason or ""}
    with Api(find_target(home, environment)) as api:
        found = api.post(f"/api/v1/channels/{quote(name, safe='')}/mode", body)
    if as_json:
        print_json(found)
        return
    print(f"{name} is {mode}.")
    for router in found["routers"]:
        if not router["reachable"]:
            print(f"The router at {router['address']} does not answer, and was not told.")


def why_held_back(item: Mapping[str, Any]) -> str:
    """Returns why a channel, or a part of it, gets no requests; nothing where it gets all."""
    held = [f"{one['subject']}: {one['obstacle']}" for one in item["hindrances"]]
    return "; ".join(part for part in (item["reason"], item["mode_reason"], *held) if part)


def _row(item: Mapping[str, Any]) -> list[object]:
    mode = item["mode"].removeprefix("CHANNEL_MODE_").lower()
    state = ("usable" if item["usable"] else "not usable") if mode in {"enabled", "unspecified"} else mode
    return [
        item["channel"],
        item["router"],
        item["provider"],
        state,
        item["open_requests"],
        item["attempts"],
        item["failures"],
        why_held_back(item),
    ]
