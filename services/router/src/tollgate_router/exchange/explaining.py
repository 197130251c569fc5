"""Explanations as they travel: in events, and to operators."""

from typing import TYPE_CHECKING, Final

from tollgate.routing.v1 import explanation_pb2 as routing
from tollgate_router.domain.explain import Verdict, explain

if TYPE_CHECKING:
    from tollgate.exchange.v1 import exchange_pb2 as wire
    from tollgate_kit.clock import Clock
    from tollgate_router.domain.snapshot import Snapshot
    from tollgate_router.domain.target import Target
    from tollgate_router.domain.walk import Walk

_VERDICTS: Final = {
    Verdict.TAKEN: routing.VERDICT_TAKEN,
    Verdict.POSSIBLE: routing.VERDICT_POSSIBLE,
    Verdict.OUT: routing.VERDICT_OUT,
    Verdict.FAILED: routing.VERDICT_FAILED,
}
# Why edge asks for another model than its caller named.
BUDGET: Final = "budget"
_MOST_MS: Final = 2**32 - 1


def way_of(
    walk: "Walk", target: "Target | None", attempts: int, opened: "wire.Open", clock: "Clock"
) -> routing.Explanation | None:
    """Returns the explanation of a way that is over, with `target` as its last; None where it went where it was asked.

    Passing a target over that could not be told what is asked is worth telling, too.

    A refusal is told as it was judged, all else as it is now.
    """
    wanted = opened.requested_model
    if attempts < 2 and not (walk.why or walk.refusal is not None or walk.unable or wanted):
        return None
    now = walk.at if walk.refusal is not None else clock.monotonic()
    return explanation_of(walk.snapshot, walk, target, now, wanted)


def explanation_of(
    snapshot: "Snapshot", walk: "Walk", taken: "Target | None", now: float, wanted: str = ""
) -> routing.Explanation:
    """Returns why a way led to `taken`, as things are at `now` (seconds of the monotonic clock).

    `wanted` is the model that the caller named, where edge asks for a cheaper one since a budget says so.
    """
    found = explain(snapshot, walk, taken, now)
    turned = bool(wanted) and not found.fallback_reason
    return routing.Explanation(
        model=found.model,
        route_group=found.route_group,
        config_digest=found.config_digest,
        strategy=found.strategy,
        affinity=found.affinity,
        bound=found.bound,
        canary=found.canary,
        needs=found.needs,
        unmet=found.unmet,
        prompt_tokens=found.prompt_tokens,
        targets=[
            routing.ConsideredTarget(
                model=one.model,
                level=one.level,
                channel=one.channel,
                key=one.key,
                upstream_model=one.upstream_model,
                weight=one.weight,
                verdict=_VERDICTS[one.verdict],
                reason=one.reason,
                detail=one.detail,
                wait_ms=min(one.wait_ms, _MOST_MS),
            )
            for one in found.targets
        ],
        omitted=found.omitted,
        fallback_model=found.model if turned else found.fallback_model,
        fallback_reason=BUDGET if turned else found.fallback_reason,
        refusal=found.refusal,
        retry_after_ms=min(found.retry_after_ms, _MOST_MS),
    )
