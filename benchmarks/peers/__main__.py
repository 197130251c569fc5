"""`python -m benchmarks.peers [--get NAME …] [--only NAME …] [--rounds N]`: other gateways on the same workloads."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import load, machine
from benchmarks.native import NoCompiler, build, running_upstream
from benchmarks.peers.alone import is_alone, run_alone
from benchmarks.peers.declared import CannotGet, Peer, get, load_peers
from benchmarks.peers.printed import print_tables
from benchmarks.peers.turns import WORKLOADS, Turns
from benchmarks.results import Results, add_option
from benchmarks.workloads import CHUNKS, Bench

ROUNDS = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 a peer could not be got or did not answer, 2 no C compiler."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__)
    parser.add_argument("--get", action="append", default=[], metavar="NAME", help="Install this peer, or `all`.")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="Measure this peer beside ours.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"How often each takes its turn; {ROUNDS}.")
    parser.add_argument(
        "--workload", action="append", choices=WORKLOADS, metavar="NAME", help=f"Of {', '.join(WORKLOADS)}; all."
    )
    add_option(parser)
    options = parser.parse_args(arguments)
    peers = load_peers()
    if not is_alone():
        code = _get(peers, options.get)
        given = [part for name in options.only for part in ("--only", name)]
        given += [part for name in options.workload or () for part in ("--workload", name)]
        given += ["--json", str(options.json.resolve())] if options.json else []
        inside = run_alone("benchmarks.peers", [*given, "--rounds", str(options.rounds)])
        if inside is not None:
            return code or inside
        print("This system gives no network of one's own (unshare): peers that listen everywhere are left out.")
        peers = [peer for peer in peers if not peer.alone]
    chosen = [peer for peer in peers if not options.only or peer.name in options.only]
    return _measure(chosen, options.workload or WORKLOADS, options.rounds, options.json)


def _get(peers: Sequence[Peer], names: Sequence[str]) -> int:
    code = 0
    for peer in peers:
        if peer.name in names or ("all" in names and peer.get != "none"):
            print(f"getting {peer.title}", flush=True)
            try:
                get(peer)
            except CannotGet as reason:
                print(f"  {reason}")
                code = 1
    return code


def _measure(peers: Sequence[Peer], workloads: Sequence[str], rounds: int, file: Path | None) -> int:
    """Returns 1 when a peer failed, 2 without a C compiler."""
    print(machine())
    here = [peer for peer in peers if peer.is_here]
    for peer in peers:
        if not peer.is_here:
            print(f"  {peer.title} is not here: {peer.advice}")
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as name:
        directory = Path(name)
        try:
            build(directory)
        except NoCompiler as problem:
            print(problem)
            return 2
        with running_upstream(directory, CHUNKS) as (port, pid):
            results = Results("benchmarks.peers", {peer.name: peer.title for peer in here})
            turns = Turns(Bench(directory, port, pid), results, here, workloads)
            failed = turns.run(rounds)
            print_tables(results, [peer.name for peer in here])
            print("\nWhat they do")
            print("  tollgate: checks a key, holds and settles money, rates, keeps a usage event; billing books it")
            for peer in here:
                print(f"  {peer.name} ({peer.title}): {peer.says}")
            for (gateway, workload), reason in turns.left_out.items():
                print(f"\n{gateway} is left out of {workload}: {reason}")
            for reason in failed.values():
                print(f"\n{reason}")
            print(f"\nAt the end: {load()}")
            results.write(file)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
