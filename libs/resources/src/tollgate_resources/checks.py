"""What must hold between declared resources: names that are there once, references that lead somewhere."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tollgate_rating import InvalidPrice
from tollgate_resources.catalogue import Catalogue, Provider
from tollgate_resources.clouds import address_of, cloud_problems
from tollgate_resources.models import ALL_MODELS, CATALOGUE_BOOK, Channel, ExchangeRate, PriceBook, Route, Target
from tollgate_resources.problems import Problem
from tollgate_resources.yaml_source import Path, Source

_MAX_LISTED: Final = 30


@dataclass(slots=True)
class Declaration:
    """The valid entries of one file, each with its path in it."""

    source: Source
    channels: list[tuple[Path, Channel]] = field(default_factory=list)
    routes: list[tuple[Path, Route]] = field(default_factory=list)
    price_books: list[tuple[Path, PriceBook]] = field(default_factory=list)
    exchange_rates: list[tuple[Path, ExchangeRate]] = field(default_factory=list)
    broken: list[tuple[Path, dict[str, Any]]] = field(default_factory=list)
    """Entries whose shape is wrong, as they were found."""

    def add(self, path: Path, item: Any) -> None:
        """Files an entry under its kind."""
        kind: list[tuple[Path, Any]] = getattr(self, str(path[0]))
        kind.append((path, item))


def check(parts: Sequence[Declaration], catalogue: Catalogue) -> list[Problem]:
    """Returns every problem between the entries of all files."""
    return [
        *_channels(parts, catalogue),
        *_routes(parts, catalogue),
        *_price_books(parts),
        *_exchange_rates(parts),
    ]


def _at(source: Source, path: Path, found: str, allowed: str) -> Problem:
    holder = Source(source.file, lines=source.lines)
    holder.add(path, found, allowed)
    return holder.problems[0]


def _once(entries: Iterable[tuple[Source, Path, object, str]]) -> Iterator[Problem]:
    """Yields a problem for each entry whose key came before."""
    seen: dict[object, tuple[str, int]] = {}
    for source, path, key, what in entries:
        if key in seen:
            file, line = seen[key]
            yield _at(source, path, f"{what} again (first in {file}:{line})", "each once")
        else:
            seen[key] = source.file, source.line_of(path)


def _channels(parts: Sequence[Declaration], catalogue: Catalogue) -> Iterator[Problem]:
    yield from _once(
        (part.source, (*path, "name"), channel.name, repr(channel.name))
        for part in parts
        for path, channel in part.channels
    )
    for part in parts:
        for path, channel in part.channels:
            yield from _channel(part.source, path, channel, catalogue)
        for path, entry in part.broken:
            provider = entry.get("provider")
            if path[0] == "channels" and isinstance(provider, str) and provider not in catalogue.providers:
                yield _at(part.source, (*path, "provider"), repr(provider), _listed(catalogue.providers))


def _channel(source: Source, path: Path, channel: Channel, catalogue: Catalogue) -> Iterator[Problem]:
    provider = catalogue.providers.get(channel.provider)
    if provider is None:
        yield _at(source, (*path, "provider"), repr(channel.provider), _listed(catalogue.providers))
        return
    yield from _reached(source, path, channel, provider)
    if provider.credentials_required and not channel.credentials:
        yield _at(source, (*path, "credentials"), "nothing", f"a credential; provider {provider.name} asks for one")
    seen: set[str] = set()
    for index, model in enumerate(channel.models):
        if model.name in seen:
            yield _at(source, (*path, "models", index), f"{model.name!r} again", "each model once")
        seen.add(model.name)
        if model.name == ALL_MODELS and model.upstream is not None:
            yield _at(source, (*path, "models", index), f"{ALL_MODELS!r} with upstream", "a model's name")
    if channel.probe is not None and channel.probe.model is not None:
        offers = _offers(channel, catalogue)
        if channel.probe.model not in offers:
            here = (*path, "probe", "model")
            yield _at(source, here, repr(channel.probe.model), f"a model that the channel offers: {_listed(offers)}")
    if ALL_MODELS in seen and not catalogue.models_of(channel.provider):
        yield _at(
            source,
            (*path, "models"),
            repr(ALL_MODELS),
            f"a list of models; the catalogue knows none of provider {provider.name}",
        )


def _reached(source: Source, path: Path, channel: Channel, provider: Provider) -> Iterator[Problem]:
    """Yields what is wrong with the way to the channel's address."""
    wrong = list(cloud_problems(channel, provider))
    for name, found, allowed in wrong:
        yield _at(source, (*path, *name), found, allowed)
    address = address_of(channel, provider)
    if wrong:
        return
    if address is None:
        yield _at(source, (*path, "base_url"), "nothing", f"an address; provider {provider.name} has none of its own")
    elif channel.tls is not None and not address.startswith("https://"):
        yield _at(source, (*path, "tls"), "tls", "no tls, or an https:// address in `base_url`")


