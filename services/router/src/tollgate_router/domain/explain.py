"""Why a request goes where it goes: every target that was considered, why each is in or out, which one is taken.

Made of the same parts that choose, so that it cannot tell another story than they do.
"""

import enum
from dataclasses import dataclass
from itertools import islice
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from tollgate_router.domain.abilities import names_of, needs_of, tokens_of
from tollgate_router.domain.candidates import Limits
from tollgate_router.domain.listing import Place
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import kind_name
from tollgate_router.domain.walk import Walk

if TYPE_CHECKING:
    from tollgate_router.domain.snapshot import Snapshot

# Enough for every sensible route; a model that a thousand channels offer is not written out.
_MOST: Final = 100
# What is asked has no place on the target's wire.
WIRE: Final = "wire"


class Verdict(enum.Enum):
    TAKEN = "taken"
    POSSIBLE = "possible"
    """It could be taken now, or later on this request's way."""
    OUT = "out"
    FAILED = "failed"
    """It was tried, and failed."""


@dataclass(frozen=True, slots=True)
class Considered:
    """One target. `level` counts from 1, 0 is a canary's; `key` is the place of the credential in its channel."""

    model: str
    level: int
    channel: str
    key: int
    upstream_model: str
    weight: int
    verdict: Verdict
    reason: str = ""
    """A word of `Obstacle`, an error kind, what the target lacks, or `WIRE`, whose detail is the caller's field."""
    detail: str = ""
    wait_ms: int = 0
    """Until it may be tried again; 0 where no time is known."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`unmet` are abilities that no target is known to have, `omitted` counts targets that were not written out."""

    model: str
    route_group: str
    config_digest: str
    strategy: str
    affinity: str
    bound: bool
    canary: bool
    needs: tuple[str, ...]
    unmet: tuple[str, ...]
    prompt_tokens: int
    targets: tuple[Considered, ...]
    omitted: int
    fallback_model: str
    fallback_reason: str
    refusal: str
    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request asks of the targets of one model."""

    limits: Limits
    canary: bool


def explain(snapshot: "Snapshot", walk: Walk, taken: Target | None, now: float) -> Explanation:
    """Returns the explanation of a way that has led to `taken`, as things are at `now`.

    No more rows are made than are written out, however many targets there are.
    """
    ask, own = walk.ask, walk.own
    plan, session = own.plan(ask), own.session(ask)
    places, omitted = _chosen(snapshot, walk, taken)
    asked = {model: _asked(snapshot, walk, model) for model in dict.fromkeys(place.model for place in places)}
    refusal = walk.refusal
    return Explanation(
        model=walk.asked_model,
        route_group=ask.route_group,
        config_digest=snapshot.digest,
        strategy=own.strategy,
        affinity=str(own.affinity or ""),
        bound=session is not None,
        canary=own.takes_canary(ask, session),
        needs=tuple(names_of(needs_of(ask.members, ask.dialect))) if ask.chat else (),
        unmet=tuple(names_of(plan.unmet)),
        prompt_tokens=tokens_of(ask.members, ask.body_bytes),
        targets=tuple(_row(place, walk, asked[place.model], taken, now) for place in places),
        omitted=omitted,
        fallback_model=walk.model if walk.why else "",
        fallback_reason=walk.why,
        refusal=refusal.message if refusal is not None else "",
        retry_after_ms=refusal.retry_after_ms if refusal is not None else 0,
    )


def _chosen(snapshot: "Snapshot", walk: Walk, taken: Target | None) -> tuple[list[Place], int]:
    """Returns what is written out, in the order of the way, and how many rows are not.

    What was tried and what is taken is never left out.
    """
    order = {model: place for place, model in enumerate(dict.fromkeys((walk.asked_model, *walk.visited)))}
    listed = [snapshot.places(walk.ask.route_group, model) for model in order]
    sure = dict.fromkeys(step.target.seat for step in walk.steps)
    if taken is not None:
        sure[taken.seat] = None
    kept = [place for places in listed for seat in sure for place in places.of_seat.get(seat, ())][:_MOST]
    others = (
        place for places in listed for place in places.all if place.target is None or place.target.seat not in sure
    )
    kept += islice(others, _MOST - len(kept))
    kept.sort(key=lambda place: (order[place.model], place.number))
    return kept, sum(len(places.all) for places in listed) - len(kept)


def _asked(snapshot: "Snapshot", walk: Walk, model: str) -> _Asked:
    ask = walk.ask
    candidates = snapshot.serving(ask.route_group, model, ask.operation)
    if candidates is None:
        return _Asked(Limits(), canary=False)
    plan, limits = candidates.plan(ask), candidates.limits(ask)
    # What no target has is asked of none.
    needs, tokens = 0 if plan.unmet else limits.needs, 0 if plan.too_long else limits.tokens
    return _Asked(
        Limits(needs, tokens, limits.region, limits.dialect, candidates.operation),
        canary=candidates.takes_canary(ask, candidates.session(ask)),
    )


def _row(place: Place, walk: Walk, asked: _Asked, taken: Target | None, now: float) -> Considered:
    target, entry = place.target, place.entry
    if target is None:
        return Considered(
            place.model, place.level, entry.channel, 0, entry.upstream_model, entry.weight, Verdict.OUT, place.reason,
            place.detail,
        )  # fmt: skip
    verdict, why, detail, wait_ms = _judged(walk, place.model, target, taken, now)
    if verdict is Verdict.POSSIBLE and (lacking := asked.limits.rule_out(target)):
        verdict, why = Verdict.OUT, lacking
    elif verdict is Verdict.POSSIBLE and place.level == 0 and not asked.canary:
        verdict, why = Verdict.OUT, "canary"
    return Considered(
        place.model, place.level, target.channel, target.key_index, target.upstream_model, entry.weight, verdict, why,
        detail, wait_ms,
    )  # fmt: skip


def _judged(walk: Walk, model: str, target: Target, taken: Target | None, now: float) -> tuple[Verdict, str, str, int]:
    for step in walk.steps:
        if step.target.seat is target.seat:
            return Verdict.FAILED, kind_name(step.kind), "" if step.model == model else f"as {step.model}", 0
    if taken is not None and taken.seat is target.seat and walk.model == model:
        return Verdict.TAKEN, "", "", 0
    if walk.unable and (refused := walk.unable.get(target.wording)) is not None:
        # The field, and not the words: these may quote the caller.
        return Verdict.OUT, WIRE, refused.param, 0
    held = target.seat.hindrance(now)
    if held is not None:
        wait_ms = 0 if held.until == inf else ceil((held.until - now) * 1000)
        return Verdict.OUT, held.obstacle.value, held.detail, wait_ms
    return Verdict.POSSIBLE, "", "", 0
