"""Takes one feature out of edge or router, to measure what it costs, or has their instructions counted.

Python imports this file at start by its name. Only the benchmarks put this folder on the path: the product itself has
no switch that turns money off.
"""

import inspect
import os
import sys
from collections.abc import Callable
from typing import Any


def _replace(owner: type, name: str, function: Callable[..., Any]) -> None:
    """Puts `function` in place of a method. Ends the process where it takes other arguments than what it replaces."""
    before, after = (tuple(inspect.signature(one).parameters.values()) for one in (getattr(owner, name), function))
    if [(one.name, one.kind) for one in before] != [(one.name, one.kind) for one in after]:
        sys.exit(f"benchmarks/without: {owner.__name__}.{name} takes other arguments than what stands in for it")
    setattr(owner, name, function)


def _without_authentication() -> None:
    from tollgate_edge.domain.principal import Principal
    from tollgate_edge.use_cases.authenticate import KeyAuthenticator

    found_once, ask = [], KeyAuthenticator.cached

    def cached(self, presented):
        """Believes every caller to be the first one that was known."""
        if found_once:
            return found_once[0]
        found = ask(self, presented)
        if isinstance(found, Principal):
            found_once.append(found)
        return found

    _replace(KeyAuthenticator, "cached", cached)


def _without_hold() -> None:
    from tollgate_edge.inference.admission import Admission
    from tollgate_holds import HoldResult

    def hold(self, organization, request, amount_pico) -> None:
        self._loop.call_soon(request.admitted, HoldResult.DONE)

    _replace(Admission, "hold", hold)
    _replace(Admission, "settle", lambda self, organization, hold_id, cost_pico, ticket=None, tokens=0: None)


def _without_rating() -> None:
    from tollgate_router.exchange.recorder import Charge, Recorder

    free = Charge(None, 0, 0, unpriced=False)
    _replace(Recorder, "_rate", lambda self, opened, snapshot, result: free)


def _without_event() -> None:
    from tollgate_router.exchange.recorder import Charge, Recorded, Recorder

    nothing = (Recorded(0, b"", b"", b""), Charge(None, 0, 0, unpriced=False))
    _replace(Recorder, "record", lambda self, opened, snapshot, result: nothing)
    _replace(Recorder, "confirm", lambda self, recorded: None)


def _without_log() -> None:
    from tollgate_kit.publisher import Publisher

    _replace(Publisher, "queue", lambda self, sequence, key, value, headers=(): self._spool.discard((sequence,)))


def _without_histograms() -> None:
    from tollgate_kit.metrics import Histogram

    _replace(Histogram, "observe", lambda self, value: None)


def _without_metrics_of_edge() -> None:
    from tollgate_edge.telemetry import InferenceCounters

    _without_histograms()
    _replace(InferenceCounters, "count_end", lambda self, operation, outcome, queue, first_token, duration: None)


def _without_metrics_of_router() -> None:
    from tollgate_router.telemetry import AttemptSeries

    def add(self, *, upstream_started_us, first_byte_us, total_us, units, first_chunk) -> None:
        pass

    _without_histograms()
    _replace(AttemptSeries, "add", add)


_FEATURES = {
    "authentication": {"tollgate_edge": _without_authentication},
    "hold": {"tollgate_edge": _without_hold},
    "rating": {"tollgate_router": _without_rating},
    "event": {"tollgate_router": _without_event},
    "log": {"tollgate_router": _without_log},
    "money": {"tollgate_edge": _without_hold, "tollgate_router": _without_event},
    "metrics": {"tollgate_edge": _without_metrics_of_edge, "tollgate_router": _without_metrics_of_router},
}
_COUNTED = ("tollgate_edge", "tollgate_router")


def _count_instructions(program: str, directory: str) -> None:
    """Begins anew under callgrind, as the same process, so that whoever started it notices nothing but the time."""
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"]
    out = [f"--callgrind-out-file={directory}/{program}.%p", f"--log-file={directory}/{program}.%p.log"]
    os.execvp("valgrind", [*valgrind, *out, sys.executable, *sys.orig_argv[1:]])


_program = next((one for one in _COUNTED if one in sys.orig_argv), "")
# Taken out, so that the process under valgrind does not begin anew again.
if _program and (_directory := os.environ.pop("TOLLGATE_BENCH_CALLGRIND", "")):
    _count_instructions(_program, _directory)
if _found := _FEATURES.get(os.environ.get("TOLLGATE_BENCH_WITHOUT", ""), {}).get(_program):
    _found()
