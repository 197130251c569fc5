"""A configuration version made ready to route by: immutable, swapped by one assignment, one look-up per request."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import lcm
from typing import Final, Protocol

from tollgate_rating import PriceTable
from tollgate_resources import Credential, VersionChannel, VersionDocument
from tollgate_resources import Target as DeclaredTarget
from tollgate_router.domain.choice import Candidates, Level
from tollgate_router.domain.origins import origin_of
from tollgate_router.domain.secret import Secret
from tollgate_router.domain.target import Origin, Target

__all__ = ["Candidates", "ChannelState", "CredentialMissing", "Credentials", "Snapshot", "Target", "compile_snapshot"]

_FIXED_HEADERS: Final = b"content-type: application/json\r\naccept-encoding: identity\r\nuser-agent: tollgate\r\n"


class CredentialMissing(Exception):  # noqa: N818
    """The place that a credential names holds no usable secret; the message says which place."""


class Credentials(Protocol):
    def resolve(self, credential: Credential) -> Secret:
        """Returns the secret. Raises CredentialMissing."""
        ...


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

    def route(self, route_group: str, model: str) -> Candidates | None:
        """Returns what may serve `model` for callers of `route_group`; None when nothing can."""
        return self.candidates.get((route_group, model))

    def origins(self) -> set[Origin]:
        """Returns every origin that a request may go to."""
        return {
            target.origin for found in self.candidates.values() for level in found.levels for target in level.targets
        }


@dataclass(frozen=True, slots=True)
class _Ready:
    """A channel that can be sent to."""

    channel: VersionChannel
    origin: Origin
    base_path: str
    header_blocks: tuple[bytes, ...]

    def targets(self, upstream_model: str, weight: int) -> tuple[Target, ...]:
        """Returns one target per credential; together they weigh `weight` times the number of credentials."""
        channel = self.channel
        return tuple(
            Target(
                channel=channel.name,
                key_index=index,
                provider=channel.provider,
                origin=self.origin,
                base_path=self.base_path,
                upstream_model=upstream_model,
                conforming=channel.conforming,
                weight=weight,
                header_block=block,
            )
            for index, block in enumerate(self.header_blocks)
        )


def compile_snapshot(document: VersionDocument, digest: str, credentials: Credentials) -> Snapshot:
    """Returns the snapshot of a version. A channel that cannot be used is left out of routing and says why."""
    keyless = {provider.name for provider in document.providers if not provider.credentials_required}
    ready: dict[str, _Ready] = {}
    states = []
    for channel in document.channels:
        problem = ""
        try:
            ready[channel.name] = _prepare(channel, credentials, needs_key=channel.provider not in keyless)
        except (CredentialMissing, ValueError) as error:
            problem = str(error)
        keys = len(ready[channel.name].header_blocks) if not problem else 0
        states.append(ChannelState(channel.name, channel.provider, channel.groups, len(channel.models), keys, problem))
    return Snapshot(digest, tuple(states), document.price_table(), _candidates(document, ready))


def _prepare(channel: VersionChannel, credentials: Credentials, *, needs_key: bool) -> _Ready:
    origin, base_path = origin_of(channel, credentials.resolve)
    blocks = []
    missing = []
    for credential in channel.credentials:
        try:
            secret = credentials.resolve(credential)
        except CredentialMissing as error:
            missing.append(str(error))
        else:
            line = f"{channel.auth.header}: {channel.auth.prefix}{secret.reveal()}\r\n"
            blocks.append(line.encode() + _FIXED_HEADERS)
    if not blocks and (missing or needs_key):
        raise CredentialMissing("; ".join(missing) or "the channel names no credential and its provider needs one")
    return _Ready(channel, origin, base_path, tuple(blocks) or (_FIXED_HEADERS,))


def _candidates(document: VersionDocument, ready: Mapping[str, _Ready]) -> dict[tuple[str, str], Candidates]:
    by_model: dict[str, list[tuple[_Ready, DeclaredTarget]]] = defaultdict(list)
    for one in ready.values():
        for model in one.channel.models:
            target = DeclaredTarget(
                channel=one.channel.name, upstream=model.upstream or model.name, weight=one.channel.weight
            )
            by_model[model.name].append((one, target))
    levels_of: dict[str, list[list[tuple[_Ready, DeclaredTarget]]]] = {
        model: [targets] for model, targets in by_model.items()
    }
    for route in document.routes:
        levels_of[route.model] = [
            [(ready[target.channel], target) for target in level.targets if target.channel in ready]
            for level in route.levels
        ]
    found = {}
    for name, levels in levels_of.items():
        groups = {group for level in levels for one, _ in level for group in one.channel.groups}
        for group in groups:
            made = tuple(level for each in levels if (level := _level(name, group, each)).targets)
            if made:
                found[group, name] = Candidates(made)
    return found


def _level(model: str, group: str, pairs: Iterable[tuple[_Ready, DeclaredTarget]]) -> Level:
    served = [(one, target) for one, target in pairs if group in one.channel.groups]
    # A channel's weight is shared by its credentials; the common multiple keeps the shares whole numbers.
    unit = lcm(*(len(one.header_blocks) for one, _ in served))
    targets: list[Target] = []
    for one, target in served:
        upstream = target.upstream or _upstream_name(one.channel, model)
        targets += one.targets(upstream, target.weight * unit // len(one.header_blocks))
    return Level(tuple(targets))


def _upstream_name(channel: VersionChannel, model: str) -> str:
    for offered in channel.models:
        if offered.name == model:
            return offered.upstream or model
    return model
