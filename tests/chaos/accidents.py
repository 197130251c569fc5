"""What happens to a running product: processes are killed, stand still, or cannot write to their disk any more."""

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

from tests.integration.product import Product, alive
from tests.servers.process import wait_until

SERVICES: Final = ("edge", "router", "billing", "media-jobs", "valkey", "simulator")
# Those that write files of their own and are to outlive a disk that is full. Valkey ends by the signal that this
# sends, which is a kill; the simulator stands outside.
WRITERS: Final = ("edge", "router", "billing", "media-jobs")
KINDS: Final = ("kill", "kill", "kill", "stand still", "full disk", "kill all", "kill the supervisor")
_NO_LIMIT: Final = resource.RLIM_INFINITY


@dataclass(frozen=True, slots=True)
class Accident:
    """`after`: how many more answers are waited for before it happens; `seconds`: how long it lasts."""

    kind: str
    services: tuple[str, ...]
    after: int
    seconds: float

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        whom = "" if len(self.services) in {0, len(SERVICES)} else f" {'+'.join(self.services)}"
        return f"{self.kind}{whom}{lasting}"


def draw(source: Random, kinds: Sequence[str] = KINDS) -> Accident:
    """Returns an accident of one of the kinds."""
    kind = source.choice(kinds)
    after = source.randint(0, 60)
    if kind == "kill":
        victims = tuple(source.sample(SERVICES, source.choice([1, 1, 1, 2])))
        return Accident(kind, victims, after, 0.0)
    if kind == "kill all":
        return Accident(kind, SERVICES, after, 0.0)
    if kind == "kill the supervisor":
        return Accident(kind, (), after, 0.0)
    one = source.choice(SERVICES if kind == "stand still" else WRITERS)
    return Accident(kind, (one,), after, source.choice([0.1, 0.5, 2.0, 4.0]))


def happen(accident: Accident, product: Product) -> Counter[str]:
    """Makes it happen to the processes that run now, and ends it. Returns how many were killed, by service.

    The product starts those again that are killed; we start the product again when its supervisor is.
    """
    if accident.kind == "kill the supervisor":
        return _kill_supervisor(product)
    own = {
        service: [pid for pid in product.pids(service) if _is_child(pid, product.child.pid)]
        for service in accident.services
    }
    pids = [pid for found in own.values() for pid in found]
    if accident.kind == "stand still":
        _signal(pids, signal.SIGSTOP)
        time.sleep(accident.seconds)
        _signal(pids, signal.SIGCONT)
    elif accident.kind == "full disk":
        _limit_files(pids, 1)
        time.sleep(accident.seconds)
        _limit_files(pids, _NO_LIMIT)
    else:
        _signal(pids, signal.SIGKILL)
        return Counter({service: len(found) for service, found in own.items() if found})
    return Counter()


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
