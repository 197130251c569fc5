"""`python -m benchmarks.peers [--get NAME …] [--only NAME …] [--rounds N]`: other gateways on the same workloads."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.machine import load, machine, spread
from benchmarks.native import Load, NoCompiler, build, run_load, running_upstream
from benchmarks.peers.alone import is_alone, run_alone
from benchmarks.peers.declared import CannotGet, Peer, get, load_peers
from benchmarks.peers.running import PeerFailed, Subject, started
from benchmarks.product import MODEL, running, write_channel
from benchmarks.workloads import CHUNKS, REQUEST_PATH, SETTLE_SECONDS, SMALL, STREAM, Workload, request_of

ROUNDS = 3
WARM_UP = 0.4
LIMIT_SECONDS = 300.0
OURS = ("tollgate", "tollgate with billing")


@dataclass(frozen=True, slots=True)
class Measured:
    """One workload on one gateway in one round."""

    micros: float
    load: Load
    memory: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 a peer could not be got or did not answer, 2 no C compiler."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description=__doc__)
    parser.add_argument("--get", action="append", default=[], metavar="NAME", help="Install this peer, or `all`.")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="Measure this peer beside ours.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"How often each takes its turn; {ROUNDS}.")
    options = parser.parse_args(arguments)
    peers = load_peers()
    if not is_alone():
        code = _get(peers, options.get)
        given = [part for name in options.only for part in ("--only", name)]
        inside = run_alone("benchmarks.peers", [*given, "--rounds", str(options.rounds)])
        if inside is not None:
            return code or inside
        print("This system gives no network of one's own (unshare): peers that listen everywhere are left out.")
        peers = [peer for peer in peers if not peer.alone]
    return _measure([peer for peer in peers if not options.only or peer.name in options.only], options.rounds)


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


def _measure(peers: Sequence[Peer], rounds: int) -> int:
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
        with running_upstream(directory, CHUNKS) as (port, _):
            return _Turns(directory, port, here).run(rounds)


class _Turns:
    """Everybody in turn, again and again, each time as a fresh process."""

    def __init__(self, directory: Path, upstream: int, peers: Sequence[Peer]) -> None:
        self._directory = directory
        self._upstream = upstream
        self._peers = peers
        self._found: dict[tuple[str, Workload], list[Measured]] = {}
        self._failed: dict[str, str] = {}

    def run(self, rounds: int) -> int:
        """Returns 1 when a peer failed."""
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}, {load()}", file=sys.stderr, flush=True)
            self._ours(number)
            for peer in self._peers:
                if peer.name not in self._failed:
                    self._theirs(peer, number)
        self._print()
        return 1 if self._failed else 0

    def _ours(self, number: int) -> None:
        config = write_channel(self._directory, self._upstream)
        with running(self._directory / f"tollgate-{number}", config) as product:
            headers = {"authorization": f"Bearer {product.api_key}"}
            path, billing = product.pids(*REQUEST_PATH), product.pids("billing")
            whole = [
                Subject(name, product.port, headers, MODEL, pids)
                for name, pids in zip(OURS, (path, path + billing), strict=True)
            ]
            for workload in (SMALL, STREAM):
                self._round(whole, workload, workload.requests, workload.events)

    def _theirs(self, peer: Peer, number: int) -> None:
        try:
            with started(peer, self._directory / f"{peer.name}-{number}", self._upstream) as subject:
                for workload in (SMALL, STREAM):
                    requests = max(workload.connections * 4, round(workload.requests * peer.share))
                    self._round([subject], workload, requests, peer.events if workload.events else 0)
        except PeerFailed as reason:
            self._failed[peer.name] = str(reason)

    def _round(self, subjects: Sequence[Subject], workload: Workload, requests: int, events: int) -> None:
        """Loads the first subject and counts the processes of each."""
        first = subjects[0]
        self._load(first, workload, round(requests * WARM_UP), events)
        before = [subject.processor_seconds() for subject in subjects]
        found = self._load(first, workload, requests, events)
        time.sleep(SETTLE_SECONDS)
        for subject, spent in zip(subjects, before, strict=True):
            micros = (subject.processor_seconds() - spent) * 1e6 / requests
            self._found.setdefault((subject.name, workload), []).append(Measured(micros, found, subject.memory_bytes()))

    def _load(self, subject: Subject, workload: Workload, requests: int, events: int) -> Load:
        request = self._directory / "peer.request"
        request.write_bytes(request_of(workload, subject.model, subject.headers))
        found = run_load(
            self._directory,
            subject.port,
            request,
            connections=workload.connections,
            requests=requests,
            events=events,
            limit=LIMIT_SECONDS,
        )
        if found.good != requests:
            raise PeerFailed(f"{subject.name} did not answer every request whole: {found}")
        return found

    def _print(self) -> None:
        for workload in (SMALL, STREAM):
            print(f"\n{workload.title}: median (lowest - highest) of the rounds")
            print(f"  {'':<24}{'us of processor a request':>28}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'MB':>7}")
            for name in (*OURS, *(peer.name for peer in self._peers)):
                if rows := self._found.get((name, workload)):
                    print(_line(name, rows))
            for peer in self._peers:
                if theirs := self._found.get((peer.name, workload)):
                    print(f"  tollgate / {peer.name}: {_ratio(self._found[OURS[0], workload], theirs)}")
        print("\nWhat they do")
        print("  tollgate: checks a key, holds and settles money, rates, keeps a usage event; billing books it")
        for peer in self._peers:
            print(f"  {peer.name} ({peer.title}): {peer.says}")
        for reason in self._failed.values():
            print(f"\n{reason}")
        print(f"\nAt the end: {load()}")


def _ratio(ours: Sequence[Measured], theirs: Sequence[Measured]) -> str:
    """Returns our processor time over theirs, round by round: median, lowest and highest."""
    return spread([own.micros / other.micros for own, other in zip(ours, theirs, strict=False)], 2).strip()


def _line(name: str, rows: Sequence[Measured]) -> str:
    micros = [row.micros for row in rows]
    cost = f"{median(micros):.0f} ({min(micros):.0f} - {max(micros):.0f})"
    rate, p50, p99 = (median(getattr(row.load, part) for row in rows) for part in ("rate", "p50_ms", "p99_ms"))
    memory = median(row.memory for row in rows) / 1e6
    return f"  {name:<24}{cost:>28}{rate:>12.0f}{p50:>9.1f}{p99:>9.1f}{memory:>7.0f}"


if __name__ == "__main__":
    sys.exit(main())