def _routes(parts: Sequence[Declaration], catalogue: Catalogue) -> Iterator[Problem]:
    yield from _once(
        (part.source, (*path, "model"), route.model, repr(route.model)) for part in parts for path, route in part.routes
    )
    channels = {channel.name: channel for part in parts for _, channel in part.channels}
    offered = {name: _offers(channel, catalogue) for name, channel in channels.items()}
    models = {route.model for part in parts for _, route in part.routes}.union(*offered.values())
    broken = {str(entry.get("name")) for part in parts for path, entry in part.broken if path[0] == "channels"}
    for part in parts:
        for path, route in part.routes:
            yield from _targets(part.source, path, route, offered, broken)
            # What a broken channel would have offered is not known, nor what a broken route would have served.
            if any(one.broken for one in parts):
                continue
            yield from _regions(part.source, path, route, channels)
            for reason, names in route.fallbacks:
                for index, name in enumerate(names):
                    here = (*path, "fallbacks", reason, index)
                    if name == route.model:
                        yield _at(part.source, here, repr(name), "another model than the route's own")
                    elif name not in models:
                        yield _at(part.source, here, repr(name), f"a model that is served: {_listed(models)}")


def _targets(
    source: Source, path: Path, route: Route, offered: dict[str, set[str]], broken: set[str]
) -> Iterator[Problem]:
    lists: list[tuple[Path, Sequence[Target]]] = [
        ((*path, "levels", number), level.targets) for number, level in enumerate(route.levels)
    ]
    if route.canary is not None:
        lists.append(((*path, "canary"), route.canary.targets))
    for at, targets in lists:
        for index, target in enumerate(targets):
            here = (*at, "targets", index)
            if target.channel in broken:
                continue
            if target.channel not in offered:
                yield _at(source, (*here, "channel"), repr(target.channel), f"a channel: {_listed(offered)}")
            elif target.upstream is None and route.model not in offered[target.channel]:
                yield _at(
                    source,
                    here,
                    f"channel {target.channel!r}, which does not offer {route.model!r}",
                    "a channel that offers the model, or `upstream` with the provider's name for it",
                )
        if not any(target.weight for target in targets):
            yield _at(source, at, "targets of weight 0 only", "a weight above 0")


def _regions(source: Source, path: Path, route: Route, channels: dict[str, Channel]) -> Iterator[Problem]:
    if not route.regions:
        return
    known = {channel.region for channel in channels.values() if channel.region is not None}
    for index, region in enumerate(route.regions):
        if region not in known:
            yield _at(source, (*path, "regions", index), repr(region), f"a channel's region: {_listed(known)}")
    served = {
        channels[target.channel].region
        for level in route.levels
        for target in level.targets
        if target.channel in channels
    }
    if known.issuperset(route.regions) and not served.intersection(route.regions):
        yield _at(source, (*path, "regions"), "regions that no target is in", f"one of {_listed(filter(None, served))}")


def _offers(channel: Channel, catalogue: Catalogue) -> set[str]:
    names = {model.name for model in channel.models}
    if ALL_MODELS in names:
        names.remove(ALL_MODELS)
        names.update(model.name for model in catalogue.models_of(channel.provider))
    return names


def _price_books(parts: Sequence[Declaration]) -> Iterator[Problem]:
    yield from _once(
        (part.source, (*path, "effective"), (book.name, book.effective), f"book {book.name!r} of this time")
        for part in parts
        for path, book in part.price_books
    )
    for part in parts:
        for path, book in part.price_books:
            if book.name == CATALOGUE_BOOK:
                yield _at(part.source, (*path, "name"), repr(book.name), "another name; this one is the product's own")
            for group, prices in book.groups.items():
                for model in prices.models.keys() - book.models.keys():
                    here = (*path, "groups", group, "models", model)
                    yield _at(part.source, here, repr(model), f"a model of the book: {_listed(book.models)}")
            for model in book.tiers.keys() - book.models.keys():
                here = (*path, "tiers", model)
                yield _at(part.source, here, repr(model), f"a model of the book: {_listed(book.models)}")
            if book.tiers.keys() - book.models.keys():
                continue
            try:
                book.rated()
            except InvalidPrice as error:
                yield _at(part.source, path, str(error), "prices that can be computed with")


def _exchange_rates(parts: Sequence[Declaration]) -> Iterator[Problem]:
    yield from _once(
        (
            part.source,
            (*path, "effective"),
            (rate.base, rate.quote, rate.effective),
            f"a rate from {rate.base} to {rate.quote} of this time",
        )
        for part in parts
        for path, rate in part.exchange_rates
    )


def _listed(names: Iterable[str]) -> str:
    known = sorted(names)
    more = f" and {len(known) - _MAX_LISTED} more" if len(known) > _MAX_LISTED else ""
    return (", ".join(known[:_MAX_LISTED]) or "none is declared") + more
