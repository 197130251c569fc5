"""Active probes: the cheapest request that shows whether a channel is there, and what its answer means."""

from dataclasses import dataclass, replace
from typing import Final

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_router.domain.channels import Key, Ready
from tollgate_router.domain.dialects.translate import smallest_chat
from tollgate_router.domain.health.seat import KeyHealth
from tollgate_router.domain.health.states import Mode
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import Bench, UpstreamProblem, kind_name

# Servers that have no list of models are there all the same.
_NO_LIST: Final = frozenset({404, 405, 501})
_ILL: Final = frozenset(
    {
        errors.ERROR_KIND_MODEL_NOT_FOUND,
        errors.ERROR_KIND_UPSTREAM_UNAVAILABLE,
        errors.ERROR_KIND_UPSTREAM_TIMEOUT,
        errors.ERROR_KIND_UPSTREAM_PROTOCOL,
        errors.ERROR_KIND_UPSTREAM_CUT,
    }
)


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    method: bytes
    path: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    accepted: frozenset[int] = frozenset()
    """Statuses besides 200 that are as good."""


_LIST: Final = ProbeRequest(b"GET", b"/models", b"", accepted=_NO_LIST)


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe that is to be sent. `model` is the upstream model that is asked, empty for the list of models."""

    ready: Ready
    key: Key
    model: str

    @property
    def target(self) -> Target:
        """Where it goes; outside of what requests are counted by."""
        return self.ready.probe_target(self.key, self.model)

    @property
    def request(self) -> ProbeRequest:
        """What is sent: the list of models, which costs nothing, or one token of a model."""
        if not self.model:
            return replace(_LIST, path=self.ready.quirks.path("models", _LIST.path))
        asked = smallest_chat(self.target)
        return ProbeRequest(b"POST", asked.path, asked.body, asked.headers)


def probes_of(ready: Ready, turn: int) -> list[Probe]:
    """Returns what to ask of a channel now: with one credential in turn, and with every one that is benched."""
    declared = ready.channel.probe
    if declared is None or ready.health.mode is Mode.DISABLED:
        return []
    model = ready.upstream_of(declared.model) if declared.model is not None else ""
    chosen = ready.keys[turn % len(ready.keys)]
    benched = [key for key in ready.keys if ready.health.key(key.identity).bench is not Bench.NONE]
    return [Probe(ready, key, model) for key in dict.fromkeys((chosen, *benched))]


def judge(probe: Probe, problem: UpstreamProblem | None, now: float) -> None:
    """Tells the channel's health what came of a probe; one that never left for our own sake says nothing."""
    if problem is not None and problem.blameless:
        return
    health = probe.ready.health
    key = health.key(probe.key.identity)
    if problem is not None and problem.bench is not Bench.NONE and health.policy.bench_first > 0:
        health.refuse_key(key, now, problem.bench)
        health.probed("")
    elif problem is not None and problem.kind in _ILL:
        health.probed(kind_name(problem.kind))
    else:
        if _ends_bench(probe, key):
            health.restore_key(key)
        if probe.model and problem is None:
            health.close_breaker(probe.model)
        health.probed("")


def _ends_bench(probe: Probe, key: KeyHealth) -> bool:
    """Tells whether the answer ends a bench.

    A list of models is given to an account without balance, too, and where there is none, that is said whatever the
    signature. A bench for want of a token ends with the token, without which no probe is sent.
    """
    if key.bench is Bench.CREDENTIALS:
        return True
    return bool(probe.model) and key.bench in {Bench.BALANCE, Bench.CLOCK}
