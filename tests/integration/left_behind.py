"""What a process of the product holds, for tests that say that nothing stays behind."""

from collections.abc import Sequence
from pathlib import Path

import httpx
from tests.integration.product import Product

Held = dict[str, float]


def inside(product: Product, process: str) -> Held:
    """Returns what a process of ours holds: descriptors, tasks, open requests, connections and bodies in memory."""
    path = str(product.home / "run" / f"{process}-0-admin.sock")
    with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
        text = client.get("http://admin/metrics").text
    gauges = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    names = ("tasks", "open_requests", "client_connections", "body_bytes", "publisher_depth")
    found = {name: float(gauges.get(f"tollgate_{process}_{name}", 0)) for name in names}
    (pid,) = product.pids(process)
    return {**found, "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir()))}


def least(samples: Sequence[Held]) -> Held:
    """Returns the least of each that was seen."""
    return {name: min(sample[name] for sample in samples) for name in samples[0]}
