"""A configuration version: one self-contained document, canonical JSON, addressed by the digest of its bytes."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field, ValidationError

from tollgate_rating import PICO, ChannelCost, PriceTable, parse_decimal
from tollgate_resources.catalogue import (
    SIMULATOR,
    Auth,
    Catalogue,
    CatalogueModel,
    Operation,
    Platform,
    Provider,
    RerankShape,
    Wire,
)
from tollgate_resources.clouds import address_of, speaks_responses
from tollgate_resources.declared import Declared
from tollgate_resources.models import (
    ABILITIES,
    ALL_MODELS,
    DEFAULT_GROUP,
    Channel,
    ChannelModel,
    ChannelProxy,
    ChannelTls,
    Cloud,
    Credential,
    DecimalString,
    ExchangeRate,
    Flag,
    Limits,
    Name,
    PriceBook,
    Probe,
    Resource,
    Route,
    Url,
    Weight,
)
from tollgate_resources.quirks import Quirks

REGION_HEADER: Final = "x-tollgate-region"


class InvalidDocument(ValueError):  # noqa: N818
    """The bytes are no version document."""


class UnknownName(ValueError):  # noqa: N818
    """Something declared names a provider that is not known, or leaves out what the provider has no default for."""


class VersionChannel(Resource):
    """A channel with everything filled in: what the provider's data says, and each model by both its names."""

    name: Name
    provider: Name
    wire: Wire = "openai"
    platform: Platform = ""
    cloud: Cloud = Cloud()
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    base_url: Url
    auth: Auth = Auth()
    conforming: Flag = False
    responses: Flag = False
    """Who speaks the Responses API is passed on; false in versions of releases that did not say it."""
    operations: tuple[Operation, ...] = ()
    """What the provider serves; empty in versions of releases that did not say it."""
    rerank: RerankShape = ""
    quirks: Quirks | None = None
    credentials: tuple[Credential, ...] = ()
    models: tuple[ChannelModel, ...] = ()
    limits: Limits = Limits()
    private_network: Flag = False
    tls: ChannelTls | None = None
    proxy: ChannelProxy | None = None
    groups: tuple[Name, ...] = (DEFAULT_GROUP,)
    weight: Weight = 1
    enabled: Flag = True
    region: Name | None = None
    probe: Probe | None = None
    cost_multiply: DecimalString = "1"
    tags: dict[str, str] = Field(default={})

    def rated_cost(self) -> ChannelCost | None:
        """Returns what the account pays, as rating computes with it; None where it pays the list price."""
        own = {model.name: price for model in self.models if (price := model.rated_cost()) is not None}
        multiply = parse_decimal(self.cost_multiply)
        return ChannelCost(own, multiply) if own or multiply != PICO else None


class VersionDocument(Resource):
    """What router, billing and media-jobs work from. `models` holds every public name that a channel or route has."""

    channels: tuple[VersionChannel, ...] = ()
    routes: tuple[Route, ...] = ()
    price_books: tuple[PriceBook, ...] = ()
    exchange_rates: tuple[ExchangeRate, ...] = ()
    models: tuple[CatalogueModel, ...] = ()
    providers: tuple[Provider, ...] = ()

    def price_table(self) -> PriceTable:
        """Returns the prices in force by time: a book named `public` wins over the catalogue's."""
        return PriceTable(
            [book.rated() for book in self.price_books], rates=[rate.rated() for rate in self.exchange_rates]
        )

    def headers(self) -> tuple[str, ...]:
        """Returns the lower-case names of the headers of a request that routing looks at."""
        found = {header for route in self.routes if (header := route.affinity_header()) is not None}
        if any(channel.region is not None for channel in self.channels):
            found.add(REGION_HEADER)
        return tuple(sorted(found))

    def models_of(self, route_group: str) -> tuple[CatalogueModel, ...]:
        """Returns the models that a caller of this route group can reach, by name."""
        serving = {channel.name for channel in self.channels if route_group in channel.groups}
        names = {model.name for channel in self.channels if channel.name in serving for model in channel.models}
        for route in self.routes:
            targets = {target.channel for level in route.levels for target in level.targets}
            if targets & serving:
                names.add(route.model)
            else:
                names.discard(route.model)
        return tuple(model for model in self.models if model.name in names)


