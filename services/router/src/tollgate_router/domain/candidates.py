"""Everything that may serve one model for one route group, and the part of it that may serve one request."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_rating import BYTES_PER_TOKEN
from tollgate_resources import REGION_HEADER
from tollgate_router.domain.abilities import EVERYTHING, names_of, needs_of, tokens_of
from tollgate_router.domain.affinity import Affinity, hash_of, mix
from tollgate_router.domain.choice import Level
from tollgate_router.domain.target import Target

CANARY_PARTS: Final = 10_000
_REGION: Final = REGION_HEADER.encode()
# A region that no target has.
_NOWHERE: Final = "-"
_NO_HEADERS: Final[Mapping[bytes, bytes]] = {}


@dataclass(slots=True)
class Ask:
    """What a choice may look at of a request. Ids are empty where nobody in particular asks."""

    route_group: str
    model: str
    members: Mapping[str, msgspec.Raw]
    body_bytes: int = 0
    project_id: str = ""
    api_key_id: str = ""
    operation: int = wire.OPERATION_CHAT
    dialect: int = wire.DIALECT_OPENAI_CHAT
    headers: Mapping[bytes, bytes] = field(default_factory=lambda: _NO_HEADERS)
    """By lower-case name; edge passes on those that the configuration asks for."""

    @property
    def chat(self) -> bool:
        """Tells whether it is a chat, of which alone it matters what is in it."""
        return self.operation == wire.OPERATION_CHAT


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request asks for, as far as targets differ in it; 0 and empty where they do not."""

    needs: int = 0
    tokens: int = 0
    """The largest context that the prompt does not fit into."""
    region: str = ""
    dialect: int = 0
    operation: int = 0

    def rule_out(self, target: Target) -> str:
        """Returns why a target is not for this request, or nothing."""
        if self.operation and not target.serves(self.operation):
            return "operation"
        if self.dialect and self.dialect not in target.dialects:
            return "dialect"
        if self.region and target.region != self.region:
            return "region"
        if self.needs & ~target.can:
            return ", ".join(names_of(self.needs & ~target.can))
        if self.tokens and target.context_tokens and target.context_tokens <= self.tokens:
            return "context_length"
        return ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The levels for requests that ask for the same. `unmet` are abilities that no target is known to have.

    Such a request is sent all the same, since the catalogue may be behind: the provider has the last word. `too_long`:
    no target is known to have a context that is large enough.
    """

    levels: tuple[Level, ...]
    canary: Level | None = None
    unmet: int = 0
    too_long: bool = False


@dataclass(frozen=True, slots=True)
class Canary:
    """Targets that a share of callers gets first. `parts` of ten thousand; `salt` differs from model to model."""

    level: Level
    parts: int
    salt: int


class Candidates:
    """Made once per configuration version, route group and model. `simple` is what most are, and it costs least.

    `operation` is what all their providers serve, where others were left out for it; else 0. `empty`: nobody is left.
    """

    __slots__ = (
        "_contexts", "_plans", "_regions", "_served", "_serving", "_varying", "affinity", "base", "canary", "dialects",
        "empty", "fallbacks", "operation", "roomy_bytes", "simple", "strategy",
    )  # fmt: skip

    def __init__(
        self,
        levels: Iterable[Level],
        *,
        canary: Canary | None = None,
        affinity: Affinity | None = None,
        fallbacks: Mapping[str, tuple[str, ...]] | None = None,
        strategy: str = "weighted",
        operation: int = 0,
    ) -> None:
        self.operation = operation
        self.canary = canary if canary is not None and canary.level.targets else None
        self.affinity = affinity
        self.fallbacks = dict(fallbacks or {})
        self.strategy = strategy
        first = self.canary.level if self.canary is not None else None
        self.base = Plan(tuple(level for level in levels if level.targets), first)
        targets = self.targets()
        self.empty = not targets
        self._contexts = sorted({target.context_tokens for target in targets if target.context_tokens})
        # Bodies up to this size fit into every context.
        self.roomy_bytes = self._contexts[0] * BYTES_PER_TOKEN if self._contexts else 1 << 62
        every, some = EVERYTHING, 0
        for target in targets:
            every &= target.can
            some |= target.can
        # What some can and others cannot: only that has to be looked for in a request.
        self._varying = some & ~every
        self._regions = frozenset(target.region for target in targets if target.region)
        spoken = {target.dialects for target in targets}
        # Where there is but one, it is that of other routes, too.
        self.dialects = frozenset.intersection(*spoken) if len(spoken) > 1 else next(iter(spoken), frozenset[int]())
        known = {target.operations for target in targets if target.operations is not None}
        # What all of them serve; None where nothing is known of any.
        self._served = frozenset.intersection(*known) if len(known) > 1 else next(iter(known), None)
        self.simple = not (self._varying or self.canary or self.affinity or self._regions)
        self._plans: dict[tuple[int, int, str, int], Plan] = {}
        self._serving: dict[int, Candidates] = {}

    def serving(self, operation: int) -> "Candidates":
        """Returns the part of it whose providers serve an operation; without targets when none does.

        A legacy completion becomes a chat where no provider serves it.
        """
        if self._served is None or operation in self._served:
            return self
        found = self._serving.get(operation)
        if found is None:
            found = self._part(operation)
            if operation == wire.OPERATION_COMPLETION and found.empty:
                found = self.serving(wire.OPERATION_CHAT)
            self._serving[operation] = found
        return found

    def _part(self, operation: int) -> "Candidates":
        canary = self.canary
        if canary is not None:
            canary = replace(canary, level=_serving(canary.level, operation))
        return Candidates(
            [_serving(level, operation) for level in self.base.levels],
            canary=canary,
            affinity=self.affinity,
            fallbacks=self.fallbacks,
            strategy=self.strategy,
            operation=operation,
        )

    def targets(self) -> list[Target]:
        """Returns all targets, level by level, a canary's first."""
        return [target for level in self._all_levels() for target in level.targets]

    def _all_levels(self) -> tuple[Level, ...]:
        return self.base.levels if self.canary is None else (self.canary.level, *self.base.levels)

    def by_place(self) -> dict[tuple[int, str, str], list[Target]]:
        """Returns the targets by level, channel and upstream model: one for each credential of a declared target."""
        found: dict[tuple[int, str, str], list[Target]] = defaultdict(list)
        for level in self._all_levels():
            for target in level.targets:
                found[level.number, target.channel, target.upstream_model].append(target)
        return found

    def plan(self, ask: Ask) -> Plan:
        """Returns the levels that may serve a request; those who ask for the same share one plan."""
        limits = self.limits(ask)
        key = (limits.needs, limits.tokens, limits.region, limits.dialect)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._make(limits)
        return plan

    def limits(self, ask: Ask) -> Limits:
        """Returns what a request asks for that not every target is known to have."""
        needs = needs_of(ask.members, ask.dialect) & self._varying if ask.chat and self._varying else 0
        tokens = 0
        if ask.body_bytes > self.roomy_bytes:
            asked = tokens_of(ask.members, ask.body_bytes)
            tokens = max((context for context in self._contexts if context < asked), default=0)
        region = ""
        if self._regions and (found := ask.headers.get(_REGION)) is not None:
            region = found.decode("latin-1").strip().lower()
            # Callers' inventions cannot make the plans grow.
            region = region if region in self._regions else _NOWHERE
        return Limits(needs, tokens, region, 0 if ask.dialect in self.dialects else ask.dialect)

    def _make(self, limits: Limits) -> Plan:
        levels, canary = self._narrowed(limits)
        if levels:
            return Plan(levels, canary)
        if limits.tokens:
            shorter = self._make(replace(limits, tokens=0))
            return replace(shorter, too_long=True)
        if limits.needs:
            levels, canary = self._narrowed(replace(limits, needs=0))
        return Plan(levels, canary, unmet=limits.needs)

    def _narrowed(self, limits: Limits) -> tuple[tuple[Level, ...], Level | None]:
        levels = tuple(kept for level in self.base.levels if (kept := _narrow(level, limits)).targets)
        canary = _narrow(self.canary.level, limits) if self.canary else None
        return levels, canary if canary is not None and canary.targets else None

    def session(self, ask: Ask) -> int | None:
        """Returns the number that binds this request to others, or None when it carries nothing that does."""
        value = self.affinity.value(ask.members, ask.headers, chat=ask.chat) if self.affinity else None
        return None if value is None else hash_of(ask.project_id.encode(), value)

    def takes_canary(self, ask: Ask, session: int | None) -> bool:
        """Tells whether this caller is one of the canary's: always or never, for a session or else a key."""
        if self.canary is None:
            return False
        who = session if session is not None else hash_of(ask.api_key_id.encode())
        return mix(who ^ self.canary.salt) % CANARY_PARTS < self.canary.parts


def _serving(level: Level, operation: int) -> Level:
    kept = [target for target in level.targets if target.serves(operation)]
    return Level(kept, number=level.number, strategy=level.strategy)


def _narrow(level: Level, limits: Limits) -> Level:
    kept = [target for target in level.targets if not limits.rule_out(target)]
    return Level(kept, number=level.number, strategy=level.strategy)
