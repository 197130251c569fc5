"""Every target that is declared for a model, in or out: what explanations are written from.

Made once per configuration version, route group and model, when somebody asks: an outage explains many requests.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tollgate_router.domain.candidates import Candidates
from tollgate_router.domain.channels import Ready
from tollgate_router.domain.compiling import Declaration, Entry, left_out
from tollgate_router.domain.health.seat import Seat
from tollgate_router.domain.target import Target


@dataclass(frozen=True, slots=True)
class Place:
    """What of a target is the same for every request. `number` counts those of the model, `level` as a route does."""

    number: int
    model: str
    level: int
    entry: Entry
    target: Target | None = None
    """None where nothing of what is declared can be sent to, for `reason`."""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """All of one model for one route group, and those that stand for a seat."""

    all: Sequence[Place] = ()
    of_seat: Mapping[Seat, Sequence[Place]] = field(default_factory=dict)


def list_places(
    model: str,
    group: str,
    declared: Declaration,
    candidates: Candidates | None,
    ready: Mapping[str, Ready],
    problems: Mapping[str, str],
) -> Places:
    """Returns every place of a model. `problems` says of channels that are not `ready` why."""
    targets = candidates.by_place() if candidates is not None else {}
    found: list[Place] = []
    of_seat: dict[Seat, list[Place]] = defaultdict(list)
    for level, entries in ((0, declared.canary), *enumerate(declared.levels, 1)):
        for entry in entries:
            reason = left_out(entry, group, declared.route, ready)
            if reason or candidates is None:
                detail = problems.get(entry.channel, "there is none") if reason == "channel" else ""
                found.append(Place(len(found), model, level, entry, reason=reason, detail=detail))
                continue
            for target in targets.get((level, entry.channel, entry.upstream_model), ()):
                found.append(Place(len(found), model, level, entry, target))
                of_seat[target.seat].append(found[-1])
    return Places(found, dict(of_seat))