def compile_version(declared: Declared, catalogue: Catalogue) -> bytes:
    """Returns the document of what is declared: canonical JSON, the same bytes for the same meaning.

    Raises UnknownName; `load` finds the same and more, with file and line.
    """
    catalogue = catalogue.with_providers(declared.providers)
    channels = tuple(_fill_in(channel, catalogue) for channel in sorted(declared.channels, key=lambda item: item.name))
    names = {model.name for channel in channels for model in channel.models} | {r.model for r in declared.routes}
    used = {channel.provider for channel in channels}
    offering: dict[str, str] = {}
    for channel in channels:
        for model in channel.models:
            offering.setdefault(model.name, channel.provider)
    document = VersionDocument(
        channels=channels,
        routes=tuple(sorted(declared.routes, key=lambda route: route.model)),
        price_books=tuple(
            sorted((*declared.price_books, *catalogue.price_books), key=lambda book: (book.name, book.effective))
        ),
        exchange_rates=tuple(sorted(declared.exchange_rates, key=lambda rate: (rate.base, rate.quote, rate.effective))),
        models=tuple(_known_as(name, offering, catalogue) for name in sorted(names)),
        providers=tuple(catalogue.providers[name] for name in sorted(used)),
    )
    plain = document.model_dump(mode="json", exclude_none=True)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(document: bytes) -> str:
    """Returns "sha256:" and the lower-case hex digest of the bytes."""
    return "sha256:" + hashlib.sha256(document).hexdigest()


def parse_version(document: bytes) -> VersionDocument:
    """Returns the document. Fields that a later release added are left out. Raises InvalidDocument."""
    try:
        return VersionDocument.model_validate_json(document, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidDocument(f"{where}: {first['msg']}") from None


def _fill_in(channel: Channel, catalogue: Catalogue) -> VersionChannel:
    provider = catalogue.providers.get(channel.provider)
    if provider is None:
        raise UnknownName(f"channel {channel.name}: no provider is called {channel.provider}")
    base_url = address_of(channel, provider)
    if base_url is None:
        raise UnknownName(f"channel {channel.name}: provider {channel.provider} has no base_url of its own")
    models: dict[str, ChannelModel] = {}
    for model in channel.models:
        for one in catalogue.models_of(channel.provider) if model.name == ALL_MODELS else (model,):
            models[one.name] = _model(one, channel, catalogue)
    return VersionChannel(
        name=channel.name,
        provider=channel.provider,
        wire=provider.wire,
        platform=provider.platform,
        cloud=channel.cloud or Cloud(),
        max_tokens_name=provider.max_tokens_name,
        base_url=base_url,
        auth=provider.auth,
        conforming=provider.conforming,
        responses=speaks_responses(channel, provider),
        operations=provider.operations,
        rerank=provider.rerank,
        quirks=catalogue.quirks_of(provider),
        credentials=channel.credentials,
        models=tuple(models[name] for name in sorted(models)),
        limits=channel.limits,
        private_network=channel.private_network,
        tls=channel.tls,
        proxy=channel.proxy,
        groups=channel.groups,
        weight=channel.weight,
        enabled=channel.enabled,
        region=channel.region,
        probe=channel.probe,
        cost_multiply=channel.cost_multiply,
        tags=channel.tags,
    )


def _model(model: ChannelModel, channel: Channel, catalogue: Catalogue) -> ChannelModel:
    """Returns the model with the provider's name, and what the catalogue knows of it under that name.

    What it knows under the public name is in the document's `models`.
    """
    upstream = model.upstream or _upstream(model, channel, catalogue)
    update: dict[str, object] = {"upstream": upstream}
    known = catalogue.by_upstream.get((channel.provider, upstream)) if model.name not in catalogue.models else None
    if known is not None:
        if model.abilities is None:
            update["abilities"] = tuple(name for name in known.abilities if name in ABILITIES)
        if model.context_tokens is None:
            update["context_tokens"] = known.context_tokens
    return model.model_copy(update=update)


def _upstream(model: ChannelModel, channel: Channel, catalogue: Catalogue) -> str:
    known = catalogue.models.get(model.name)
    if known is not None and known.upstream is not None and known.provider == channel.provider != SIMULATOR:
        return known.upstream
    return model.name


def _known_as(name: str, offering: Mapping[str, str], catalogue: Catalogue) -> CatalogueModel:
    known = catalogue.models.get(name)
    return known or CatalogueModel(name=name, provider=offering.get(name, "unknown"), kind="")
