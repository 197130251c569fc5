"""What ships with the product as data: providers, the models they are known for, and the prices they publish."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Annotated, Any, Final, Literal, TypeVar

import yaml
from pydantic import Field, model_validator

from tollgate_resources.models import ChannelModel, Flag, ModelName, Name, PositiveInt, PriceBook, Resource, Url
from tollgate_resources.quirks import Evidence, Quirk, Quirks, ReplyQuirks, combine

SIMULATOR: Final = "simulator"
Operation = Literal[
    "chat",
    "embeddings",
    "images",
    "completions",
    "moderations",
    "rerank",
    "speech",
    "transcriptions",
    "translations",
]


# Of the kinds that are asked on other wires than OpenAI's.
_OPERATION_OF: Final = {"chat": "chat", "embedding": "embeddings"}


Wire = Literal["openai", "anthropic", "gemini", "bedrock"]
Platform = Literal["", "azure", "bedrock", "vertex"]
RerankShape = Literal["", "cohere", "jina"]


class Auth(Resource):
    """How a credential is sent: a header and what stands before the secret in it."""

    header: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "authorization"
    prefix: str = "Bearer "


class Provider(Resource):
    """A vendor or a kind of server, and how its wire is spoken."""

    name: Name
    title: str = ""
    wire: Wire = "openai"
    platform: Platform = ""
    """A cloud whose paths or credentials are of its own kind; the channel says the rest in `cloud`."""
    max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the wire of OpenAI calls the limit of an answer here."""
    base_url: Url | None = None
    """None: every channel says its own. `{region}` stands for the one that the channel says."""
    auth: Auth = Auth()
    credentials_required: Flag = True
    conforming: Flag = False
    """Replies keep to the wire's rules and may be passed on untouched."""
    responses: Flag = False
    """It speaks the Responses API as well, at `/responses`: who asks in it is passed on instead of translated."""
    environment: tuple[str, ...] = ()
    """Environment variables that hold a key of this provider; the first one set counts."""
    simulates: Name | None = None
    """The provider whose wire the simulator speaks here, quirks included; its models are those it chats with."""
    operations: tuple[Operation, ...] = ()
    """What the endpoint serves."""
    rerank: RerankShape = ""
    """Whose shape its rerank has: that of Cohere's second version, or Jina's. Left out, bodies and replies pass."""
    source: str = ""
    """The page that names `base_url`."""
    checked: str = ""
    """The day on which it was read there."""
    evidence: Evidence = ""
    """How it was read: from a copy of that page (`page`), from documentation of others that quotes it (`quoted`), or
    not at all (`known`)."""
    quirks: tuple[Quirk, ...] = ()
    """In what it differs from the wire."""

    @model_validator(mode="after")
    def _whole(self) -> "Provider":
        if self.quirks and self.wire != "openai":
            raise ValueError("`quirks` with `wire: openai` only")
        if self.rerank and "rerank" not in self.operations:
            raise ValueError("`rerank` with the operation rerank only")
        if self.responses and not self.may_speak_responses:
            raise ValueError("`responses: true` with `wire: openai` and the operation chat only")
        for name in self.all_quirks.paths:
            # Images are asked for by another service, which knows no other path.
            if name not in self.operations or name == "images":
                raise ValueError(f"paths of the operations that it has, images aside; {name} is none of them")
        if self.conforming and self.all_quirks.reply != ReplyQuirks():
            raise ValueError("`conforming: false` beside quirks of replies; what conforms passes untouched")
        return self

    @property
    def may_speak_responses(self) -> bool:
        """It chats on OpenAI's wire, which is where the Responses API has its place."""
        return self.wire == "openai" and "chat" in self.operations

    @cached_property
    def all_quirks(self) -> Quirks:
        """Its quirks as one."""
        return combine(self.quirks)


class CatalogueModel(Resource):
    """A model by its public name."""

    name: ModelName
    provider: Name
    """The provider whose channels offer it under `models: "*"`."""
    upstream: ModelName | None = None
    aliases: tuple[ModelName, ...] = ()
    """Other names that the provider takes for it; each is a public name as well, at the same price."""
    kind: Literal["chat", "embedding", "image", "completion", "moderation", "rerank", "speech", "transcription", ""] = (
        "chat"
    )
    """Empty for a model that the catalogue does not know."""
    owned_by: str = ""
    """The provider when left out."""
    created: Annotated[int, Field(strict=True, ge=0)] = 0
    """Seconds since the epoch; 0 is not known."""
    context_tokens: PositiveInt | None = None
    max_output_tokens: PositiveInt | None = None
    abilities: tuple[str, ...] = ()
    retires: str = ""
    """The day on which the provider switches it off, as 2027-04-01."""
    source: str = ""
    """The vendor's page that it comes from, where that is known."""
    checked: str = ""
    """The day on which it was read."""


