"""`python -m benchmarks.instructions [DIR]`: instructions that a small request takes in edge and router, by callgrind.

They differ by a per cent from run to run, where processor time differs by twenty on a machine that is not quiet. What
the kernel does is not among them, nor are waits; requests are answered thirty times as slowly, so more of them gather
in a batch than usual.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import commit_of
from benchmarks.native import NoCompiler, build, running_upstream
from benchmarks.product import ROOT, NoTree, running, sources, write_channel
from benchmarks.results import Results, add_option
from benchmarks.workloads import CHUNKS, COUNTED, SETTLE_SECONDS, Bench, Workload

KINDS = ("edge", "router")
WORKLOADS = {workload.name.replace(" ", ""): workload for workload in COUNTED}
REQUESTS = 2000
LARGEST = 25
# By what is in the name of a file; the first that fits.
PARTS = {
    "_upb": "protobuf",
    "/uvloop/": "uvloop",
    "/httptools/": "httptools",
    "/msgspec/": "msgspec",
    "/hiredis/": "hiredis",
    "/lib-dynload/": "standard library in C",
    "/bin/python": "interpreter",
    "libsqlite3": "SQLite",
    "libcrypto": "OpenSSL",
    "libc.so": "C library",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 2 there is no such tree, no valgrind or no C compiler."""
    parser = argparse.ArgumentParser(prog="benchmarks.instructions", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=ROOT, metavar="DIR", help="A checkout; this one.")
    parser.add_argument("--kind", action="append", choices=KINDS, help="Count this kind of process; both.")
    parser.add_argument("--workload", choices=WORKLOADS, default="small", help="The requests; small.")
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"How many are counted; {REQUESTS}.")
    parser.add_argument("--functions", type=int, default=LARGEST, help=f"How many functions are named; {LARGEST}.")
    add_option(parser)
    options = parser.parse_args(arguments)
    directory, workload = options.directory.resolve(), WORKLOADS[options.workload]
    if shutil.which("valgrind") is None:
        print("Instructions are counted by valgrind: install it (Debian: valgrind).")
        return 2
    results = Results("benchmarks.instructions", {"tree": commit_of(directory)})
    print(f"{directory} at {commit_of(directory)}: instructions of a request, {workload.title}")
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        scratch = Path(name)
        try:
            sources(directory)
            build(scratch)
        except (NoCompiler, NoTree) as problem:
            print(problem)
            return 2
        for kind in options.kind or KINDS:
            found = _count(scratch, directory, kind, workload, options.requests)
            each = {key: cost / options.requests for key, cost in found.items()}
            results.add("instructions", workload=workload.name, kind=kind, functions=_named(each))
            _print(kind, each, options.functions)
        results.write(options.json)
    return 0


def _count(scratch: Path, tree: Path, kind: str, workload: Workload, requests: int) -> Counter[tuple[str, str]]:
    """Returns the instructions of so many requests by file and function."""
    out = scratch / f"{kind}.out"
    settings = {"TOLLGATE_BENCH_COUNTS": str(out), "PYTHONHASHSEED": "0"}
    with running_upstream(scratch, CHUNKS) as (port, pid):
        bench = Bench(scratch, port, pid)
        config = write_channel(scratch, port)
        with running(scratch / kind, config, root=tree, counted=kind, **settings) as product:
            bench.warm_up(product, workload)
            (counted,) = product.pids(kind)
            _control("--instr=on", counted)
            # What is compiled for the first count is not of a request.
            bench.load(product.subject(), workload, requests // 4)
            _control("--zero", counted)
            began = time.monotonic()
            bench.load(product.subject(), workload, requests)
            time.sleep(SETTLE_SECONDS)
            _control("--dump", counted)
            took = time.monotonic() - began
            # What it does as long without requests is none of theirs.
            time.sleep(took)
            _control("--dump", counted)
            _control("--instr=off", counted)
    dumps = sorted(scratch.glob(f"{out.name}.*"), key=lambda path: int(path.suffix[1:]))
    found, idle = (read_profile(dump.read_text()) for dump in dumps[:2])
    print(f"\n{kind} without requests: {idle.total() / requests:,.0f}")
    found.subtract(idle)
    return found


def _control(what: str, pid: int) -> None:
    subprocess.run(["callgrind_control", what, str(pid)], check=True, stdout=subprocess.DEVNULL)


def read_profile(text: str) -> Counter[tuple[str, str]]:
    """Returns what callgrind wrote: instructions by file and function, those of calls not included."""
    found: Counter[tuple[str, str]] = Counter()
    file = function = ""
    of_a_call = False
    for line in text.splitlines():
        if line.startswith("ob="):
            file = line[3:]
        elif line.startswith("fn="):
            function = line[3:]
        elif line.startswith("calls="):
            of_a_call = True
        elif line[:1].isdigit():
            if not of_a_call:
                found[file, function] += int(line.split()[1])
            of_a_call = False
    return found


def part_of(file: str) -> str:
    """Returns what a file that callgrind names is a part of."""
    return next((part for mark, part in PARTS.items() if mark in file), "other")


def _print(kind: str, each: Mapping[tuple[str, str], float], most: int) -> None:
    parts: Counter[str] = Counter()
    for (file, _), cost in each.items():
        parts[part_of(file)] += cost
    total = sum(parts.values())
    print(f"\n{kind}: {total:,.0f}")
    for part, cost in parts.most_common():
        print(f"  {part:<22}{cost:>10,.0f}{cost / total:>7.1%}")
    for (file, function), cost in sorted(each.items(), key=lambda one: -one[1])[:most]:
        print(f"    {cost:>8,.0f} {part_of(file):<22} {function[:80]}", flush=True)


def _named(each: Mapping[tuple[str, str], float]) -> dict[str, float]:
    return {f"{part_of(file)} {function}": round(cost, 1) for (file, function), cost in each.items() if cost >= 1}


if __name__ == "__main__":
    sys.exit(main())
