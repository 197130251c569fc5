"""Everybody in turn, again and again, each time as a fresh process."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.machine import load
from benchmarks.peers.declared import Peer
from benchmarks.peers.running import PeerFailed, started
from benchmarks.product import REQUEST_PATH, running, write_channel
from benchmarks.results import Results
from benchmarks.subject import Subject
from benchmarks.workloads import PACED, SETTLE_SECONDS, SMALL, STREAM, WARM_UP, Bench, NotWhole, Workload

OURS, WITH_BILLING = "tollgate", "tollgate with billing"
LATENCY = "latency"
WORKLOADS = (SMALL.name, STREAM.name, LATENCY, *(workload.name for workload in PACED))
COUNTED = (SMALL, STREAM)


class Turns:
    """Runs the gateways and adds a row for each, each workload and each round.

    The tables: `requests` (micros and memory after the load), `latency` (beside the upstream asked directly),
    `paced` (with `upstream` as a gateway of its own).
    """

    def __init__(self, bench: Bench, results: Results, peers: Sequence[Peer], workloads: Sequence[str]) -> None:
        self._bench = bench
        self._results = results
        self._peers = peers
        self._workloads = workloads
        self._failed: dict[str, str] = {}

    def run(self, rounds: int) -> dict[str, str]:
        """Returns what was wrong with the peers that failed; they take no further turn."""
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}, {load()}", file=sys.stderr, flush=True)
            self._results.note_busy()
            for workload in self._chosen(PACED):
                self._paced([self._bench.upstream], workload, number)
            self._ours(number)
            for peer in self._peers:
                if peer.name not in self._failed:
                    self._theirs(peer, number)
        return self._failed

    def _chosen(self, workloads: Sequence[Workload]) -> list[Workload]:
        return [workload for workload in workloads if workload.name in self._workloads]

    def _ours(self, number: int) -> None:
        config = write_channel(self._bench.directory, self._bench.upstream.port)
        with running(self._bench.directory / f"tollgate-{number}", config) as product:
            subjects = [product.subject(OURS), product.subject(WITH_BILLING, (*REQUEST_PATH, "billing"))]
            self._measure(subjects, number, 1.0)

    def _theirs(self, peer: Peer, number: int) -> None:
        directory = self._bench.directory / f"{peer.name}-{number}"
        try:
            with started(peer, directory, self._bench.upstream.port) as subject:
                self._measure([subject], number, peer.share)
        except (PeerFailed, NotWhole) as reason:
            self._failed[peer.name] = str(reason)

    def _measure(self, subjects: Sequence[Subject], number: int, share: float) -> None:
        """Loads the first subject with every workload and counts the processes of each."""
        for workload in self._chosen(COUNTED):
            self._round(subjects, workload, number, max(workload.connections * 4, round(workload.requests * share)))
        if LATENCY in self._workloads:
            direct, found = self._bench.added_latency(subjects[0], share)
            self._results.add(
                "latency", gateway=subjects[0].name, round=number, direct=asdict(direct), load=asdict(found)
            )
        for workload in self._chosen(PACED):
            self._paced(subjects, workload, number)

    def _round(self, subjects: Sequence[Subject], workload: Workload, number: int, requests: int) -> None:
        first = subjects[0]
        self._bench.load(first, workload, round(requests * WARM_UP))
        before = [subject.processor_seconds() for subject in subjects]
        found = self._bench.load(first, workload, requests)
        time.sleep(SETTLE_SECONDS)
        for subject, spent in zip(subjects, before, strict=True):
            self._results.add(
                "requests",
                gateway=subject.name,
                workload=workload.name,
                round=number,
                requests=requests,
                micros=(subject.processor_seconds() - spent) * 1e6 / requests,
                memory=subject.memory_bytes(),
                load=asdict(found),
            )

    def _paced(self, subjects: Sequence[Subject], workload: Workload, number: int) -> None:
        found = self._bench.paced(subjects, workload)
        for name, micros in found.micros.items():
            self._results.add(
                "paced",
                gateway=name,
                workload=workload.name,
                round=number,
                micros=micros,
                delivered=found.delivered,
                memory=found.memory[name],
                load=asdict(found.load),
            )
