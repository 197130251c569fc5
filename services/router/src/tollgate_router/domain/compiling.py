"""From declared routes to candidate lists, one per route group and model."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from math import lcm

import msgspec

from tollgate_resources import CatalogueModel, Route, VersionDocument
from tollgate_resources import Target as DeclaredTarget
from tollgate_router.domain.affinity import hash_of, parse_affinity
from tollgate_router.domain.candidates import CANARY_PARTS, Canary, Candidates
from tollgate_router.domain.channels import Costs, Ready, skill_of
from tollgate_router.domain.choice import Level
from tollgate_router.domain.target import Target

_REASONS = ("error", "rate_limit", "context_length", "content_policy", "budget")


class Entry(msgspec.Struct, frozen=True):
    """One target of a level as it was declared. `upstream_model` is empty where the channel cannot be asked for it."""

    channel: str
    upstream_model: str
    weight: int


class Declaration(msgspec.Struct, frozen=True):
    """How a model is served as far as is declared, for every route group; levels in order.

    `route` is None for a model that every channel serves which offers it.
    """

    levels: tuple[tuple[Entry, ...], ...]
    canary: tuple[Entry, ...] = ()
    route: Route | None = None


def declarations(document: VersionDocument, ready: Mapping[str, Ready]) -> dict[str, Declaration]:
    """Returns how each model is served: as its route says, else by all that offer it, by weight."""
    offering: dict[str, list[Entry]] = defaultdict(list)
    routed = {route.model for route in document.routes}
    for channel in document.channels:
        for model in channel.models:
            if model.name not in routed:
                offering[model.name].append(Entry(channel.name, model.upstream or model.name, channel.weight))
    found = {model: Declaration((tuple(entries),)) for model, entries in offering.items()}
    for route in document.routes:
        found[route.model] = Declaration(
            tuple(_entries(level.targets, route.model, ready) for level in route.levels),
            _entries(route.canary.targets, route.model, ready) if route.canary is not None else (),
            route,
        )
    return found


def _entries(targets: Iterable[DeclaredTarget], model: str, ready: Mapping[str, Ready]) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            target.channel,
            target.upstream or (ready[target.channel].upstream_of(model) if target.channel in ready else model),
            target.weight,
        )
        for target in targets
    )


def left_out(entry: Entry, group: str, route: Route | None, ready: Mapping[str, Ready]) -> str:
    """Returns why a declared target is not among the candidates of a route group, or nothing."""
    found = ready.get(entry.channel)
    if found is None:
        return "channel"
    if group not in found.channel.groups:
        return "route_group"
    if route is not None and route.regions and found.channel.region not in route.regions:
        return "region"
    return "" if entry.weight else "weight"


class CandidateLists(dict[tuple[str, str], Candidates | None]):
    """The candidates of each (route group, model), made when they are first asked for, or before by `make_some`.

    A version with thousands of routes would hold up requests for seconds if all were made before it is in force.
    None where nothing serves a model for a group.
    """

    def __init__(
        self,
        declared: Mapping[str, Declaration],
        ready: Mapping[str, Ready],
        models: Mapping[str, CatalogueModel],
        costs: Costs,
    ) -> None:
        super().__init__()
        self._declared = declared
        self._ready = ready
        self._compiler = Compiler(ready, models, costs)
        self._groups = frozenset(group for one in ready.values() for group in one.channel.groups)
        self._left = iter(declared)

    def __missing__(self, key: tuple[str, str]) -> Candidates | None:
        group, model = key
        declared = self._declared.get(model)
        # Names that callers invent are not kept.
        if declared is None or group not in self._groups:
            return None
        made = self._compiler.of_group(model, group, declared)
        found = self[key] = made if made.base.levels else None
        return found

    def make_some(self, enough: Callable[[], bool]) -> bool:
        """Makes lists that nobody asked for yet until `enough` says so; returns whether there are more to make."""
        for model in self._left:
            for group in self._groups_of(model):
                self[group, model]
            if enough():
                return True
        return False

    def _groups_of(self, model: str) -> set[str]:
        declared = self._declared[model]
        return {
            group
            for level in declared.levels
            for entry in level
            if entry.channel in self._ready
            for group in self._ready[entry.channel].channel.groups
        }


class Compiler:
    """Makes candidate lists of one configuration version."""

    def __init__(self, ready: Mapping[str, Ready], models: Mapping[str, CatalogueModel], costs: Costs) -> None:
        self._ready = ready
        self._models = models
        self._costs = costs

    def of_group(self, model: str, group: str, declared: Declaration) -> Candidates:
        """Returns what may serve a model for a route group; without levels when nothing does."""
        route = declared.route
        if route is None:
            return Candidates([self._level(model, group, declared.levels[0])])
        levels: list[Level] = []
        for number, entries in enumerate(declared.levels, 1):
            level = self._level(model, group, entries, route, number)
            levels += self._by_cost(model, level) if route.strategy == "cheapest" else [level]
        canary = None
        if route.canary is not None:
            parts = round(route.canary.percent * CANARY_PARTS / 100)
            canary = Canary(self._level(model, group, declared.canary, route, 0), parts, hash_of(model.encode()))
        return Candidates(
            levels,
            canary=canary,
            affinity=parse_affinity(route.affinity),
            fallbacks={reason: names for reason in _REASONS if (names := getattr(route.fallbacks, reason))},
            strategy=route.strategy,
        )

    def _level(
        self, model: str, group: str, entries: Sequence[Entry], route: Route | None = None, number: int = 1
    ) -> Level:
        served = [
            (self._ready[entry.channel], entry)
            for entry in entries
            if entry.channel in self._ready and not left_out(entry, group, route, self._ready)
        ]
        # A channel's weight is shared by its credentials; the common multiple keeps the shares whole numbers.
        unit = lcm(*{len(ready.keys) for ready, _ in served})
        known = self._models.get(model)
        targets: list[Target] = []
        for ready, entry in served:
            can, context_tokens = skill_of(ready.offered.get(model), known)
            weight = entry.weight * unit // len(ready.keys)
            longest = (known.max_output_tokens if known is not None else None) or 0
            targets += ready.targets(entry.upstream_model, weight, can, context_tokens, longest)
        return Level(targets, number=number, strategy=route.strategy if route is not None else "weighted")

    def _by_cost(self, model: str, level: Level) -> list[Level]:
        """Returns the level as several, the cheapest first; equal costs share one."""
        priced = [
            (self._costs.of(self._ready[target.channel], model, target.upstream_model), target)
            for target in level.targets
        ]
        priced.sort(key=lambda pair: pair[0])
        return [
            Level([target for _, target in same], number=level.number, strategy=level.strategy)
            for _, same in groupby(priced, key=lambda pair: pair[0])
        ]
