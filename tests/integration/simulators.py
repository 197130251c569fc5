"""Simulated providers beside the product's own: each with a port, a queue of faults and a ledger of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from tests.servers.process import Child, accepts, free_port


class Simulator:
    """One process. `plant` makes its next requests fail; `seen` says how many came and how each ended."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.port = free_port()
        self._child = Child(
            [sys.executable, "-m", "tollgate_simulator_provider", "--port", str(self.port)], folder / f"{name}.log"
        )
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)
        self._since = 0

    def start(self) -> "Simulator":
        """Returns itself when it answers."""
        self._child.start(lambda: accepts(self.port))
        return self

    def stop(self) -> None:
        """Ends the process."""
        self._http.close()
        self._child.stop()

    def channel(self, *models: Any, **more: Any) -> dict[str, Any]:
        """Returns the declaration of a channel of the simulator's name that leads here."""
        base = {"name": self.name, "provider": "openai-compatible", "base_url": f"http://127.0.0.1:{self.port}/v1"}
        return {**base, "private_network": True, "models": list(models), **more}

    def plant(self, faults: str, count: int = 1) -> None:
        """Makes the next requests fail."""
        reply = self._http.post("/_faults", json={"faults": faults, "count": count})
        assert reply.status_code == 200, reply.text

    def release(self) -> None:
        """Lets replies go on that are held, by the fault of this name."""
        assert self._http.post("/_release").status_code == 200

    def clear(self) -> None:
        """Forgets faults that wait, and what was seen until now."""
        self.plant("", 0)
        self.seen()

    def seen(self) -> list[str]:
        """Returns the outcomes of the requests that have ended since it was asked last."""
        outcomes = []
        while True:
            page = self._http.get("/_ledger", params={"since": self._since}).json()
            outcomes += [entry["outcome"] for entry in page["items"] if entry["outcome"] != "open"]
            if not page["items"]:
                return outcomes
            self._since = page["next"]


def simulated(folder: Path, name: str) -> Iterator[Simulator]:
    """Yields one that answers, and ends it: what a fixture is made of."""
    running = Simulator(folder, name)
    try:
        yield running.start()
    finally:
        running.stop()