T = TypeVar("T", Provider, CatalogueModel)


@dataclass(frozen=True)
class Catalogue:
    providers: Mapping[str, Provider]
    models: Mapping[str, CatalogueModel]
    price_books: tuple[PriceBook, ...]

    @cached_property
    def by_upstream(self) -> Mapping[tuple[str, str], CatalogueModel]:
        """Models by provider and the provider's own name."""
        return {(model.provider, model.upstream): model for model in self.models.values() if model.upstream is not None}

    def with_providers(self, declared: Iterable[Provider]) -> "Catalogue":
        """Returns the catalogue with declared providers; one of a known name takes that one's place."""
        more = {provider.name: provider for provider in declared}
        return replace(self, providers={**self.providers, **more}) if more else self

    def quirks_of(self, provider: Provider) -> Quirks | None:
        """Returns in what a provider differs from the wire; None where it does in nothing."""
        spoken = provider if provider.simulates is None else self.providers.get(provider.simulates, provider)
        return spoken.all_quirks if spoken.quirks else None

    def models_of(self, provider: str) -> tuple[ChannelModel, ...]:
        """Returns what "*" stands for in a channel of this provider; the simulator offers everything."""
        known = self.providers.get(provider)
        if known is not None and known.simulates:
            # Its own are names that the vendor has given up and clients still know.
            owned = (model for model in self.models.values() if model.provider in (known.simulates, provider))
            return tuple(
                ChannelModel(name=model.name, upstream=model.upstream)
                for model in owned
                if _OPERATION_OF.get(model.kind) in known.operations
            )
        return tuple(
            ChannelModel(name=model.name, upstream=model.upstream if provider != SIMULATOR else None)
            for model in self.models.values()
            if provider in (model.provider, SIMULATOR)
        )


def build_catalogue(
    providers: Iterable[Provider], models: Iterable[CatalogueModel], price_books: Iterable[PriceBook]
) -> Catalogue:
    """Returns the catalogue. Raises ValueError when a name is used twice or a model's provider is not known."""
    by_provider = _by_name(providers)
    listed = tuple(models)
    by_model = _by_name(one for model in listed for one in _with_aliases(model))
    for model in by_model.values():
        if model.provider not in by_provider:
            raise ValueError(f"model {model.name} names the unknown provider {model.provider}")
    return Catalogue(by_provider, by_model, tuple(_with_prices(book, listed) for book in price_books))


def _with_aliases(model: CatalogueModel) -> Iterable[CatalogueModel]:
    yield model
    for alias in model.aliases:
        yield model.model_copy(update={"name": alias, "upstream": alias, "aliases": ()})


def _with_prices(book: PriceBook, models: Iterable[CatalogueModel]) -> PriceBook:
    """Returns the book with the prices of models under their other names, too."""
    more = {alias: book.models[model.name] for model in models for alias in model.aliases if model.name in book.models}
    return book.model_copy(update={"models": {**more, **book.models}}) if more else book


def _by_name(entries: Iterable[T]) -> dict[str, T]:
    found: dict[str, T] = {}
    for entry in entries:
        if entry.name in found:
            raise ValueError(f"{entry.name} is there twice")
        found[entry.name] = entry
    return found


def load_catalogue() -> Catalogue:
    """Reads the files `providers/*.yaml`, `models*.yaml` and `prices*.yaml` that ship in this package."""
    data = resources.files("tollgate_resources") / "data"
    return build_catalogue(
        (Provider.model_validate(entry) for entry in _entries(data / "providers", "", "providers")),
        (CatalogueModel.model_validate(entry) for entry in _entries(data, "models", "models")),
        (PriceBook.model_validate(entry) for entry in _entries(data, "prices", "price_books")),
    )


def _entries(folder: Traversable, prefix: str, field: str) -> list[Any]:
    entries: list[Any] = []
    for file in sorted(folder.iterdir(), key=lambda item: item.name):
        if file.name.startswith(prefix) and file.name.endswith(".yaml"):
            document = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe, in C if built.
            entries.extend(document.get(field) or [])
    return entries
