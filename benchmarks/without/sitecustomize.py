"""Takes one feature out of edge or router, to measure what it costs. Python imports this file at start by its name.

Only the benchmarks put this folder on the path. The product itself has no switch that turns money off.
"""

import os
import sys


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

    KeyAuthenticator.cached = cached


def _without_hold() -> None:
    from tollgate_edge.inference.admission import Admission
    from tollgate_holds import HoldResult

    def hold(self, organization, request, amount_pico) -> None:
        self._loop.call_soon(request.admitted, HoldResult.DONE)

    Admission.hold = hold
    Admission.settle = lambda self, organization, request_id, cost_pico: None


def _without_rating() -> None:
    from tollgate_router.exchange.recorder import Charge, Recorder

    free = Charge(None, 0, 0, unpriced=False)
    Recorder._rate = lambda self, opened, snapshot, result: free


def _without_event() -> None:
    from tollgate_router.exchange.recorder import Charge, Recorded, Recorder

    nothing = (Recorded(0, b"", b"", b""), Charge(None, 0, 0, unpriced=False))
    Recorder.record = lambda self, opened, snapshot, result: nothing
    Recorder.confirm = lambda self, recorded: None


def _without_log() -> None:
    from tollgate_kit.publisher import Publisher

    Publisher.queue = lambda self, sequence, key, value, headers=(): self._spool.discard((sequence,))


_FEATURES = {
    "authentication": ("tollgate_edge", _without_authentication),
    "hold": ("tollgate_edge", _without_hold),
    "rating": ("tollgate_router", _without_rating),
    "event": ("tollgate_router", _without_event),
    "log": ("tollgate_router", _without_log),
}

if (_found := _FEATURES.get(os.environ.get("TOLLGATE_BENCH_WITHOUT", ""))) and _found[0] in sys.orig_argv:
    _found[1]()
