"""Why a request goes where it goes: every target that was considered, why each is in or out, which one is taken.

Made of the same parts that choose, so that it cannot tell another story than they do.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from tollgate_router.domain.abilities import names_of, needs_of, tokens_of
from tollgate_router.domain.candidates import Candidates, Limits
from tollgate_router.domain.compiling import Declaration, Entry, left_out
from tollgate_router.domain.target import Target
from tollgate_router.domain.upstream_errors import kind_name
from tollgate_router.domain.walk import Walk

if TYPE_CHECKING:
    from tollgate_router.domain.snapshot import Snapshot

# Enough for every sensible route; a model that a thousand channels offer is not written out.
_MOST: Final = 100


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
    """A word of `Obstacle`, an error kind, or what the target lacks."""
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


def explain(snapshot: "Snapshot", walk: Walk, taken: Target | None, now: float) -> Explanation:
    """Returns the explanation of a way that has led to `taken`, as things are at `now`."""
    ask, own = walk.ask, walk.own
    plan, session = own.plan(ask), own.session(ask)
    found = [
        one
        for model in dict.fromkeys((walk.asked_model, *walk.visited))
        for one in _of_model(snapshot, walk, model, taken, now)
    ]
    # What was tried and what is taken is never left out.
    found.sort(key=lambda one: one.verdict in {Verdict.POSSIBLE, Verdict.OUT})
    kept = found[:_MOST]
    order = {model: place for place, model in enumerate((walk.asked_model, *walk.visited))}
    kept.sort(key=lambda one: (order[one.model], one.level))
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
        targets=tuple(kept),
        omitted=len(found) - len(kept),
        fallback_model=walk.model if walk.why else "",
        fallback_reason=walk.why,
        refusal=refusal.message if refusal is not None else "",
        retry_after_ms=refusal.retry_after_ms if refusal is not None else 0,
    )


def _of_model(snapshot: "Snapshot", walk: Walk, model: str, taken: Target | None, now: float) -> Iterator[Considered]:
    declared = snapshot.declared.get(model)
    candidates = snapshot.route(walk.ask.route_group, model)
    if declared is None:
        return
    levels = [(0, declared.canary), *enumerate(declared.levels, 1)]
    for number, entries in levels:
        for entry in entries:
            yield from _of_entry(snapshot, walk, (model, number), entry, declared, candidates, taken, now)


def _of_entry(
    snapshot: "Snapshot",
    walk: Walk,
    place: tuple[str, int],
    entry: Entry,
    declared: Declaration,
    candidates: Candidates | None,
    taken: Target | None,
    now: float,
) -> Iterator[Considered]:
    ask = walk.ask
    model, number = place
    reason = left_out(entry, ask.route_group, declared.route, snapshot.ready)
    if reason or candidates is None:
        problem = next((one.problem for one in snapshot.channels if one.name == entry.channel), "there is none")
        yield Considered(
            model, number, entry.channel, 0, entry.upstream_model, entry.weight, Verdict.OUT, reason,
            problem if reason == "channel" else "",
        )  # fmt: skip
        return
    plan, limits = candidates.plan(ask), candidates.limits(ask)
    asked = Limits(
        0 if plan.unmet else limits.needs, 0 if plan.too_long else limits.tokens, limits.region, limits.dialect
    )
    canary = number == 0 and not candidates.takes_canary(ask, candidates.session(ask))
    for target in candidates.at(number, entry.channel, entry.upstream_model):
        verdict, why, detail, wait_ms = _judged(walk, model, target, taken, now)
        if verdict is Verdict.POSSIBLE and (lacking := asked.rule_out(target)):
            verdict, why = Verdict.OUT, lacking
        elif verdict is Verdict.POSSIBLE and canary:
            verdict, why = Verdict.OUT, "canary"
        yield Considered(
            model, number, target.channel, target.key_index, target.upstream_model, entry.weight, verdict, why, detail,
            wait_ms,
        )  # fmt: skip


def _judged(walk: Walk, model: str, target: Target, taken: Target | None, now: float) -> tuple[Verdict, str, str, int]:
    for step in walk.steps:
        if step.target.seat is target.seat:
            return Verdict.FAILED, kind_name(step.kind), "" if step.model == model else f"as {step.model}", 0
    if taken is not None and taken.seat is target.seat and walk.model == model:
        return Verdict.TAKEN, "", "", 0
    held = target.seat.hindrance(now)
    if held is not None:
        wait_ms = 0 if held.until == inf else ceil((held.until - now) * 1000)
        return Verdict.OUT, held.obstacle.value, held.detail, wait_ms
    return Verdict.POSSIBLE, "", "", 0
