"""A configuration version made ready to route by: immutable, swapped by one assignment, one look-up per request."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tollgate_rating import PriceTable
from tollgate_resources import VersionDocument
from tollgate_router.domain.candidates import Candidates
from tollgate_router.domain.channels import Costs, CredentialMissing, Credentials, Ready, prepare
from tollgate_router.domain.compiling import Compiler, Declaration, declarations
from tollgate_router.domain.health.registry import Health
from tollgate_router.domain.target import Target

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
    candidates: Mapping[tuple[str, str], Candidates]
    declared: Mapping[str, Declaration] = field(default_factory=dict)
    """How each model is served, before anything was left out: for explanations."""
    ready: Mapping[str, Ready] = field(default_factory=dict, repr=False)
    """The channels that can be sent to, by name."""

    def route(self, route_group: str, model: str) -> Candidates | None:
        """Returns what may serve `model` for callers of `route_group`; None when nothing can."""
        return self.candidates.get((route_group, model))


def compile_snapshot(
    document: VersionDocument, digest: str, credentials: Credentials, health: Health | None = None, at_us: int = 0
) -> Snapshot:
    """Returns the snapshot of a version. A channel that cannot be used is left out of routing and says why.

    `health` is what is known of the channels, kept across versions; `at_us` (microseconds since the epoch) says which
    prices decide what is cheapest.
    """
    health = health or Health()
    keyless = {provider.name for provider in document.providers if not provider.credentials_required}
    ready: dict[str, Ready] = {}
    states = []
    for channel in document.channels:
        problem = "" if channel.enabled else "it is disabled in the configuration"
        if channel.enabled:
            try:
                ready[channel.name] = prepare(channel, credentials, health, needs_key=channel.provider not in keyless)
            except (CredentialMissing, ValueError) as error:
                problem = str(error)
        keys = len(ready[channel.name].keys) if not problem else 0
        states.append(ChannelState(channel.name, channel.provider, channel.groups, len(channel.models), keys, problem))
    table = document.price_table()
    models = {model.name: model for model in document.models}
    declared = declarations(document, ready)
    compiler = Compiler(ready, models, Costs(table, models, at_us))
    candidates = {
        (group, model): found
        for model, declaration in declared.items()
        for group, found in compiler.candidates(model, declaration).items()
    }
    health.retain(target.seat for found in candidates.values() for target in found.targets())
    return Snapshot(digest, tuple(states), table, candidates, declared, ready)
