"""Everybody in turn, again and again, each time as a fresh process.

Nobody holds the others up: a load ends after a minute. Who did not answer every request whole by then takes no further
turn; where bodies are large, which some refuse, it is only left out of that workload.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.machine import load
from benchmarks.memory import IDLE_SECONDS, OPEN, OPEN_LOOP
from benchmarks.peers.declared import Peer
from benchmarks.peers.running import PeerFailed, started
from benchmarks.product import REQUEST_PATH, running, write_channel
from benchmarks.results import Results
from benchmarks.subject import Subject
from benchmarks.workloads import COUNTED, PACED, SETTLE_SECONDS, SMALL, WARM_UP, Bench, NotWhole, Workload

OURS, WITH_BILLING = "tollgate", "tollgate with billing"
LATENCY = "latency"
WORKLOADS = (*(workload.name for workload in COUNTED), LATENCY, *(workload.name for workload in PACED), OPEN.name)
# Of one load, warm-up or counted.
MOST_SECONDS = 60.0


class Turns:
    """Runs the gateways and adds a row for each, each workload and each round.

    The tables: `requests` (micros and memory after the load), `latency` (beside the upstream asked directly),
    `paced` (with `upstream` as a gateway of its own), `open` (what silent streams add to the memory).
    """

    def __init__(self, bench: Bench, results: Results, peers: Sequence[Peer], workloads: Sequence[str]) -> None:
        self._bench = bench
        self._results = results
        self._peers = peers
        self._workloads = workloads
        self._failed: dict[str, str] = {}
        # By gateway and workload, why it is not measured.
        self.left_out: dict[tuple[str, str], str] = {}

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
            self.measure(subjects, number, 1.0)

    def _theirs(self, peer: Peer, number: int) -> None:
        directory = self._bench.directory / f"{peer.name}-{number}"
        try:
            with started(peer, directory, self._bench.upstream.port) as subject:
                self.measure([subject], number, peer.share)
        except (PeerFailed, NotWhole) as reason:
            self._failed[peer.name] = str(reason)

    def measure(self, subjects: Sequence[Subject], number: int, share: float) -> None:
        """Loads the first subject with every workload and counts the processes of each."""
        name = subjects[0].name
        for workload in self._chosen(COUNTED):
            if (name, workload.name) in self.left_out:
                continue
            try:
                self._round(subjects, workload, number, _requests(workload, share))
            except NotWhole as reason:
                if name == OURS or not workload.body:
                    raise
                self.left_out[name, workload.name] = str(reason)
        if LATENCY in self._workloads:
            direct, found = self._bench.added_latency(subjects[0], share)
            self._results.add("latency", gateway=name, round=number, direct=asdict(direct), load=asdict(found))
        for workload in self._chosen(PACED):
            self._paced(subjects, workload, number)
        if OPEN.name in self._workloads:
            self._open(subjects[0], number, share)

    def _round(self, subjects: Sequence[Subject], workload: Workload, number: int, requests: int) -> None:
        first = subjects[0]
        self._bench.load(first, workload, round(requests * WARM_UP), limit=MOST_SECONDS)
        before = [subject.processor_seconds() for subject in subjects]
        found = self._bench.load(first, workload, requests, limit=MOST_SECONDS)
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

    def _open(self, subject: Subject, number: int, share: float) -> None:
        """Holds many streams open that are silent after their first chunk, and counts what they add to the memory."""
        self._bench.load(subject, SMALL, round(_requests(SMALL, share) * WARM_UP), strict=False, limit=MOST_SECONDS)
        time.sleep(IDLE_SECONDS)
        before = subject.memory_bytes()
        after: list[int] = []
        found = self._bench.load(
            subject, OPEN, 0, strict=False, marked=lambda: after.append(subject.memory_bytes()), **OPEN_LOOP
        )
        self._results.add(
            "open",
            gateway=subject.name,
            round=number,
            streams=found.open,
            before=before,
            bytes=after[-1] - before,
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


def _requests(workload: Workload, share: float) -> int:
    return max(workload.connections * 4, round(workload.requests * share))
