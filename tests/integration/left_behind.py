"""What a process of the product holds, for tests that say that nothing stays behind."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.integration.admin_port import ask_admin
from tests.integration.product import Product

from tollgate_cli.home import Home

Held = dict[str, float]
# Of one SQLite file: the connections of a pool with its overflow, each with its write-ahead log, and the shared index.
POOL_DESCRIPTORS = 2 * (4 + 2) + 1


def inside(product: Product, process: str) -> Held:
    """Returns what a process of ours holds: descriptors, tasks, open requests, connections and bodies in memory."""
    name = process if process == "media-jobs" else f"{process}-0"
    _, text = ask_admin(Home(product.home).run / f"{name}-admin.sock", "/metrics")
    gauges = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    names = ("tasks", "open_requests", "client_connections", "body_bytes", "publisher_depth")
    found = {name: float(gauges.get(f"tollgate_{process.replace('-', '_')}_{name}", 0)) for name in names}
    (pid,) = product.pids(process)
    opened = [_path_of(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
    databases = Counter(path.partition(".sqlite")[0] for path in opened if ".sqlite" in path)
    # A pool opens a connection when work overlaps, and keeps it: what it may hold is no leftover, one more is.
    pooled = max(POOL_DESCRIPTORS, *databases.values(), 0)
    return {**found, "descriptors": len(opened) - databases.total(), "database_descriptors": pooled}


def _path_of(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:
        return ""


def least(samples: Sequence[Held]) -> Held:
    """Returns the least of each that was seen."""
    return {name: min(sample[name] for sample in samples) for name in samples[0]}
