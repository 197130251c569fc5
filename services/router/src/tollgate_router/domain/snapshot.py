"""A configuration version made ready to route by: immutable, swapped by one assignment, one look-up per request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_rating import PriceTable
from tollgate_resources import VersionDocument
from tollgate_resources.ports import Ports
from tollgate_router.domain.candidates import Candidates
from tollgate_router.domain.channels import Costs, Credentials, Ready, prepare
from tollgate_router.domain.compiling import CandidateLists, Declaration, declarations
from tollgate_router.domain.health.channel import ChannelHealth
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.listing import Places, list_places
from tollgate_router.domain.target import Origin, Target
from tollgate_router.domain.tokens import Tokens
from tollgate_router.errors import CredentialMissing

__all__ = ["Candidates", "ChannelState", "CredentialMissing", "Credentials", "Snapshot", "Target", "compile_snapshot"]


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What operators see of a channel."""

    name: str
    provider: str
    groups: tuple[str, ...]
    model_count: int
    key_count: int
    problem: str
    """Why nothing can be sent there; empty when it is usable."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    digest: str
    channels: tuple[ChannelState, ...]
    price_table: PriceTable
    candidates: Mapping[tuple[str, str], Candidates | None]
    declared: Mapping[str, Declaration] = field(default_factory=dict)
    """How each model is served, before anything was left out: for explanations."""
    ready: Mapping[str, Ready] = field(default_factory=dict, repr=False)
    """The channels that can be sent to, by name."""
    _listed: dict[tuple[str, str], Places] = field(default_factory=dict, repr=False)

    def route(self, route_group: str, model: str) -> Candidates | None:
        """Returns what may serve `model` for callers of `route_group`; None when nothing can."""
        return self.candidates[route_group, model]

    def places(self, route_group: str, model: str) -> Places:
        """Returns every target that is declared for `model`, with why callers of `route_group` are not sent there."""
        found = self._listed.get((route_group, model))
        if found is not None:
            return found
        declared = self.declared.get(model)
        # Names that callers invent are not kept.
        if declared is None:
            return Places()
        problems = {state.name: state.problem for state in self.channels}
        candidates = self.route(route_group, model)
        found = list_places(model, route_group, declared, candidates, self.ready, problems)
        self._listed[route_group, model] = found
        return found

    def serving(self, route_group: str, model: str, operation: int) -> Candidates | None:
        """Returns what `route` does, of it those whose providers serve the operation."""
        found = self.route(route_group, model)
        return None if found is None else found.serving(operation)

    def unserved(self, route_group: str, model: str) -> tuple[int, str]:
        """Returns kind and words of the error of a request that `route` finds nothing for."""
        broken = {state.name for state in self.channels if state.problem and route_group in state.groups}
        declared = self.declared.get(model)
        if declared is not None and any(entry.channel in broken for level in declared.levels for entry in level):
            return errors.ERROR_KIND_UNAVAILABLE, f"No channel of the model '{model}' can be used now."
        return errors.ERROR_KIND_MODEL_NOT_FOUND, f"No channel serves the model '{model}'."

    def make_some(self, enough: Callable[[], bool]) -> bool:
        """Makes candidate lists before they are asked for, until `enough`; returns whether there are more to make."""
        lists = self.candidates
        return isinstance(lists, CandidateLists) and lists.make_some(enough)

    def origins(self) -> set[Origin]:
        """Returns every origin that a request may go to."""
        return {channel.origin for channel in self.ready.values()}


def compile_snapshot(
    document: VersionDocument,
    digest: str,
    credentials: Credentials,
    health: Health | None = None,
    at_us: int = 0,
    tokens: Tokens | None = None,
    ports: Ports | None = None,
) -> Snapshot:
    """Returns the snapshot of a version. A channel that cannot be used is left out of routing and says why.

    `health` is what is known of the channels, kept across versions; `at_us` (microseconds since the epoch) says which
    prices decide what is cheapest; `tokens` are those of service accounts, `ports` those that the egress guard
    allows.
    """
    health = health or Health()
    keyless = {provider.name for provider in document.providers if not provider.credentials_required}
    ready: dict[str, Ready] = {}
    # Channels that lead to one place share what is kept of it.
    origins: dict[Origin, Origin] = {}
    states = []
    for channel in document.channels:
        problem = "" if channel.enabled else "it is disabled in the configuration"
        if channel.enabled:
            try:
                needs_key = channel.provider not in keyless
                found = prepare(channel, credentials, health, needs_key=needs_key, tokens=tokens, ports=ports)
                ready[channel.name] = replace(found, origin=origins.setdefault(found.origin, found.origin))
            except (CredentialMissing, ValueError) as error:
                problem = str(error)
        keys = len(ready[channel.name].keys) if not problem else 0
        states.append(ChannelState(channel.name, channel.provider, channel.groups, len(channel.models), keys, problem))
    table = document.price_table()
    models = {model.name: model for model in document.models}
    declared = declarations(document, ready)
    health.retain(_in_use(declared, ready))
    lists = CandidateLists(declared, ready, models, Costs(table, models, at_us))
    return Snapshot(digest, tuple(states), table, lists, declared, ready)


def _in_use(declared: Mapping[str, Declaration], ready: Mapping[str, Ready]) -> dict[ChannelHealth, set[str]]:
    """Returns the upstream models of every channel that can be sent to."""
    used: dict[str, set[str]] = {name: set() for name in ready}
    for declaration in declared.values():
        for level in (*declaration.levels, declaration.canary):
            for entry in level:
                if entry.channel in used:
                    used[entry.channel].add(entry.upstream_model)
    return {ready[name].health: models for name, models in used.items()}
