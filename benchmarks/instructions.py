"""How many instructions a request takes edge and router, by callgrind: the same on a busy machine as on a quiet one.

The processes run under valgrind, some fifty times slower, so that batches are as full as they get and no wait is felt:
what is counted is work alone, user space only. Valkey and the kernel are not.
"""

import re
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.costs import FEATURES
from benchmarks.product import Product, running, write_channel
from benchmarks.results import Results
from benchmarks.workloads import SMALL, STREAM, Bench, Workload

KINDS = ("edge", "router")
REQUESTS = {SMALL.name: 200, STREAM.name: 60}
ROUNDS = 2
# No further feature is begun after this; on a quiet machine all of them take half of it.
MOST_SECONDS = 900.0
SETTLE_SECONDS = 3.0
WARM_UP = 30
# What is fifty times slower must not be taken for dead.
PATIENT = {"TOLLGATE_EDGE_ADMISSION_TIMEOUT_SECONDS": "120", "TOLLGATE_EDGE_ROUTER_WAIT_SECONDS": "120"}
NEEDED = ("valgrind", "callgrind_control", "vgdb")
TOTALS = re.compile(r"^(?:totals|summary): (\d+)$", re.MULTILINE)


def instructions(bench: Bench, results: Results) -> None:
    """Prints thousands of instructions a request, and what they are less without each feature.

    Features that MOST_SECONDS do not reach, and one that cannot be counted, are named and left out.
    """
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        print(f"\nInstructions are not counted: {', '.join(missing)} not found (Debian: apt-get install valgrind).")
        return
    print("\nThousands of instructions a request, by callgrind: edge + router, small / stream", flush=True)
    last = time.monotonic() + MOST_SECONDS
    whole = _counted(bench, results, "")
    for kind in KINDS:
        print(f"  {kind:<60} {whole['small', kind]:8.1f} / {whole['burst', kind]:8.1f}", flush=True)
    for name, title in FEATURES.items():
        if time.monotonic() > last:
            print(f"  {title}: not counted, {MOST_SECONDS / 60:.0f} minutes are over", flush=True)
            continue
        try:
            less = _counted(bench, results, name)
        except (RuntimeError, subprocess.CalledProcessError) as problem:
            # The others are counted all the same.
            print(f"  {title}: not counted, {problem}", flush=True)
            continue
        saved = [sum(whole[workload, kind] - less[workload, kind] for kind in KINDS) for workload in REQUESTS]
        print(f"  {title:<60} {saved[0]:8.1f} / {saved[1]:8.1f}", flush=True)


def _counted(bench: Bench, results: Results, without: str) -> dict[tuple[str, str], float]:
    """Returns thousands of instructions a request by workload and kind of process, the lowest round."""
    name = without or "nothing"
    config, counts = write_channel(bench.directory, bench.upstream.port), bench.directory / f"callgrind-{name}"
    counts.mkdir()
    found: dict[tuple[str, str], float] = {}
    with running(bench.directory / f"counted-{name}", config, without=without, callgrind=counts, **PATIENT) as product:
        for workload in (SMALL, STREAM):
            for number in range(ROUNDS):
                for kind, count in _round(bench, product, workload, counts).items():
                    results.add(
                        "instructions",
                        without=without,
                        workload=workload.name,
                        round=number,
                        kind=kind,
                        thousands=count,
                    )
                    found[workload.name, kind] = min(count, found.get((workload.name, kind), count))
    return found


def _round(bench: Bench, product: Product, workload: Workload, counts: Path) -> dict[str, float]:
    requests, pids = REQUESTS[workload.name], product.pids(*KINDS)
    for pid in pids:
        _control(pid, "--instr=on")
    # Valgrind translates all code anew now, which takes its time and is not counted.
    bench.load(product.subject(), workload, WARM_UP, strict=False)
    time.sleep(SETTLE_SECONDS)
    for pid in pids:
        _control(pid, "--zero")
    bench.load(product.subject(), workload, requests)
    # Settle and event count, too.
    time.sleep(SETTLE_SECONDS)
    found: dict[str, float] = {}
    for kind in KINDS:
        total = 0
        for pid in product.pids(kind):
            before = set(counts.glob(f"*.{pid}.*"))
            _control(pid, "--dump")
            _control(pid, "--instr=off")
            for file in set(counts.glob(f"*.{pid}.*")) - before:
                total += sum(map(int, TOTALS.findall(file.read_text())[:1]))
        if not total:
            raise RuntimeError(f"callgrind counted nothing in {kind}")
        found[kind] = total / requests / 1000
    return found


def _control(pid: int, asked: str) -> None:
    subprocess.run(["callgrind_control", asked, str(pid)], check=True, capture_output=True)
