"""Which channel a job goes to: levels in order, by weight within a level, never one that refused it before."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tollgate_rating import ChannelCost, PriceBook, PriceTable


@dataclass(frozen=True, slots=True)
class CredentialRef:
    """Where a secret is read from: `source` is env or file."""

    source: str
    name: str


@dataclass(frozen=True, slots=True)
class Channel:
    """An account at a provider, as far as a call needs it."""

    name: str
    provider: str
    base_url: str
    """Up to the path of an operation."""
    query: str = ""
    """What stands behind that path."""
    auth_header: str = "authorization"
    auth_prefix: str = "Bearer "
    credentials: tuple[CredentialRef, ...] = ()
    private_network: bool = False
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A channel, and what it calls the model."""

    channel: Channel
    upstream_model: str
    weight: int = 1


Levels = Sequence[Sequence[Target]]


@dataclass(frozen=True, slots=True)
class Version:
    """A configuration version: targets by (route group, model), kinds of models, prices and their books by digest.

    `costs` are what channels' accounts pay, by name, of those that do not pay the list price.
    """

    digest: str
    price_table: PriceTable
    kinds: Mapping[str, str] = field(default_factory=dict)
    books: Mapping[str, PriceBook] = field(default_factory=dict)
    routes: Mapping[tuple[str, str], Levels] = field(default_factory=dict)
    costs: Mapping[str, ChannelCost] = field(default_factory=dict)

    def levels(self, route_group: str, model: str) -> Levels:
        """Returns who serves the model to this route group; empty: nobody."""
        return self.routes.get((route_group, model), ())


def choose(levels: Levels, tried: Collection[str], busy: Collection[str], source: random.Random) -> Target | None:
    """Returns a target of the first level that has one left, by weight; None when all refused or are busy.

    A weight of 0 is only taken where its level has no other.
    """
    for level in levels:
        left = [target for target in level if target.channel.name not in tried and target.channel.name not in busy]
        if left:
            weights = [target.weight for target in left]
            return source.choices(left, weights if any(weights) else None)[0]
    return None
