"""What the product holds in memory: idle, with streams open, and with large bodies in flight."""

import contextlib
import time

from benchmarks.processes import forget_peak, peak_bytes, proportional_bytes, resident_bytes
from benchmarks.product import REQUEST_PATH, Product, running, write_channel
from benchmarks.results import Results
from benchmarks.workloads import CHUNKS, HUGE, SMALL, Bench, Workload

IDLE_SECONDS = 4
# The first chunk comes at once and the second when all is over.
OPEN = Workload("open", "1,000 open streams", 1000, 0, CHUNKS + 1, 0, 30_000)
OPEN_LOOP = {"ramp": 3, "warm": 8, "window": 1}
# More in flight say what each of them adds, and what is held once.
IN_FLIGHT = (8, 32)
BODIES_EACH = 10


def start(bench: Bench, results: Results) -> None:
    """Prints how long a start takes on a home that exists, and what is held when nothing happens."""
    home = bench.directory / "idle"
    with running(home) as product:
        product.chat()
    begin = time.monotonic()
    with running(home) as product:
        product.chat()
        warm = time.monotonic() - begin
        time.sleep(IDLE_SECONDS)
        parts = {kind: sum(map(proportional_bytes, pids)) for kind, pids in product.processes.items()}
        parts["supervisor"] = proportional_bytes(product.supervisor)
    results.add("start", warm_s=warm, bytes=parts)
    print(f"\nWarm start to first answer: {warm:.1f} s")
    print(f"Idle memory (proportional set size): {sum(parts.values()) / 1e6:.0f} MB, of it")
    print("  " + ", ".join(f"{kind} {size / 1e6:.0f}" for kind, size in sorted(parts.items(), key=lambda one: -one[1])))


def open_streams(bench: Bench, results: Results) -> None:
    """Prints what a thousand streams hold that have begun and are silent."""
    with _running(bench, "open") as product:
        bench.warm_up(product, SMALL)
        time.sleep(IDLE_SECONDS)
        before = _by_kind(product)
        after: list[dict[str, int]] = []
        found = bench.load(
            product.subject(), OPEN, 0, strict=False, marked=lambda: after.append(_by_kind(product)), **OPEN_LOOP
        )
    grown = {kind: size - before[kind] for kind, size in after[-1].items()}
    results.add("open", streams=found.open, bytes=grown, before=before)
    parts = ", ".join(f"{kind} {size / 1e6:.1f}" for kind, size in grown.items())
    print(f"\nMemory (proportional set size) that {found.open} open streams add to a product that has served others:")
    print(f"  {sum(grown.values()) / 1e6 / max(1, found.open) * 1000:.1f} MB per 1,000, of all {parts}", flush=True)


def bodies(bench: Bench, results: Results) -> None:
    """Prints the most that edge and router hold while bodies of 1 MB pass, beyond what they held before."""
    print("\nPeak memory (resident) with 1 MB requests, beyond that before the first, in bodies a request in flight:")
    for count in IN_FLIGHT:
        with _running(bench, f"bodies-{count}") as product:
            bench.warm_up(product, SMALL)
            pids = {kind: product.pids(kind)[0] for kind in ("edge", "router")}
            before = {kind: resident_bytes(pid) for kind, pid in pids.items()}
            for pid in pids.values():
                forget_peak(pid)
            bench.load(product.subject(), HUGE, count * BODIES_EACH, connections=count)
            peak = {kind: peak_bytes(pid) - before[kind] for kind, pid in pids.items()}
        shares = {kind: grown / count / HUGE.body for kind, grown in peak.items()}
        results.add("bodies", body=HUGE.body, connections=count, peak=peak, before=before, share=shares)
        print(
            f"  {count:2} in flight: "
            + ", ".join(f"{kind} {share:.2f} ({peak[kind] / 1e6:.0f} MB)" for kind, share in shares.items())
        )


def _running(bench: Bench, name: str) -> contextlib.AbstractContextManager[Product]:
    return running(bench.directory / name, write_channel(bench.directory, bench.upstream.port))


def _by_kind(product: Product) -> dict[str, int]:
    return {kind: sum(map(proportional_bytes, product.pids(kind))) for kind in REQUEST_PATH}
