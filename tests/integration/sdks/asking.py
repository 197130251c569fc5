"""Drives Python clients and prints what each saw of every model as JSON: by round, client, model and step.

The argument is JSON: for each round, such as at
the provider itself and through the gateway, `key`, `addresses` by dialect, `models` by dialect, and
`clients` where not all are asked. A step that raises
says so as {"raised": …}.
"""

import asyncio
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

STEPS = ("chat", "stream", "tools", "vision", "structured", "refused", "broken", "thinking")


def seen(client: Any) -> dict[str, Any]:
    """Returns what a client saw, by step."""
    with asyncio.Runner() as runner:
        return {name: _tried(getattr(client, name), runner) for name in STEPS if hasattr(client, name)}


def _tried(step: Callable[[], Any], runner: asyncio.Runner) -> Any:
    try:
        return runner.run(step()) if inspect.iscoroutinefunction(step) else step()
    except Exception as error:  # noqa: BLE001 - whatever a client throws is what is looked for.
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        return {"raised": type(error).__name__, "status": status, "words": str(error)[:500]}


def main(clients: Mapping[str, tuple[str, Callable[[str, str, str], Any]]]) -> None:
    """Prints the JSON. `clients` are dialect and maker by name; a maker takes address, key and model."""
    found: dict[str, Any] = {}
    for name, asked in json.loads(sys.argv[1]).items():
        addresses, models = asked["addresses"], asked["models"]
        found[name] = {
            client: {model: seen(make(addresses[dialect], asked["key"], model)) for model in models[dialect]}
            for client, (dialect, make) in clients.items()
            if dialect in addresses and client in asked.get("clients", clients)
        }
    sys.stdout.write(json.dumps(found))
