"""What happens to a running product: processes are killed, stand still, fall silent, or have a disk that is full.

The network between edge and a router is cut, or stalls.
"""

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from tests.chaos.cluster import SERVERS, Cluster
from tests.chaos.network import CUT, STALL, disturb
from tests.integration.metrics import admin_address, scrape
from tests.integration.product import Product
from tests.servers.process import alive, wait_until
from tollgate_cli.home import Home
from tollgate_streams.frames import PING_ANSWER_SECONDS, PING_SECONDS

SERVICES: Final = ("edge", "router", "billing", "media-jobs", "valkey", "simulator")
# Of the cluster profile: what the product starts, and the servers that it finds.
CLUSTER: Final = (*(name for name in SERVICES if name not in SERVERS), *SERVERS)
# The product starts its own processes again at once. A server may be away for longer, beyond what a Kafka producer
# waits for an answer.
_AWAY_SECONDS: Final = (0.0, 0.0, 1.0, 4.0, 15.0, 45.0)
# Those that write files of their own and are to outlive a disk that is full. Valkey ends by the signal that this
# sends, which is a kill; the simulator stands outside.
WRITERS: Final = ("edge", "router", "billing", "media-jobs")
KINDS: Final = ("kill", "kill", "kill", "stand still", "full disk", "kill all", "kill the supervisor")
SILENCE: Final = "silence"
# Where there are several routers.
SEVERAL: Final = (*KINDS, SILENCE)
# At most: edge asks who said nothing for as long as it looks away, gives it time to answer, and gives it up.
SILENT_SECONDS: Final = 2 * PING_SECONDS + PING_ANSWER_SECONDS + 5.0
# Beside the kinds above, so that the accidents of earlier seeds stay what they were.
NETWORK: Final = (CUT, STALL)
# Longer than edge takes to look for the router again; long enough for edge to give a silent one up.
_NETWORK_SECONDS: Final = {CUT: (0.0, 0.5, 4.0, 15.0), STALL: (0.5, 4.0, SILENT_SECONDS)}
_NETWORK_SHARE: Final = 0.4
_NO_LIMIT: Final = resource.RLIM_INFINITY


@dataclass(frozen=True, slots=True)
class Accident:
    """`after`: how many more answers are waited for before it happens; `seconds`: how long it lasts, or may last."""

    kind: str
    services: tuple[str, ...]
    after: int
    seconds: float

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        whom = "" if self.services in {(), SERVICES, CLUSTER} else f" {'+'.join(self.services)}"
        return f"{self.kind}{whom}{lasting}"


def draw(source: Random, kinds: Sequence[str] = KINDS, services: Sequence[str] = SERVICES) -> Accident:
    """Returns an accident of one of the kinds to some of the services."""
    kind = source.choice(kinds)
    after = source.randint(0, 60)
    if kind == "kill":
        victims = tuple(source.sample(services, source.choice([1, 1, 1, 2])))
        servers = services is CLUSTER and not {*SERVERS}.isdisjoint(victims)
        return Accident(kind, victims, after, source.choice(_AWAY_SECONDS) if servers else 0.0)
    if kind == "kill all":
        return Accident(kind, tuple(services), after, 0.0)
    if kind == "kill the supervisor":
        return Accident(kind, (), after, 0.0)
    if kind == SILENCE:
        return Accident(kind, ("router",), after, SILENT_SECONDS)
    if kind in NETWORK:
        return Accident(kind, ("router",), after, source.choice(_NETWORK_SECONDS[kind]))
    one = source.choice(services if kind == "stand still" else WRITERS)
    return Accident(kind, (one,), after, source.choice([0.1, 0.5, 2.0, 4.0]))


def with_network(accidents: Sequence[Accident], source: Random) -> list[Accident]:
    """Returns the accidents of a round, in two of five rounds with one of the network among them."""
    found = list(accidents)
    if source.random() < _NETWORK_SHARE:
        found.insert(source.randint(0, len(found)), draw(source, NETWORK))
    return found


def happen(accident: Accident, product: Product, cluster: Cluster | None = None) -> Counter[str]:
    """Makes it happen to the processes that run now, and ends it. Returns how many were killed, by service.

    The product starts those again that are killed; we start the product again when its supervisor is, and the servers
    of `cluster`, of which each counts as one.
    """
    if accident.kind == "kill the supervisor":
        return _kill_supervisor(product)
    if accident.kind in NETWORK:
        router = Path(Home(product.home).socket("router-0"))
        asyncio.run(disturb(router, accident.kind, pieces=accident.after, seconds=accident.seconds))
        return Counter()
    servers = [name for name in accident.services if cluster and name in SERVERS]
    own = {
        service: [pid for pid in product.pids(service) if _is_child(pid, product.child.pid)]
        for service in accident.services
        if service not in servers
    }
    pids = [pid for found in own.values() for pid in found]
    if accident.kind == SILENCE:
        _silence(product, pids, accident.seconds)
    elif accident.kind == "stand still":
        with cluster.frozen(servers) if cluster else contextlib.nullcontext():
            _signal(pids, signal.SIGSTOP)
            time.sleep(accident.seconds)
            _signal(pids, signal.SIGCONT)
    elif accident.kind == "full disk":
        _limit_files(pids, 1)
        time.sleep(accident.seconds)
        _limit_files(pids, _NO_LIMIT)
    else:
        _signal(pids, signal.SIGKILL)
        if cluster:
            cluster.kill(servers)
            time.sleep(accident.seconds)
            cluster.restart(servers)
        return Counter({service: len(found) for service, found in own.items() if found} | dict.fromkeys(servers, 1))
    return Counter()


def _silence(product: Product, routers: list[int], seconds: float) -> None:
    """One router says nothing until every edge has given it up; then it wakes up with all that it had."""
    edges = [admin_address(product, f"edge-{slot}") for slot in range(len(product.pids("edge")))]
    until = time.monotonic() + seconds
    _signal(routers[:1], signal.SIGSTOP)
    # Processes outside tell of no event.
    while time.monotonic() < until and not all(_misses(edge, len(routers)) for edge in edges):
        time.sleep(0.1)
    _signal(routers[:1], signal.SIGCONT)


def _misses(edge: str, routers: int) -> bool:
    try:
        return scrape(edge).value("tollgate_edge_routers_connected") < routers
    except OSError:
        return False


def _kill_supervisor(product: Product) -> Counter[str]:
    everybody = [pid for pids in product.read_ready()["processes"].values() for pid in pids]
    everybody = [pid for pid in everybody if _is_child(pid, product.child.pid)]
    product.child.kill()
    # Its children notice, and end.
    wait_until(lambda: not any(alive(pid) for pid in everybody), "the processes to follow their supervisor")
    product.start()
    return Counter({"supervisor": 1})


def _is_child(pid: int, parent: int) -> bool:
    """Tells whether a process is still the one that the supervisor started; its number may have gone to another."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()[1]) == parent
    except (FileNotFoundError, ProcessLookupError):
        return False


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _limit_files(pids: list[int], size: int) -> None:
    """No file may grow beyond `size` bytes: every write behind that fails, as on a full disk."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, _NO_LIMIT))
